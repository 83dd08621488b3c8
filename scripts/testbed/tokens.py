"""A token server for CNCF distribution, which itself checks what it signs.

https://distribution.github.io/distribution/spec/auth/token/ and, for refresh tokens, `oauth/`.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .certs import Authority

SERVICE = "testbed"
ISSUER = "testbed-issuer"


class TokenServer:
    """Listens on 127.0.0.1 until `close`; `asked` are the scopes it was asked for, in order."""

    def __init__(self, authority: Authority, username: str, password: str) -> None:
        self.refresh_token = secrets.token_urlsafe(16)
        self.lifetime = 300
        self.asked: list[str] = []
        self._authority = authority
        login = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._basic = f"Basic {login}"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                sent = self.headers.get("Authorization", "")
                allowed = hmac.compare_digest(sent, outer._basic)
                self._answer(allowed, parse_qs(urlsplit(self.path).query))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                form = parse_qs(self.rfile.read(length).decode())
                sent = form.get("refresh_token", [""])[0]
                self._answer(hmac.compare_digest(sent, outer.refresh_token), form)

            def _answer(self, allowed: bool, asked: dict[str, list[str]]) -> None:
                scopes = [scope for item in asked.get("scope", []) for scope in item.split()]
                outer.asked += scopes
                value = outer.token(scopes) if allowed else {"errors": [{"code": "UNAUTHORIZED"}]}
                body = json.dumps(value).encode()
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def token(self, scopes: list[str]) -> dict[str, Any]:
        """The answer with a signed token for some scopes, such as `repository:a/b:pull,push`."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "testbed",
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + self.lifetime,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        der = ssl.PEM_cert_to_DER_cert(self._authority.pair.certificate.read_text())
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = b".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        token = signed + b"." + _encode(self._sign(signed))
        return {"token": token.decode(), "expires_in": self.lifetime}

    def _sign(self, data: bytes) -> bytes:
        key = str(self._authority.pair.key)
        command = ["openssl", "dgst", "-sha256", "-sign", key]
        return _plain(subprocess.run(command, input=data, capture_output=True, check=True).stdout)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _plain(der: bytes) -> bytes:
    """An ECDSA signature as JOSE has it, the two numbers side by side, from its DER form."""
    numbers, place = b"", 2
    for _ in range(2):
        length = der[place + 1]
        number = int.from_bytes(der[place + 2 : place + 2 + length])
        numbers += number.to_bytes(32)
        place += 2 + length
    return numbers
