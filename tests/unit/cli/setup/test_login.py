"""``ocistate login`` and ``logout``: what is asked for, and what is refused before any request."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocistate.cli.setup.login import _host
from ocistate.errors import UsageError
from tests.support.environments.shop import run


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("reg.io", "reg.io"),
        ("https://reg.io/", "reg.io"),
        ("oci://localhost:5000", "localhost:5000"),
    ],
)
def test_a_registry_is_a_host(text: str, host: str) -> None:
    assert _host(text) == host


@pytest.mark.parametrize("text", ["reg.io/shop", "reg.io@sha256:0", "", "https://"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a registry"):
        _host(text)


@pytest.mark.parametrize(
    ("options", "stdin", "said"),
    [
        (("--password-stdin",), "secret", "--username"),
        ((), "", "--password-stdin"),
        (("-u", "me", "--password-stdin"), "", "password"),
        (("-u", "a:b", "--password-stdin"), "secret", "':'"),
        (("-u", "me", "--password-stdin"), "sec\x1bret", "password"),
    ],
)
def test_wrong_credentials_are_not_sent(options: tuple[str, ...], stdin: str, said: str) -> None:
    ran = run("login", "127.0.0.1:1", *options, stdin=stdin, code=2)
    assert said in ran.err
    assert "secret" not in ran.err


def test_logout_without_credentials_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    ran = run("logout", "reg.example.com")
    assert ran.line == "reg.example.com"
    assert "no credentials" in ran.err
