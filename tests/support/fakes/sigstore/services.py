"""Fulcio, Rekor and a timestamp authority over HTTP on loopback: what `ocistate sign` talks to.

They answer as the real ones do, from an ``Instance``: certificates for OIDC tokens (checked against
the issuer's secret), entries for envelopes, with promise, proof and checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.fakes.sigstore.authority import GITHUB, WORKFLOW, Instance, dsse_body

_SECRET = "the issuer's secret, known to the authority alone"


def identity_token(
    *,
    issuer: str = GITHUB,
    subject: str = WORKFLOW,
    audience: str = "sigstore",
    lifetime: int = 300,
    secret: str = _SECRET,
) -> str:
    """An OIDC token as a CI system hands it to its job."""
    now = int(time.time())
    claims = {
        "iss": issuer, "sub": subject, "aud": audience, "iat": now - 5, "nbf": now - 5,
        "exp": now + lifetime,
    }  # fmt: skip
    if "@" in subject and "://" not in subject:
        claims["email"] = subject
    return jwt.encode(claims, secret, algorithm="HS256")


@dataclass
class Services:
    """The running services."""

    instance: Instance = field(default_factory=Instance.make)
    clock_skew: timedelta = timedelta(0)
    """How far the log's clock is ahead."""
    seen: list[str] = field(default_factory=list)

    def __enter__(self) -> Services:
        services = self
        self.instance.log.origin = "127.0.0.1"

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                services.seen.append(self.path)
                try:
                    code, answer = services.answer(self.path, self.headers, body)
                except (jwt.PyJWTError, KeyError, ValueError) as error:
                    code, answer = 400, {"code": 400, "message": f"refused: {error}"}
                data = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                if code == 201:
                    self.send_header("ETag", next(iter(answer)))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def trust_config(self) -> dict[str, Any]:
        """The ClientTrustConfig: the root, and where the services are."""
        service = {
            "url": self.url,
            "majorApiVersion": 1,
            "validFor": {"start": "2020-01-01T00:00:00Z"},
            "operator": "example.com",
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.instance.trusted_root(self.url),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [],
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        if path == "/api/v2/signingCert":
            return 200, self._certify(headers.get("Authorization", ""), json.loads(body))
        if path == "/api/v1/log/entries":
            return 201, self._enter(json.loads(body))
        return 404, {"code": 404, "message": "no such service"}

    def _certify(self, authorization: str, request: dict[str, Any]) -> dict[str, Any]:
        """Fulcio's API v2: a certificate for the token's identity and the request's key."""
        token = authorization.removeprefix("Bearer ")
        claims = jwt.decode(token, _SECRET, algorithms=["HS256"], audience="sigstore")
        public = _proven_key(request, claims["sub"])
        leaf = self.instance.certificate(
            public,
            issuer=claims["iss"],
            subject=claims.get("email", claims["sub"]),
            at=datetime.now(UTC).replace(microsecond=0),
        )
        chain = [leaf, *self.instance.authority.chain]
        certificates = [c.public_bytes(serialization.Encoding.PEM).decode() for c in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}}

    def _enter(self, request: dict[str, Any]) -> dict[str, Any]:
        """Rekor's API v1: an envelope, entered into the log."""
        content = request["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        (signature,) = envelope["signatures"]
        (verifier,) = content["verifiers"]
        payload = base64.b64decode(envelope["payload"])
        body = dsse_body(payload, [(signature["sig"], verifier)])
        log, at = self.instance.log, datetime.now(UTC) + self.clock_skew
        index = log.add(body)
        promise = log.promise(body, index, at)
        entry = self.instance.describe(body, index)
        proof = entry["inclusionProof"]
        return {
            hashlib.sha256(body).hexdigest(): {
                "body": base64.b64encode(body).decode(),
                "integratedTime": int(at.timestamp()),
                "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
                "logIndex": index,
                "verification": {
                    "signedEntryTimestamp": base64.b64encode(promise).decode(),
                    "inclusionProof": {
                        "logIndex": index,
                        "treeSize": int(proof["treeSize"]),
                        "rootHash": base64.b64decode(proof["rootHash"]).hex(),
                        "hashes": [base64.b64decode(node).hex() for node in proof["hashes"]],
                        "checkpoint": proof["checkpoint"]["envelope"],
                    },
                },
            }
        }


def _proven_key(request: dict[str, Any], subject: str) -> ec.EllipticCurvePublicKey:
    """The key to certify, with proof that the requester has its other half."""
    if "certificateSigningRequest" in request:
        wanted = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
        if not wanted.is_signature_valid:
            raise ValueError("the request does not prove possession of its key")
        public = wanted.public_key()
    else:
        given = request["publicKeyRequest"]
        public = serialization.load_pem_public_key(given["publicKey"]["content"].encode())  # type: ignore[assignment]
        assert isinstance(public, ec.EllipticCurvePublicKey)
        proof = base64.b64decode(given["proofOfPossession"])
        public.verify(proof, subject.encode(), ec.ECDSA(hashes.SHA256()))
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public
