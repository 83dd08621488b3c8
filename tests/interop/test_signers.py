"""Keys that never leave their device: the example plugin for PKCS#11, with a real token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.packages import ensure_apt
from testbed.registries import Registry
from tests.support.command import ROOT, ocistate, run

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "314159"


@dataclass(frozen=True, slots=True)
class Token:
    """A SoftHSM token with one key; ``key`` is what ``--key`` is given."""

    key: str
    environ: Mapping[str, str]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    ensure_apt("softhsm2", "opensc", "openssl")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    environ = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "PKCS11_PIN": PIN}
    run(
        "softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", PIN,
        "--so-pin", "2718281828",
        environ=environ,
    )  # fmt: skip
    run(
        "pkcs11-tool", "--module", MODULE, "--token-label", "release", "--login",
        "--pin", "env:PKCS11_PIN", "--keypairgen", "--key-type", "EC:prime256v1",
        "--label", "signing",
        environ=environ,
    )  # fmt: skip
    plugin = ROOT / "examples" / "signers" / "pkcs11"
    command = f"exec:{plugin} --module {MODULE} --token-label release --label signing"
    return Token(command, environ)


def test_a_key_on_a_token_signs_and_attests(
    referrers_registry: Registry, cosign: Path, token: Token, manifests: Path, tmp_path: Path
) -> None:
    public = tmp_path / "token.pub"
    public.write_text(ocistate("public-key", "--key", token.key, environ=token.environ).out)
    name = ocistate(
        "push", manifests, f"{referrers_registry.host}/token:v1", "--sign", "--key", token.key,
        environ=token.environ,
    ).line  # fmt: skip
    ocistate("verify", name, "--key", public)
    run(
        cosign, "verify", "--key", public, "--insecure-ignore-tlog=true", "--allow-http-registry",
        name,
    )  # fmt: skip


def test_a_wrong_pin_is_reported_in_the_tokens_words_only(
    referrers_registry: Registry, token: Token, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{referrers_registry.host}/token:v2").line
    environ = {**token.environ, "PKCS11_PIN": "000111"}
    refused = ocistate("sign", name, "--key", token.key, environ=environ, check=False)
    assert refused.code == 30
    assert "CKR_PIN_INCORRECT" in refused.err
    assert "000111" not in refused.err
    assert "signing" not in refused.err.partition("Error:")[2]  # no arguments in our words
