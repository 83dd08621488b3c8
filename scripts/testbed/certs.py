"""Certificates for the test bed's servers and clients, made with the `openssl` command.

authority = Authority.make(folder)
server = authority.issue("server", "CN=127.0.0.1", addresses=["IP:127.0.0.1", "DNS:localhost"])
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import TestbedError

_DAYS = "30"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of this test bed only."""

    folder: Path
    pair: Pair

    @classmethod
    def make(cls, folder: Path, name: str = "ocistate test authority") -> Authority:
        """Make a new authority whose files, and those it issues, lie in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        pair = Pair(folder / "ca.crt", folder / "ca.key")
        new_key(pair.key)
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        added = [word for each in extensions for word in ("-addext", each)]
        _openssl(
            *("req", "-x509", "-new", "-key", str(pair.key), "-sha256", "-days", _DAYS),
            *("-subj", f"/CN={name}", "-out", str(pair.certificate), *added),
        )
        return cls(folder, pair)

    def issue(self, name: str, subject: str, *, addresses: Sequence[str] = ()) -> Pair:
        """Issue a certificate for a server, or for a client where no addresses are given.

        `subject` is like "O=system:masters/CN=admin", `addresses` like "IP:127.0.0.1".
        """
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        request = self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.ext"
        usage = "serverAuth" if addresses else "clientAuth"
        lines = ["keyUsage=critical,digitalSignature", f"extendedKeyUsage={usage}"]
        if addresses:
            lines.append(f"subjectAltName={','.join(addresses)}")
        extensions.write_text("\n".join(lines) + "\n")
        new_key(pair.key)
        _openssl("req", "-new", "-key", str(pair.key), "-subj", f"/{subject}", "-out", str(request))
        _openssl(
            *("x509", "-req", "-in", str(request), "-sha256", "-days", _DAYS),
            *("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key), "-CAcreateserial"),
            *("-extfile", str(extensions), "-out", str(pair.certificate)),
        )
        return pair


def new_key(path: Path) -> Path:
    """Write a new private key (ECDSA P-256) that only its owner can read."""
    path.touch(mode=0o600)
    _openssl(
        "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path)
    )
    return path


def public_key(key: Path) -> Path:
    """Write the public half of a private key beside it, and return its path."""
    path = key.with_suffix(".pub")
    _openssl("pkey", "-in", str(key), "-pubout", "-out", str(path))
    return path


def _openssl(*arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise TestbedError(
            "the command `openssl` is missing: install the package openssl"
        ) from None
    if done.returncode:
        raise TestbedError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
