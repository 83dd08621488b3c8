"""Log in and out: checked with the registry, kept where docker keeps it, seen nowhere else."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.registries import PASSWORD, USERNAME, Distribution, Registry
from tests.support.command import Done, ocistate, run


@pytest.fixture(scope="module", params=["htpasswd", "token"])
def registry(request: pytest.FixtureRequest) -> Iterator[Distribution]:
    with Distribution(auth=request.param == "htpasswd", token=request.param == "token") as running:
        yield running


def log_in(
    registry: Registry, folder: Path, password: str = PASSWORD, *, check: bool = True
) -> Done:
    return ocistate(
        *("login", registry.host, "-u", USERNAME, "--password-stdin"),
        environ={"DOCKER_CONFIG": str(folder)},
        stdin=f"{password}\n",
        check=check,
    )


def test_login_stores_credentials_that_other_tools_use(
    registry: Distribution, tmp_path: Path, oras: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {"other.io": {"auth": "eDp5"}}, "psFormat": "x"}))
    done = log_in(registry, tmp_path)
    assert done.line == registry.host
    assert PASSWORD not in done.out + done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = json.loads(path.read_text())
    assert config["psFormat"] == "x"
    assert sorted(config["auths"]) == sorted([registry.host, "other.io"])
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / "m.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n"
    )
    ocistate("push", tmp_path / "m.yaml", f"{registry.host}/login/x:v1", environ=environ)
    # What we keep, others read.
    tags = run(oras, "repo", "tags", "--plain-http", f"{registry.host}/login/x", environ=environ)
    assert tags.line == "v1"

    ocistate("logout", registry.host, environ=environ)
    assert sorted(json.loads(path.read_text())["auths"]) == ["other.io"]
    refused = ocistate("ls", f"{registry.host}/login/x", environ=environ, check=False)
    assert refused.code == 12
    assert f"ocistate login {registry.host}" in refused.err
    assert "no credentials" in ocistate("logout", registry.host, environ=environ).err


def test_login_does_not_store_a_wrong_password(registry: Distribution, tmp_path: Path) -> None:
    done = log_in(registry, tmp_path, "hunter2-hunter2", check=False)
    assert done.code == 12
    assert "hunter2" not in done.out + done.err
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_never_an_argument_and_never_guessed(tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    for arguments, code in (
        (("-u", "me", "--password", "secret"), 2),
        (("-u", "me"), 2),
        (("--password-stdin",), 2),
    ):
        done = ocistate("login", "127.0.0.1:1", *arguments, environ=environ, stdin="x", check=False)
        assert done.code == code
    assert list(tmp_path.iterdir()) == []


HELPER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$1" >> calls
case "$1" in
  store) cat > stored ;;
  erase) rm -f stored ;;
  get) cat stored 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"""


def test_login_uses_the_credential_helper_of_the_registry(
    registry: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "docker-credential-ours").write_text(HELPER)
    (bins / "docker-credential-ours").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bins}{os.pathsep}{os.environ['PATH']}")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credsStore": "ours"}))
    before = config.read_bytes()
    log_in(registry, tmp_path)
    assert json.loads((bins / "stored").read_text()) == {
        "ServerURL": registry.host, "Username": USERNAME, "Secret": PASSWORD,
    }  # fmt: skip
    assert config.read_bytes() == before
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    missing = ocistate("ls", f"{registry.host}/login/none", environ=environ, check=False)
    assert missing.code == 11
    ocistate("logout", registry.host, environ=environ)
    assert not (bins / "stored").exists()


def test_login_reports_a_registry_that_checks_no_credentials(
    distribution: Distribution, tmp_path: Path
) -> None:
    assert "could not be checked" in log_in(distribution, tmp_path).err


def test_an_http_server_that_is_no_registry_is_refused(tmp_path: Path) -> None:
    for text in ("https://h.io/team", "user@h.io", "not a host"):
        done = ocistate(
            *("login", text, "-u", "a", "--password-stdin"), stdin="b", check=False,
            environ={"DOCKER_CONFIG": str(tmp_path)},
        )  # fmt: skip
        assert done.code == 2
