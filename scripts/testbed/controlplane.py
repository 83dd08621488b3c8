"""A real Kubernetes control plane on 127.0.0.1, with fake nodes that run every pod at once.

    with ControlPlane() as cluster:
        subprocess.run(["kubectl", "--kubeconfig", cluster.kubeconfig, "get", "nodes"])
        cluster.apiserver.kill()     # a fault; cluster.apiserver.start() ends it

etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real ones; kwok plays the
kubelets. A pod is Ready within a second, unless it asks for something else: a `nodeSelector`
that no node has keeps it Pending, and the annotation `ocistate.dev/testbed` makes it misbehave
(see kwok.yaml).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from . import TestbedError
from .certs import Authority, Pair, new_key, public_key
from .kubeapi import Answer, KubeApi, kubeconfig, post_json, user_of
from .process import Child, free_port, listens, patience
from .tools import ensure

STAGES = Path(__file__).resolve().parent / "kwok.yaml"
SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.0/16"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


class ControlPlane:
    """A control plane of its own, stopped and (unless `folder` is given) removed at the end.

    `controllers` starts kube-controller-manager and kube-scheduler, `nodes` is the number of fake
    nodes kwok plays (0: no kwok). Without controllers, namespaces and ReplicaSets stay as they are.
    Each part is a `Child` (stop, kill, pause, start): `etcd`, `apiserver`, `controller_manager`,
    `scheduler`, `kwok`. Ports and data stay the same over restarts.
    """

    def __init__(
        self, folder: Path | None = None, *, controllers: bool = True, nodes: int = 2
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="ocistate-cluster-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._controllers, self._nodes = controllers, nodes
        self._programs = ensure(
            "etcd",
            "kube-apiserver",
            *(("kube-controller-manager", "kube-scheduler") if controllers else ()),
            *(("kwok",) if nodes else ()),
        )
        self.port = free_port()
        self.server = f"https://127.0.0.1:{self.port}"
        self._make_credentials()
        self.api = KubeApi(server=self.server, ca_file=self.ca_file, client=self._admin)
        self._make_parts()

    def start(self) -> None:
        """Start every part and wait until the cluster is usable."""
        self.etcd.start()
        self.apiserver.start()
        for part in self.parts[2:]:
            part.start()
        self._wait_usable()

    def stop(self) -> None:
        """Stop every part, the last started first; the data stays for another `start`."""
        for part in reversed(self.parts):
            part.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing is worth a graceful end when the data goes away with it.
        for part in reversed(self.parts):
            if self._temporary:
                part.kill()
            else:
                part.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def compact_etcd(self) -> None:
        """Let etcd forget all versions but the newest, as it does now and then by itself."""
        url = f"{self._etcd_url}/v3/kv/"
        revision = post_json(f"{url}range", {"key": "Lw==", "limit": "1"})["header"]["revision"]
        post_json(f"{url}compaction", {"revision": revision, "physical": True})

    def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> Answer:
        """Send one API request as the administrator, or with a token, and return the answer."""
        if token is None:
            return self.api.request(method, path, body)
        return KubeApi(server=self.server, ca_file=self.ca_file, token=token).request(
            method, path, body
        )

    def token(self, namespace: str, service_account: str, *, seconds: int = 3600) -> str:
        """Return a bearer token of a service account, which must exist (at least 600 seconds)."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": seconds},
            },
        )
        if answer.status != 201:
            raise TestbedError(f"no token for {namespace}/{service_account}: {answer.body}")
        return str(answer.body["status"]["token"])

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig that acts as this service account, with its namespace as default."""
        return kubeconfig(
            self.folder / "kubeconfigs" / f"{namespace}.{service_account}.yaml",
            server=self.server,
            ca_file=self.ca_file,
            user={"token": self.token(namespace, service_account)},
            namespace=namespace,
        )

    def _make_credentials(self) -> None:
        certs = self.folder / "certs"
        authority = Authority.make(certs)
        self.ca_file = authority.pair.certificate
        self._serving = authority.issue(
            "apiserver",
            "CN=kube-apiserver",
            addresses=["IP:127.0.0.1", "DNS:localhost", "DNS:kubernetes.default.svc"],
        )
        self._account_key = new_key(certs / "service-accounts.key")
        self._admin = authority.issue("admin", "O=system:masters/CN=admin")
        self.kubeconfig = self._kubeconfig("admin", self._admin)
        users = {"kube-controller-manager": "system:kube-controller-manager"}
        users["kube-scheduler"] = "system:kube-scheduler"
        self._component_configs = {
            name: self._kubeconfig(name, authority.issue(name, f"CN={user}"))
            for name, user in users.items()
        }

    def _kubeconfig(self, name: str, pair: Pair) -> Path:
        path = self.folder / "kubeconfigs" / f"{name}.yaml"
        return kubeconfig(path, server=self.server, ca_file=self.ca_file, user=user_of(pair))

    def _make_parts(self) -> None:
        self.etcd = self._etcd()
        self.apiserver = self._child("kube-apiserver", self._apiserver_flags(), ready=self._ready)
        self.parts = [self.etcd, self.apiserver]
        if self._controllers:
            self.controller_manager = self._controller_manager()
            self.scheduler = self._scheduler()
            self.parts += [self.controller_manager, self.scheduler]
        if self._nodes:
            self.kwok = self._kwok()
            self.parts.append(self.kwok)

    def _child(self, name: str, flags: dict[str, object], **options: Any) -> Child:
        command = [str(self._programs[name]), *(f"--{key}={flags[key]}" for key in flags)]
        log = self.folder / "logs" / f"{name}.log"
        return Child(name=name, command=command, log=log, **options)

    def _etcd(self) -> Child:
        client, peer = free_port(), free_port()
        self._etcd_url = f"http://127.0.0.1:{client}"
        flags = {
            "name": "testbed",
            "data-dir": self.folder / "etcd",
            "listen-client-urls": self._etcd_url,
            "advertise-client-urls": self._etcd_url,
            "listen-peer-urls": f"http://127.0.0.1:{peer}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
            "initial-cluster": f"testbed=http://127.0.0.1:{peer}",
            "unsafe-no-fsync": "true",  # a power cut may lose a test's data, a kill -9 does not
            "log-level": "warn",
        }
        return self._child("etcd", flags, ready=lambda: listens(client))

    def _apiserver_flags(self) -> dict[str, object]:
        return {
            "etcd-servers": self._etcd_url,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self.port,
            "endpoint-reconciler-type": "none",  # an Endpoints object cannot name loopback
            "cert-dir": self.folder / "certs",
            "tls-cert-file": self._serving.certificate,
            "tls-private-key-file": self._serving.key,
            "client-ca-file": self.ca_file,
            "authorization-mode": "Node,RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": public_key(self._account_key),
            "service-account-signing-key-file": self._account_key,
            "service-cluster-ip-range": SERVICE_RANGE,
            "allow-privileged": "true",
        }

    def _controller_manager(self) -> Child:
        port = free_port()
        flags = {
            "kubeconfig": self._component_configs["kube-controller-manager"],
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "cert-dir": self.folder / "certs" / "kube-controller-manager",
            "leader-elect": "false",
            "use-service-account-credentials": "true",  # what the built-in RBAC roles expect
            "service-account-private-key-file": self._account_key,
            "root-ca-file": self.ca_file,
            "node-monitor-period": "1s",  # a new node is usable when it was looked at once
            "horizontal-pod-autoscaler-sync-period": "1s",
        }
        return self._child("kube-controller-manager", flags, ready=lambda: listens(port))

    def _scheduler(self) -> Child:
        port = free_port()
        flags = {
            "kubeconfig": self._component_configs["kube-scheduler"],
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "cert-dir": self.folder / "certs" / "kube-scheduler",
            "leader-elect": "false",
        }
        return self._child("kube-scheduler", flags, ready=lambda: listens(port))

    def _kwok(self) -> Child:
        port = free_port()
        flags = {
            "kubeconfig": self.kubeconfig,
            "config": STAGES,
            "manage-all-nodes": "true",
            "node-ip": "127.0.0.1",
            "cidr": POD_RANGE,
            "node-port": port,
            "server-address": f"127.0.0.1:{port}",  # the default is every address
            "node-lease-duration-seconds": 40,
        }
        return self._child("kwok", flags)

    def _ready(self) -> bool:
        return self.api.request("GET", "/readyz", timeout=2).status == 200

    def _wait_usable(self) -> None:
        """Wait for what the controllers make, so that the first test does not race with them."""
        wanted = ["/api/v1/namespaces/default"]
        if self._controllers:
            wanted.append("/api/v1/namespaces/default/serviceaccounts/default")
            wanted.append("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
        deadline = time.monotonic() + patience(120)
        for index in range(self._nodes):
            self._make_node(f"node-{index}")
        for path in wanted:
            self._wait(path, deadline, lambda body: True)
        for index in range(self._nodes):
            self._wait(f"/api/v1/nodes/node-{index}", deadline, _node_ready)

    def _make_node(self, name: str) -> None:
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
        }
        answer = self.request("POST", "/api/v1/nodes", node)
        if answer.status not in (201, 409):  # 409: it is there from an earlier start
            raise TestbedError(f"could not make the node {name}: {answer.body}")

    def _wait(self, path: str, deadline: float, holds: Any) -> None:
        while True:
            answer = self.request("GET", path)
            if answer.status == 200 and holds(answer.body):
                return
            if time.monotonic() > deadline:
                tails = [f"--- {part.name}\n{part.log_tail(8)}" for part in self.parts]
                raise TestbedError(f"{path} did not get ready: {answer.body}\n" + "\n".join(tails))
            time.sleep(0.05)


def _node_ready(body: dict[str, Any]) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    # The node lifecycle controller takes the taint away a moment after the node is ready.
    return ready and not body["spec"].get("taints")
