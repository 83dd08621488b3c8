"""A Sigstore instance of our own: authorities and logs that really sign, for tests.

    sigstore = Instance.make()
    raw = sigstore.bundle(payload, issuer=…, subject=…)       # signed as Fulcio and Rekor have it
    root = sigstore.trusted_root()                            # what a verifier needs

Everything is as RFC 6962 (the CT log, the Merkle tree), RFC 3161 (timestamps) and Sigstore's
client specification have it; what an attacker would change, the tests change by hand.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ocistate.signing.envelope import BUNDLE_TYPE, PAYLOAD_TYPE, pae
from tests.support.fakes.sigstore.timestamp import timestamp_response, tlv

NOW = datetime.now(UTC).replace(microsecond=0)
GITHUB = "https://token.actions.githubusercontent.com"
WORKFLOW = "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main"

_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def sign(key: Key, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_id(key: Key) -> bytes:
    return hashlib.sha256(spki(key)).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class Authority:
    """A root, an intermediate, and certificates for leaves."""

    root: x509.Certificate
    intermediate: x509.Certificate
    key: Key

    @classmethod
    def make(
        cls, start: datetime = NOW - timedelta(days=365), end: datetime = NOW + timedelta(days=365)
    ) -> Authority:
        root_key, key = new_key(), new_key()
        root = _ca("root", root_key, None, root_key, start, end)
        return cls(root, _ca("intermediate", key, root, root_key, start, end), key)

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.intermediate, self.root]


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "example.com"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _usage(**on: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: on.get(name, False) for name in _USAGES})


def _ca(
    common: str, key: Key, parent: x509.Certificate | None, signer: Key, start: datetime,
    end: datetime,
) -> x509.Certificate:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(parent.subject if parent else _name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )


@dataclass
class Log:
    """A transparency log: an RFC 6962 Merkle tree, checkpoints, promises."""

    key: Key = field(default_factory=new_key)
    leaves: list[bytes] = field(default_factory=list)
    origin: str = "log.example.com"
    """Who signs checkpoints: the host of the log's URL."""

    def add(self, body: bytes) -> int:
        self.leaves.append(hashlib.sha256(b"\0" + body).digest())
        return len(self.leaves) - 1

    @property
    def root(self) -> bytes:
        return tree_root(self.leaves)

    def proof(self, index: int) -> list[bytes]:
        return inclusion_proof(self.leaves, index)

    def checkpoint(self) -> str:
        # Rekor v1 adds the tree's number to its name, and cosign tells v1 from v2 by that.
        note = f"{self.origin} - 1234567890\n{len(self.leaves)}\n{b64(self.root)}\n"
        signature = key_id(self.key)[:4] + sign(self.key, note.encode())
        return f"{note}\n— {self.origin} {b64(signature)}\n"

    def promise(self, body: bytes, index: int, at: datetime) -> bytes:
        """The signed entry timestamp."""
        value = {
            "body": b64(body),
            "integratedTime": int(at.timestamp()),
            "logID": key_id(self.key).hex(),
            "logIndex": index,
        }
        return sign(self.key, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def tree_root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(b"\1" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), tree_root(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), tree_root(leaves[:split])]


def _split(size: int) -> int:
    """The largest power of two below the size."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@dataclass
class Instance:
    """Certificates, CT log, transparency log and timestamps: everything Sigstore runs."""

    authority: Authority
    ct_key: Key
    log: Log
    timestamps: Authority

    @classmethod
    def make(cls, authority: Authority | None = None) -> Instance:
        log = Log()
        for number in range(5):
            log.add(f"somebody else's entry {number}".encode())
        return cls(authority or Authority.make(), new_key(), log, Authority.make())

    def certificate(
        self,
        key: ec.EllipticCurvePublicKey,
        *,
        issuer: str = GITHUB,
        subject: str = WORKFLOW,
        at: datetime = NOW,
        lifetime: timedelta = timedelta(minutes=10),
        names: Sequence[x509.GeneralName] | None = None,
        with_sct: bool = True,
    ) -> x509.Certificate:
        """A leaf as Fulcio issues it, with the CT log's timestamp in it."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.intermediate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at)
            .not_valid_after(at + lifetime)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName(names if names is not None else [_general(subject)]),
                critical=True,
            )
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V1, issuer.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V2, _utf8(issuer)), critical=False)
        )
        bare = builder.sign(self.authority.key, hashes.SHA256())
        if not with_sct:
            return bare
        timestamp = self._sct(bare.tbs_certificate_bytes, at)
        return builder.add_extension(
            x509.UnrecognizedExtension(_SCT_LIST, timestamp), critical=False
        ).sign(self.authority.key, hashes.SHA256())

    def _sct(self, tbs: bytes, at: datetime) -> bytes:
        """RFC 6962, 3.3: the list of one timestamp about a precertificate."""
        millis = int(at.timestamp() * 1000)
        issuer = hashlib.sha256(spki(self.authority.key)).digest()
        signed = struct.pack(">BBQH", 0, 0, millis, 1) + issuer
        signed += len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = sign(self.ct_key, signed)
        sct = struct.pack(">B32sQH", 0, key_id(self.ct_key), millis, 0)
        sct += struct.pack(">BBH", 4, 3, len(signature)) + signature
        inner = struct.pack(">H", len(sct)) + sct
        listed = struct.pack(">H", len(inner)) + inner
        return tlv(4, listed)

    def bundle(
        self,
        payload: bytes,
        *,
        key: Key | None = None,
        certificate: x509.Certificate | None = None,
        at: datetime = NOW,
        logged_at: datetime | None = None,
        timestamped: bool = False,
        **named: Any,
    ) -> dict[str, Any]:
        """A bundle about a payload: logged as Rekor v1 does it, or as v2 with a timestamp."""
        key = key or new_key()
        certificate = certificate or self.certificate(key.public_key(), at=at, **named)
        signature = sign(key, pae(PAYLOAD_TYPE, payload))
        logged = logged_at or at + timedelta(seconds=5)
        entry = (
            self.entry_v2(payload, signature, certificate)
            if timestamped
            else self.entry_v1(payload, signature, certificate, logged)
        )
        material: dict[str, Any] = {
            "certificate": {"rawBytes": b64(certificate.public_bytes(serialization.Encoding.DER))},
            "tlogEntries": [entry],
        }
        if timestamped:
            token = self.timestamp(signature, logged)
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": b64(token)}]
            }
        return {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64(signature)}],
            },
        }

    def entry_v1(
        self, payload: bytes, signature: bytes, certificate: x509.Certificate, at: datetime
    ) -> dict[str, Any]:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = dsse_body(payload, [(b64(signature), b64(pem))])
        entry = self.entry(body, "dsse", "0.0.1")
        promise = self.log.promise(body, int(entry["logIndex"]), at)
        return entry | {
            "integratedTime": str(int(at.timestamp())),
            "inclusionPromise": {"signedEntryTimestamp": b64(promise)},
        }

    def entry_v2(
        self, payload: bytes, signature: bytes, certificate: x509.Certificate
    ) -> dict[str, Any]:
        digest = hashlib.sha256(pae(PAYLOAD_TYPE, payload)).digest()
        body = {
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {
                "hashedRekordV002": {
                    "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
                    "signature": {
                        "content": b64(signature),
                        "verifier": {
                            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                            "x509Certificate": {
                                "rawBytes": b64(
                                    certificate.public_bytes(serialization.Encoding.DER)
                                )
                            },
                        },
                    },
                }
            },
        }
        return self.entry(_canonical(body), "hashedrekord", "0.0.2")

    def entry(self, body: bytes, kind: str, version: str) -> dict[str, Any]:
        """Enter a body into the log: what the log answers."""
        described = self.describe(body, self.log.add(body))
        return described | {"kindVersion": {"kind": kind, "version": version}}

    def describe(self, body: bytes, index: int) -> dict[str, Any]:
        """What the log says of an entry that it has."""
        return {
            "logIndex": str(index),
            "logId": {"keyId": b64(key_id(self.log.key))},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(self.log.root),
                "treeSize": str(len(self.log.leaves)),
                "hashes": [b64(node) for node in self.log.proof(index)],
                "checkpoint": {"envelope": self.log.checkpoint()},
            },
            "canonicalizedBody": b64(body),
        }

    def timestamp(self, signature: bytes, at: datetime) -> bytes:
        """An RFC 3161 response about a signature."""
        key = new_key()
        leaf = _timestamp_leaf(key, self.timestamps)
        self._timestamp_leaf = leaf
        return timestamp_response(signature, at, leaf, key)

    def trusted_root(self, url: str = "https://log.example.com") -> dict[str, Any]:
        """The trusted_root.json of this instance."""
        start = "2020-01-01T00:00:00Z"

        def log(key: Key) -> dict[str, Any]:
            return {
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": start},
                },
                "logId": {"keyId": b64(key_id(key))},
            }

        def authority(certificates: Sequence[x509.Certificate]) -> dict[str, Any]:
            return {
                "subject": {"organization": "example.com", "commonName": "test"},
                "uri": url,
                "certChain": {
                    "certificates": [
                        {"rawBytes": b64(c.public_bytes(serialization.Encoding.DER))}
                        for c in certificates
                    ]
                },
                "validFor": {"start": start},
            }

        value = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log.key)],
            "certificateAuthorities": [authority(self.authority.chain)],
            "ctlogs": [log(self.ct_key)],
            "timestampAuthorities": [],
        }
        leaf = getattr(self, "_timestamp_leaf", None)
        if leaf is not None:
            value["timestampAuthorities"] = [authority([leaf, *self.timestamps.chain])]
        return value


def dsse_body(payload: bytes, signatures: Sequence[tuple[str, str]]) -> bytes:
    """The canonical body of Rekor v1's entry for an envelope."""
    return _canonical(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
                "payloadHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(payload).hexdigest(),
                },
                "signatures": [
                    {"signature": signature, "verifier": verifier}
                    for signature, verifier in signatures
                ],
            },
        }
    )


def _timestamp_leaf(key: Key, authority: Authority) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(_name("timestamps"))
        .issuer_name(authority.intermediate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.intermediate.not_valid_before_utc)
        .not_valid_after(authority.intermediate.not_valid_after_utc)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )


def _general(subject: str) -> x509.GeneralName:
    if "://" in subject:
        return x509.UniformResourceIdentifier(subject)
    return x509.RFC822Name(subject)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())
