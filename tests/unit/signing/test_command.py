"""Signer commands: the protocol, kept by a plugin of openssl, and broken in every way."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from ocistate.errors import KeyFileError
from ocistate.signing.command import CommandSigner, load_command
from ocistate.signing.keys import load_private_key
from tests.support.factories.keys import Key

PLUGIN = """
import base64, os, sys
from pathlib import Path
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from ocistate.signing.keys import load_private_key
folder = Path(sys.argv[1])
if sys.argv[-1] == "public-key":
    print((folder / "key.pub").read_text())
else:
    digest = bytes.fromhex(sys.stdin.read().strip())
    key = load_private_key((folder / "key").read_bytes(), lambda: b"")._key
    print(base64.b64encode(key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))).decode())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key = Key.make()
    (tmp_path / "key").write_bytes(key.private)
    (tmp_path / "key.pub").write_text(key.pem)
    return tmp_path


def plugin(folder: Path, text: str = PLUGIN) -> str:
    path = folder / "plugin.py"
    path.write_text(text)
    return f"exec:{sys.executable} {shlex.quote(str(path))} {shlex.quote(str(folder))}"


def shell(text: str) -> str:
    return f"exec:sh -c {shlex.quote(text)}"


def signing(folder: Path, text: str) -> CommandSigner:
    """A signer whose public key is right, and that signs as the shell text has it."""
    public = shlex.quote(str(folder / "key.pub"))
    return load_command(shell(f'if [ "$0" = public-key ]; then cat {public}; else {text}; fi'))


def test_a_command_signs_what_its_public_key_verifies(folder: Path) -> None:
    signer = load_command(plugin(folder))
    own = load_private_key((folder / "key").read_bytes(), lambda: b"")
    assert signer.public_key == own.public_key
    assert own.public_key.verify(signer.sign(b"data"), b"data")


def test_a_command_gets_the_protocol_and_none_of_our_passwords(folder: Path) -> None:
    text = f'test "$OCISTATE_SIGNER_PROTOCOL" = 1 && test -z "$SECRET" && cat {folder}/key.pub'
    environ = {**os.environ, "SECRET": "s3cret"}
    load_command(shell(text), hidden=["SECRET"], environ=environ)
    with pytest.raises(KeyFileError, match="code 1"):
        load_command(shell(text), environ=environ)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("exec:", "no command"),
        ("exec:  ", "no command"),
        ("exec:sh 'open", "open quote"),
        ("exec:/nowhere/at/all --pin 1234", "cannot be run"),
        ("exec:/etc/passwd --pin 1234", "cannot be run"),
        (shell("echo 1234 >&2; exit 3"), "code 3"),
        (shell("kill -9 $$"), "signal 9"),
        (shell("echo 1234"), "not a PEM file"),
        (shell("true"), "not a PEM file"),
        (shell("yes 1234 | head -c 99999"), "99999 bytes"),
    ],
)
def test_a_broken_command_is_told_without_its_arguments_or_output(source: str, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason) as caught:
        load_command(source)
    assert "1234" not in str(caught.value)


def test_a_public_key_of_another_kind_is_refused(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    pem = (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "key.pub").write_bytes(pem)
    with pytest.raises(KeyFileError, match="Ed25519"):
        load_command(plugin(folder))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo AAAA", "does not verify"),
        ("echo '*'", "base64"),
        (r"printf '\377'", "base64"),
        ("exit 1", "code 1"),
        ("true", "does not verify"),
    ],
)
def test_a_signature_that_does_not_hold_is_never_given_out(
    folder: Path, text: str, reason: str
) -> None:
    with pytest.raises(KeyFileError, match=reason):
        signing(folder, text).sign(b"data")


def test_a_command_that_hangs_is_ended(folder: Path) -> None:
    environ = {**os.environ, "OCISTATE_SIGNER_TIMEOUT": "0.2"}
    with pytest.raises(KeyFileError, match=r"within 0\.2 s"):
        load_command(shell("exec sleep 600"), environ=environ)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "1e9"])
def test_a_time_limit_must_be_seconds(text: str) -> None:
    with pytest.raises(KeyFileError, match="OCISTATE_SIGNER_TIMEOUT"):
        load_command("exec:true", environ={"OCISTATE_SIGNER_TIMEOUT": text})
