"""A registry, a control plane and an agent, as the benchmarks need them."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from benches.common.measure import measure, ocistate
from benches.common.objects import mixed
from testbed.controlplane import ControlPlane
from testbed.registries import Distribution
from testbed.tools import ensure

_QUIET = {"OCISTATE_PASSWORD": ""}


def write_manifests(folder: Path, count: int, namespace: str) -> Path:
    """A file of ``count`` mixed objects and their namespace."""
    ns = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    path = folder / f"{namespace}.yaml"
    path.write_text(yaml.dump_all([ns, *mixed(count, namespace)], Dumper=yaml.CSafeDumper))
    return path


def make_keys(folder: Path) -> Path:
    """A key pair without a password; the path of the private one."""
    measure(ocistate("keygen", str(folder / "bench")), environ=_QUIET)
    return folder / "bench.key"


def push(manifests: Path, reference: str, key: Path) -> float:
    """Push and sign; the seconds it took as a whole process."""
    command = ocistate("push", str(manifests), reference, "--sign", "--key", str(key))
    return measure(command, environ=_QUIET).wall


def kubectl(kubeconfig: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    """Run kubectl; its standard output."""
    done = subprocess.run(
        [str(ensure("kubectl")["kubectl"]), f"--kubeconfig={kubeconfig}", *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


def idle_agent_memory(count: int = 20) -> float:
    """MB held by an agent with the rights ``install`` gives it, after rolling out some objects."""
    with tempfile.TemporaryDirectory() as name, Distribution() as registry:
        folder = Path(name)
        with ControlPlane(nodes=0) as plane:
            admin = plane.kubeconfig
            install = subprocess.check_output(ocistate("install", "--applier", "cluster-admin"))
            kubectl(admin, "apply", "--server-side", "-f", "-", stdin=install)
            key = make_keys(folder)
            push(write_manifests(folder, count, "bench"), f"{registry.host}/bench:v1", key)
            objects = yaml.safe_dump_all(_stack(registry.host, key.with_suffix(".pub")))
            kubectl(admin, "apply", "-f", "-", stdin=objects.encode())
            own = plane.kubeconfig_for("ocistate-system", "ocistate-agent")
            agent = ocistate(
                "agent",
                "--kubeconfig",
                str(own),
                "--state",
                str(folder / "state"),
                "--allow-hosts=127.0.0.1",
            )
            process = subprocess.Popen(agent, stderr=subprocess.DEVNULL)
            try:
                _wait_ready(admin)
                time.sleep(5)
                status = Path(f"/proc/{process.pid}/status").read_text()
                line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
                return int(line.split()[1]) / 1024
            finally:
                process.terminate()
                process.wait(30)


def _stack(host: str, public_key: Path) -> list[dict[str, object]]:
    return [
        {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "TrustPolicy",
            "metadata": {"name": "bench"},
            "spec": {"repositories": ["**"], "keys": [{"pem": public_key.read_text()}]},
        },
        {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "Stack",
            "metadata": {"name": "bench", "namespace": "ocistate-system"},
            "spec": {
                "source": {"repository": f"oci://{host}/bench", "tag": "v1", "interval": "1s"}
            },
        },
    ]


def _wait_ready(kubeconfig: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = kubectl(kubeconfig, "get", "stack", "-n", "ocistate-system", "bench", "-o", "json")
        conditions = json.loads(answer).get("status", {}).get("conditions", [])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            return
        time.sleep(0.2)
    raise RuntimeError("the Stack did not become ready")
