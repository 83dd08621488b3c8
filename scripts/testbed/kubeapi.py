"""The few Kubernetes API calls the test bed makes itself, with `urllib` and verified TLS."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .certs import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server said: the status code and the JSON object (or text) of the body."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeApi:
    """Requests to one API server, with a client certificate or a bearer token."""

    server: str
    ca_file: Path
    client: Pair | None = None
    token: str | None = None
    _context: ssl.SSLContext = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: it costs more than all the rest of a request, and tests ask often.
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.client is not None and self.token is None:
            context.load_cert_chain(self.client.certificate, self.client.key)
        object.__setattr__(self, "_context", context)

    def request(
        self, method: str, path: str, body: object = None, *, timeout: float = 30
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        A body goes out as JSON; with PATCH it is a server-side apply by the manager "testbed"
        when the path names no other. Raises `OSError` when there is no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server}{path}", data=data, method=method)  # noqa: S310 - our own server
        request.add_header("Accept", "application/json")
        if method == "PATCH":
            request.add_header("Content-Type", "application/apply-patch+yaml")
        elif data is not None:
            request.add_header("Content-Type", "application/json")
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=timeout, context=self._context
            ) as reply:
                return Answer(status=reply.status, body=_parse(reply.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=_parse(error.read()))
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error


def post_json(url: str, body: object) -> Any:
    """Post JSON to a server of the test bed that needs no credentials, and return its answer."""
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
        return json.load(reply)


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def kubeconfig(
    path: Path, *, server: str, ca_file: Path, user: dict[str, Any], namespace: str = "default"
) -> Path:
    """Write a kubeconfig with one context that only its owner can read, and return its path."""
    name = "ocistate-testbed"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority": str(ca_file)}}
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1) + "\n")  # JSON is YAML
    return path


def user_of(pair: Pair) -> dict[str, Any]:
    """Return the `user` of a kubeconfig that shows this client certificate."""
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
