"""A mutating admission webhook on 127.0.0.1, as an HTTPS server of its own."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from testbed.certs import Authority
from testbed.controlplane import ControlPlane

Mutate = Callable[[dict[str, Any]], list[dict[str, Any]]]
"""From an object to a JSON patch."""

_PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class MutatingWebhook:
    """Registered for the resources of one namespace while it is entered.

    ``mutate`` may be replaced at any time; ``asked`` counts the objects it was asked about.
    """

    def __init__(
        self, cluster: ControlPlane, folder: Path, namespace: str, mutate: Mutate, *resources: str
    ) -> None:
        self.mutate = mutate
        self.asked = 0
        self._cluster = cluster
        self._namespace = namespace
        self._resources = resources
        self._authority = Authority.make(folder / "webhook")
        pair = self._authority.issue("webhook", "CN=webhook", addresses=["IP:127.0.0.1"])
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(webhook._answer(review)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def _answer(self, review: dict[str, Any]) -> dict[str, Any]:
        request = review["request"]
        self.asked += 1
        patch = base64.b64encode(json.dumps(self.mutate(request["object"])).encode()).decode()
        response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
        return {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {**response, "patch": patch},
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        path = f"{_PATH}/{self._namespace}?fieldManager=test&force=true"
        answer = self._cluster.request("PATCH", path, self._configuration())
        assert answer.status in (200, 201), answer.body
        return self

    def __exit__(self, *exc: object) -> None:
        self._cluster.request("DELETE", f"{_PATH}/{self._namespace}")
        self._server.shutdown()
        self._server.server_close()

    def _configuration(self) -> dict[str, Any]:
        ca = base64.b64encode(self._authority.pair.certificate.read_bytes()).decode()
        port = self._server.server_address[1]
        rules = [
            {
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": list(self._resources),
            }
        ]
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._namespace},
            "webhooks": [
                {
                    "name": "mutate.ocistate.test",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": ca},
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": self._namespace}
                    },
                    "rules": rules,
                }
            ],
        }
