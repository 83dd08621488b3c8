"""Weak public keys are refused on load, by every way a key comes in."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ocistate.errors import ConfigError, KeyFileError
from ocistate.signing.keys import load_public_key
from ocistate.signing.policy.parse import parse_policy

_P = 2**255 - 19
_D = (-121665 * pow(121666, -1, _P)) % _P

# All encodings of the eight points of small order, RFC 7748's and the ones that are not canonical.
_ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)


def _small_order() -> list[bytes]:
    low = [
        (0).to_bytes(32, "little"),
        (1).to_bytes(32, "little"),
        (_P - 1).to_bytes(32, "little"),
        _P.to_bytes(32, "little"),
        (_P + 1).to_bytes(32, "little"),
        *map(bytes.fromhex, _ORDER_8),
    ]
    return low + [each[:-1] + bytes([each[-1] ^ 0x80]) for each in low]


def _spki_ed25519(raw: bytes) -> bytes:
    body = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + raw).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()


def _pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("raw", _small_order(), ids=bytes.hex)
def test_an_ed25519_key_of_small_order_is_refused(raw: bytes) -> None:
    with pytest.raises(KeyFileError):
        load_public_key(_spki_ed25519(raw))


def test_an_ed25519_key_that_is_not_canonical_or_has_a_torsion_part_is_refused() -> None:
    from nacl.bindings import crypto_core_ed25519_add

    honest = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32).public_key()
    assert load_public_key(_pem(honest)).kind == "Ed25519"
    mixed = crypto_core_ed25519_add(honest.public_bytes_raw(), bytes.fromhex(_ORDER_8[0]))
    for raw in (mixed, (_P + 3).to_bytes(32, "little"), b"\xff" * 32):
        with pytest.raises(KeyFileError):
            load_public_key(_spki_ed25519(raw))


def _rsa_pem(n: int, e: int) -> bytes:
    def der(tag: int, body: bytes) -> bytes:
        size = len(body)
        length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
        return bytes([tag]) + length + body

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    key = der(0x30, integer(n) + integer(e))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    body = base64.b64encode(der(0x30, algorithm + der(3, b"\0" + key))).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()


def test_weak_rsa_keys_are_refused() -> None:
    strong = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    n = strong.public_numbers().n
    assert load_public_key(_rsa_pem(n, 65537)).kind == "RSA 2048"
    for exponent in (1, 2, 3, 17, 65536, 65538, 2**256 + 1):
        with pytest.raises(KeyFileError):
            load_public_key(_rsa_pem(n, exponent))
    for modulus in (n >> 1, n - 1, (n // 3) * 3, (n // 751) * 751, n >> 1024):
        with pytest.raises(KeyFileError):
            load_public_key(_rsa_pem(modulus, 65537))


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP521R1(), ec.SECP224R1()])
def test_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(KeyFileError, match="curve"):
        load_public_key(_pem(ec.generate_private_key(curve).public_key()))


def test_a_policy_takes_no_weak_key() -> None:
    text = _spki_ed25519((1).to_bytes(32, "little")).decode()
    policy = {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "TrustPolicy",
        "metadata": {"name": "p"},
        "spec": {"repositories": ["**"], "keys": [{"name": "k", "pem": text}]},
    }
    with pytest.raises(ConfigError, match="small order"):
        parse_policy(policy)
