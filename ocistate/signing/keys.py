"""Keys: cosign's key files, read and written; ECDSA P-256 to sign with, more kinds to verify with.

A private key file is PEM over JSON over PKCS#8: the key in a NaCl secretbox, its password stretched
by scrypt. An empty password is legal, and protects nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ocistate.canonical import parse_json
from ocistate.errors import ConfigError, KeyFileError, WrongPassword
from ocistate.signing.strength import ACCEPTED, weakness

_SIGSTORE_LABEL: Final = "ENCRYPTED SIGSTORE PRIVATE KEY"
_COSIGN_LABEL: Final = "ENCRYPTED COSIGN PRIVATE KEY"
_PEM: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\r\n]+?)\r?\n?-----END \1-----"
)
# cosign has used these three; anything else is either weak or a way to exhaust us.
_SCRYPT_N: Final = (32768, 65536, 131072)
_MAX_FILE: Final = 64 * 1024

PasswordSource = Callable[[], bytes]


class Signer(Protocol):
    """Something that signs bytes with one key."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what this signs."""
        ...

    def sign(self, data: bytes) -> bytes:
        """A DER ECDSA signature with SHA-256 over some bytes."""
        ...


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and its name: ``fingerprint`` is base64 of SHA-256 over the SPKI DER."""

    fingerprint: str
    pem: str
    _key: Any = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """What kind of key it is, for people: ``ECDSA P-256``."""
        if isinstance(self._key, ec.EllipticCurvePublicKey):
            return f"ECDSA P-{self._key.curve.key_size}"
        if isinstance(self._key, rsa.RSAPublicKey):
            return f"RSA {self._key.key_size}"
        return "Ed25519"

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature over the data holds.

        ECDSA P-256 with SHA-256; P-384 with SHA-384, or with SHA-256 as cosign 2 signed; RSA with
        SHA-256, PKCS#1 v1.5 or PSS; Ed25519, or Ed25519ph as cosign 3 signs.
        """
        key = self._key
        if isinstance(key, ec.EllipticCurvePublicKey):
            return self._verify_ecdsa(key, signature, data)
        if isinstance(key, rsa.RSAPublicKey):
            return self._verify_rsa(key, signature, data)
        try:
            key.verify(signature, data)
        except WrongSignature:
            return _verify_ed25519ph(key, signature, data)
        return True

    @staticmethod
    def _verify_ecdsa(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
        wide: tuple[hashes.HashAlgorithm, ...] = (hashes.SHA384(), hashes.SHA256())
        for algorithm in wide if key.curve.key_size == 384 else wide[1:]:
            try:
                key.verify(signature, data, ec.ECDSA(algorithm))
            except WrongSignature:
                continue
            return True
        return False

    @staticmethod
    def _verify_rsa(key: rsa.RSAPublicKey, signature: bytes, data: bytes) -> bool:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        for scheme in (padding.PKCS1v15(), pss):
            try:
                key.verify(signature, data, scheme, hashes.SHA256())
            except WrongSignature:
                continue
            return True
        return False


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key in memory."""

    public_key: PublicKey
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def generate(password: bytes) -> tuple[bytes, bytes]:
    """A new ECDSA P-256 pair: the encrypted private key file's bytes, the public one's."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encrypt_private_key(der, password), _public_pem(key.public_key()).encode()


def encrypt_private_key(
    pkcs8: bytes, password: bytes, *, random: Callable[[int], bytes] = os.urandom
) -> bytes:
    """A key file as cosign writes it."""
    from nacl.secret import SecretBox

    salt, nonce = random(32), random(24)
    box = SecretBox(_stretch(password, salt, 65536))
    value = {
        "kdf": {"name": "scrypt", "params": {"N": 65536, "r": 8, "p": 1}, "salt": _b64(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _b64(nonce)},
        "ciphertext": _b64(box.encrypt(pkcs8, nonce).ciphertext),
    }
    return _pem(_SIGSTORE_LABEL, json.dumps(value, separators=(",", ":")).encode())


def load_private_key(data: bytes, password: PasswordSource, *, origin: str = "key") -> KeySigner:
    """Read a private key: cosign's encrypted form or plain PKCS#8 PEM.

    ``password`` is asked only when the file is encrypted. Raises KeyFileError, WrongPassword.
    """
    label, body = _read_pem(data, origin)
    if label in (_SIGSTORE_LABEL, _COSIGN_LABEL):
        der = _decrypt(body, password, origin)
    elif label in ("PRIVATE KEY", "EC PRIVATE KEY"):
        der = body
    else:
        raise KeyFileError(
            f"{origin} holds a {label}, not a private key",
            hint="give a key made by 'ocistate keygen' or 'cosign generate-key-pair'",
        )
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{origin} is not a private key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(
            f"{origin} is not an ECDSA P-256 key", hint="only such keys are used for signing"
        )
    return KeySigner(_public_key(key.public_key()), key)


def load_public_key(data: bytes, *, origin: str = "key") -> PublicKey:
    """Read a public key: SPKI PEM. Raises KeyFileError."""
    label, body = _read_pem(data, origin)
    if label != "PUBLIC KEY":
        raise KeyFileError(
            f"{origin} holds a {label}, not a public key",
            hint="give the .pub file; a private key is never needed to verify",
        )
    try:
        key = serialization.load_der_public_key(body)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{origin} is not a public key: {error}") from None
    return _public_key(key, origin)


def read_key(source: str, environ: Mapping[str, str] | None = None) -> bytes:
    """A key's bytes from a file or from ``env://NAME``. Raises KeyFileError."""
    if source.startswith("env://"):
        value = (os.environ if environ is None else environ).get(source.removeprefix("env://"))
        if not value:
            raise KeyFileError(f"the environment has no {source.removeprefix('env://')}")
        return value.encode()
    try:
        with Path(source).open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise KeyFileError(
            f"the key {source} cannot be read: {error.strerror}",
            hint="'ocistate keygen' makes a pair",
        ) from None
    if len(data) > _MAX_FILE:
        raise KeyFileError(f"{source} is too large to be a key")
    return data


def write_key_pair(prefix: Path, password: bytes) -> tuple[Path, Path]:
    """Make a pair and write ``PREFIX.key`` (mode 0600) and ``PREFIX.pub``; never over others.

    Raises ConfigError.
    """
    private, public = generate(password)
    paths = (prefix.with_name(prefix.name + ".key"), prefix.with_name(prefix.name + ".pub"))
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} is there already", hint="give another PREFIX")
    for path, data, mode in ((paths[0], private, 0o600), (paths[1], public, 0o644)):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    return paths


def _decrypt(body: bytes, password: PasswordSource, origin: str) -> bytes:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        value = parse_json(body)
        kdf, cipher = value["kdf"], value["cipher"]
        params = kdf["params"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise ValueError(f"uses {kdf['name']} and {cipher['name']}")
        if params["N"] not in _SCRYPT_N or (params["r"], params["p"]) != (8, 1):
            raise ValueError("has scrypt parameters that are not cosign's")
        salt, nonce = _unb64(kdf["salt"]), _unb64(cipher["nonce"])
        ciphertext = _unb64(value["ciphertext"])
        if len(nonce) != SecretBox.NONCE_SIZE:
            raise ValueError("has a nonce of another size")
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFileError(f"{origin} is not a key file cosign would write: {error}") from None
    box = SecretBox(_stretch(password(), salt, params["N"]))
    try:
        return box.decrypt(ciphertext, nonce)
    except CryptoError:
        raise WrongPassword(
            f"the password of {origin} is wrong",
            hint="set OCISTATE_PASSWORD or COSIGN_PASSWORD, or type it when asked",
        ) from None


def _verify_ed25519ph(key: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    """RFC 8032, section 5.1: the variant over a hash, which no plain signature is valid for."""
    from nacl.bindings import (
        crypto_sign_ed25519ph_final_verify,
        crypto_sign_ed25519ph_state,
        crypto_sign_ed25519ph_update,
    )
    from nacl.exceptions import CryptoError

    state = crypto_sign_ed25519ph_state()
    crypto_sign_ed25519ph_update(state, data)
    try:
        return crypto_sign_ed25519ph_final_verify(state, signature, key.public_bytes_raw())
    except CryptoError:
        return False


def _stretch(password: bytes, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=8, p=1).derive(password)


def _public_key(key: Any, origin: str = "key") -> PublicKey:
    if fault := weakness(key):
        raise KeyFileError(f"{origin} {fault}, which is not accepted", hint=f"use {ACCEPTED}")
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(_b64(hashlib.sha256(der).digest()), _public_pem(key), key)


def _public_pem(key: Any) -> str:
    pem: bytes = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def _read_pem(data: bytes, origin: str) -> tuple[str, bytes]:
    match = _PEM.search(data) if len(data) <= _MAX_FILE else None
    if match is None:
        raise KeyFileError(f"{origin} is not a PEM file", hint="it starts with -----BEGIN …")
    try:
        body = base64.b64decode(b"".join(match[2].split()), validate=True)
    except binascii.Error as error:
        raise KeyFileError(f"{origin} is not a PEM file: {error}") from None
    return match[1].decode(), body


def _pem(label: str, body: bytes) -> bytes:
    text = _b64(body)
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
