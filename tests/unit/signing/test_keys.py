"""Key files: cosign's format, passwords, kinds of keys."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from ocistate.errors import ConfigError, KeyFileError, WrongPassword
from ocistate.signing.keys import (
    encrypt_private_key,
    generate,
    load_private_key,
    load_public_key,
    read_key,
    write_key_pair,
)

# Made by cosign 3.1.3 (COSIGN_PASSWORD=s3cret cosign generate-key-pair); signs nothing else.
COSIGN_KEY = (Path(__file__).parent / "data" / "cosign.key").read_bytes()
COSIGN_PUB = (Path(__file__).parent / "data" / "cosign.pub").read_bytes()


def never() -> bytes:
    raise AssertionError("no one should have been asked for a password")


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def plain(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_a_new_pair_signs_and_verifies() -> None:
    private, public = generate(b"pw")
    signer = load_private_key(private, lambda: b"pw")
    key = load_public_key(public)
    assert signer.public_key == key
    signature = signer.sign(b"data")
    assert key.verify(signature, b"data")
    assert not key.verify(signature, b"date")
    assert not key.verify(signature[:-1], b"data")
    assert not key.verify(b"", b"data")


def test_the_key_file_of_cosign_is_read() -> None:
    signer = load_private_key(COSIGN_KEY, lambda: b"s3cret")
    assert signer.public_key == load_public_key(COSIGN_PUB)


def test_the_older_label_of_cosign_is_read_too() -> None:
    older = COSIGN_KEY.replace(b"SIGSTORE", b"COSIGN")
    assert load_private_key(older, lambda: b"s3cret").public_key == load_public_key(COSIGN_PUB)


def test_a_wrong_password_is_said_to_be_one_and_not_repeated() -> None:
    with pytest.raises(WrongPassword) as caught:
        load_private_key(COSIGN_KEY, lambda: b"guess", origin="release.key")
    assert "release.key" in str(caught.value)
    assert "guess" not in str(caught.value)


def test_an_empty_password_is_legal() -> None:
    private, public = generate(b"")
    assert load_private_key(private, lambda: b"").public_key == load_public_key(public)


def test_a_plain_key_needs_no_password() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert load_private_key(plain(key), never).public_key == load_public_key(pem(key))


@pytest.mark.parametrize("n", [1024, 16384, 262144, 2**30])
def test_scrypt_costs_that_cosign_never_used_are_refused(n: int) -> None:
    body = json.loads(base64.b64decode(b"".join(COSIGN_KEY.split(b"\n")[1:-2])))
    body["kdf"]["params"]["N"] = n
    text = base64.b64encode(json.dumps(body).encode()).decode()
    lines = f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{text}\n"
    changed = lines + "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    with pytest.raises(KeyFileError, match="scrypt"):
        load_private_key(changed.encode(), never)


def test_signing_is_for_p256_only() -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        with pytest.raises(KeyFileError, match="P-256"):
            load_private_key(plain(key), never)


def test_other_kinds_of_keys_verify() -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    for algorithm in (hashes.SHA384(), hashes.SHA256()):
        assert load_public_key(pem(p384)).verify(p384.sign(b"d", ec.ECDSA(algorithm)), b"d")
    p256 = ec.generate_private_key(ec.SECP256R1())
    assert not load_public_key(pem(p256)).verify(p256.sign(b"d", ec.ECDSA(hashes.SHA384())), b"d")
    edwards = ed25519.Ed25519PrivateKey.generate()
    assert load_public_key(pem(edwards)).verify(edwards.sign(b"d"), b"d")
    big = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    for scheme in (padding.PKCS1v15(), pss):
        assert load_public_key(pem(big)).verify(big.sign(b"d", scheme, hashes.SHA256()), b"d")


def test_the_hashed_variant_of_ed25519_verifies_as_cosign_signs() -> None:
    from nacl.bindings import (
        crypto_sign_ed25519ph_final_create,
        crypto_sign_ed25519ph_state,
        crypto_sign_ed25519ph_update,
        crypto_sign_seed_keypair,
    )

    _, secret = crypto_sign_seed_keypair(b"\x07" * 32)
    state = crypto_sign_ed25519ph_state()
    crypto_sign_ed25519ph_update(state, b"data")
    signature = crypto_sign_ed25519ph_final_create(state, secret)
    key = load_public_key(pem(ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)))
    assert key.verify(signature, b"data")
    assert not key.verify(signature, b"date")


@pytest.mark.parametrize("signature", [b"", b"x", b"\x00" * 64, b"\xff" * 64, b"x" * 65])
def test_what_is_no_signature_is_none_for_any_kind_of_key(signature: bytes) -> None:
    keys = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    )
    assert not any(load_public_key(pem(key)).verify(signature, b"d") for key in keys)


def test_weak_and_unknown_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    odd = ec.generate_private_key(ec.SECP256K1())
    for key in (weak, odd):
        with pytest.raises(KeyFileError, match="not accepted"):
            load_public_key(pem(key))


def test_a_private_key_is_not_taken_for_a_public_one() -> None:
    with pytest.raises(KeyFileError, match="not a public key"):
        load_public_key(COSIGN_KEY)
    with pytest.raises(KeyFileError, match="not a private key"):
        load_private_key(COSIGN_PUB, never)


def test_key_files_are_written_for_their_owner_only_and_never_over_others(tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path / "k", b"")
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    with pytest.raises(ConfigError, match="there already"):
        write_key_pair(tmp_path / "k", b"")
    assert private.read_bytes() == before
    public.unlink()
    with pytest.raises(ConfigError, match="there already"):
        write_key_pair(tmp_path / "k", b"")
    assert not public.exists()


def test_a_key_comes_from_the_environment() -> None:
    assert read_key("env://KEY", {"KEY": "text"}) == b"text"
    with pytest.raises(KeyFileError, match="KEY"):
        read_key("env://KEY", {})


def test_a_key_is_not_shown_by_repr() -> None:
    private, _ = generate(b"")
    signer = load_private_key(private, lambda: b"")
    assert "private" not in repr(signer).lower()


def test_encryption_is_reproducible_with_its_randomness_given() -> None:
    der = b"not really a key"
    once = encrypt_private_key(der, b"pw", random=lambda n: b"\0" * n)
    again = encrypt_private_key(der, b"pw", random=lambda n: b"\0" * n)
    assert once == again


@given(st.binary(max_size=300))
def test_junk_is_refused_with_an_error_of_ours(junk: bytes) -> None:
    for data in (junk, b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(junk) + b"\n-----END"):
        with pytest.raises(KeyFileError):
            load_public_key(data)
        with pytest.raises(KeyFileError):
            load_private_key(data, never)
