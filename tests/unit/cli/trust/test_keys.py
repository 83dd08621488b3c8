"""``ocistate keygen`` and ``public-key``, and the options that name a signer."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocistate.cli.trust.keys import checked_load, load_signer_for, signer_facts
from ocistate.errors import UsageError
from tests.support.environments.shop import Shop, run


def test_keygen_writes_a_pair_and_overwrites_none(tmp_path: Path) -> None:
    assert run("keygen", tmp_path / "k").line == str(tmp_path / "k.pub")
    private = (tmp_path / "k.key").read_bytes()
    assert "k.key" in run("keygen", tmp_path / "k", code=4).err
    assert (tmp_path / "k.key").read_bytes() == private
    pem = run("public-key", "--key", tmp_path / "k.key").out
    assert pem == (tmp_path / "k.pub").read_text()


def test_a_key_is_read_from_the_environment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", Path(shop.key("art")).read_text())
    assert run("public-key", "--key", "env://MY_KEY").out == Path(shop.pub("art")).read_text()


@pytest.mark.parametrize(
    ("key", "said"), [("none.key", "none.key"), ("env://NO_SUCH_KEY", "NO_SUCH_KEY")]
)
def test_a_key_that_is_missing_is_named(key: str, said: str) -> None:
    assert said in run("public-key", "--key", key, code=30).err


def test_the_password_is_needed_on_a_terminal_or_in_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("keygen", tmp_path / "k")
    monkeypatch.setenv("OCISTATE_PASSWORD", "wrong")
    with pytest.raises(Exception, match="password"):
        load_signer_for(str(tmp_path / "k.key"))


def test_a_signer_is_required() -> None:
    with pytest.raises(UsageError, match="no signer given"):
        checked_load(None)


def test_facts_name_the_key(shop: Shop) -> None:
    signer = load_signer_for(shop.key("art"))
    assert signer_facts(signer) == {"key": signer.public_key.fingerprint, "identity": ""}


@pytest.mark.parametrize(
    "identity", [("--identity",), ("--identity-token", "env://TOKEN"), ("--trust-config", "{}")]
)
def test_a_key_and_an_identity_cannot_be_combined(shop: Shop, identity: tuple[str, ...]) -> None:
    given = [text.replace("{}", shop.policy) for text in identity]
    ran = run("sign", f"{shop.store}:v1", "--key", shop.key("art"), *given, code=2)
    assert "--key" in ran.err
