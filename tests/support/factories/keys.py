"""Key pairs for tests that are not about passwords: stretching one takes a tenth of a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ocistate.signing.keys import KeySigner, load_private_key


@dataclass(frozen=True)
class Key:
    """A key pair. ``private`` is the key file, without a password."""

    signer: KeySigner
    pem: str
    private: bytes = field(repr=False)

    @classmethod
    def make(cls) -> Key:
        private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        signer = load_private_key(private, lambda: b"")
        return cls(signer, signer.public_key.pem, private)

    def write(self, prefix: Path) -> Path:
        """Write ``PREFIX.key`` and ``PREFIX.pub``; the former's path."""
        prefix.with_suffix(".pub").write_text(self.pem)
        path = prefix.with_suffix(".key")
        path.write_bytes(self.private)
        return path


def make_signer() -> KeySigner:
    """A new key to sign with."""
    return Key.make().signer
