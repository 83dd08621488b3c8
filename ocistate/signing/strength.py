"""Which public keys are strong enough to trust: the one place that decides it, wherever they come
from.

A weak key is no matter of taste: an attacker need not even break it. An Ed25519 point of
small order verifies signatures that anyone can make, and so does an RSA key with exponent 1.
"""

from __future__ import annotations

import math
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ACCEPTED: Final = "ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"

_CURVES: Final = ("secp256r1", "secp384r1")
_RSA_BITS: Final = (2048, 8192)
_EXPONENTS: Final = (65537, 2**256)
"""FIPS 186-5, section 5.1: odd, above 2^16 and below 2^256."""

_SMALL_PRIMES: Final = math.prod(
    n for n in range(3, 752, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2))
)


def weakness(key: Any) -> str:
    """Why a public key must not be trusted, as a sentence's end; empty when it may be."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.curve.name in _CURVES else f"is on the curve {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _ed25519(key.public_bytes_raw())
    return f"is a {type(key).__name__}"


def _rsa(key: rsa.RSAPublicKey) -> str:
    least, most = _RSA_BITS
    if not least <= key.key_size <= most:
        return f"is an RSA key of {key.key_size} bits"
    numbers = key.public_numbers()
    if not _EXPONENTS[0] <= numbers.e < _EXPONENTS[1] or numbers.e % 2 == 0:
        return "is an RSA key with an exponent that is not safe"
    if numbers.n % 2 == 0 or math.gcd(numbers.n, _SMALL_PRIMES) != 1:
        return "is an RSA key whose modulus has a small factor"
    return ""


def _ed25519(raw: bytes) -> str:
    from nacl.bindings import crypto_core_ed25519_is_valid_point

    # On the curve, in its canonical encoding, of the large prime order: every honest key is.
    if crypto_core_ed25519_is_valid_point(raw):
        return ""
    return "is an Ed25519 key of small order or not canonical"
