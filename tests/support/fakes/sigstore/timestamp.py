"""An RFC 3161 timestamp authority's answer, built by hand: DER is quick to write, and nothing that
we depend on makes it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_SHA256 = "2.16.840.1.101.3.4.2.1"
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
_POLICY = "1.3.6.1.4.1.57264.2"


def timestamp_response(
    data: bytes,
    at: datetime,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    nonce: int | None = None,
) -> bytes:
    """A TimeStampResp that says: this data was there at that time."""
    return timestamp_of_digest(hashlib.sha256(data).digest(), at, certificate, key, nonce)


def timestamp_of_digest(
    digest: bytes,
    at: datetime,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    nonce: int | None = None,
) -> bytes:
    info = sequence(
        integer(1),
        oid(_POLICY),
        sequence(_algorithm(), tlv(0x04, digest)),
        integer(x509.random_serial_number() >> 8),
        tlv(0x18, at.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode()),
        b"" if nonce is None else integer(nonce),
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    attributes = b"".join(
        sorted(
            [
                _attribute(_CONTENT_TYPE, oid(_TST_INFO)),
                _attribute(_MESSAGE_DIGEST, tlv(0x04, hashlib.sha256(info).digest())),
                _attribute(
                    _SIGNING_CERTIFICATE_V2,
                    sequence(sequence(sequence(tlv(0x04, hashlib.sha256(der).digest())))),
                ),
            ]
        )
    )
    signature = key.sign(tlv(0x31, attributes), ec.ECDSA(hashes.SHA256()))
    signer = sequence(
        integer(1),
        sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number)),
        _algorithm(),
        tlv(0xA0, attributes),
        sequence(oid(_ECDSA_SHA256)),
        tlv(0x04, signature),
    )
    signed = sequence(
        integer(3),
        tlv(0x31, _algorithm()),
        sequence(oid(_TST_INFO), tlv(0xA0, tlv(0x04, info))),
        tlv(0xA0, der),
        tlv(0x31, signer),
    )
    token = sequence(oid(_SIGNED_DATA), tlv(0xA0, signed))
    return sequence(sequence(integer(0)), token)


def tlv(tag: int, body: bytes) -> bytes:
    """One DER value."""
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, b"".join(parts))


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(text: str) -> bytes:
    first, second, *rest = (int(part) for part in text.split("."))
    body = bytes([first * 40 + second])
    for arc in rest:
        chunk = [arc & 0x7F]
        while arc := arc >> 7:
            chunk.append(0x80 | arc & 0x7F)
        body += bytes(reversed(chunk))
    return tlv(0x06, body)


def _algorithm() -> bytes:
    return sequence(oid(_SHA256))


def _attribute(name: str, value: bytes) -> bytes:
    return sequence(oid(name), tlv(0x31, value))
