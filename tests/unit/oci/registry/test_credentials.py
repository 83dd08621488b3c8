"""Where credentials are found, and which of several entries counts."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocistate.errors import ConfigError
from ocistate.oci.registry.credentials import (
    Credentials,
    call_helper,
    config_files,
    find_credentials,
    helper_of,
    registry_names,
)

HOST = "registry.example.com"


def auth(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:secret".encode()).decode()}


def config(**auths: Any) -> bytes:
    return json.dumps({"auths": auths}).encode()


def user_of(found: Credentials | None) -> str | None:
    return found.username if found else None


def test_basic_credentials_and_what_is_shown_of_them() -> None:
    found = Credentials(username="ann", password="pa:ss")
    assert found.basic == "Basic " + base64.b64encode(b"ann:pa:ss").decode()
    assert "pa:ss" not in repr(found)


@pytest.mark.parametrize(
    ("auths", "user"),
    [
        ({HOST: auth("host")}, "host"),
        ({f"https://{HOST}/v2/": auth("url")}, "url"),
        ({HOST: auth("host"), f"{HOST}/team/shop": auth("exact")}, "exact"),
        ({HOST: auth("host"), f"{HOST}/team": auth("prefix")}, "prefix"),
        ({HOST: auth("host"), f"{HOST}/other": auth("other")}, "host"),
        ({"*.example.com": auth("star")}, "star"),
        ({"*.com": auth("too wide")}, None),
        ({"other.example.com": auth("other")}, None),
        ({HOST: {"username": "plain", "password": "p"}}, "plain"),
        ({HOST: {}}, None),
        ({HOST: {"username": "", "password": "p"}}, None),
    ],
)
def test_the_most_exact_entry_of_a_pull_secret_counts(
    auths: dict[str, Any], user: str | None
) -> None:
    found = find_credentials(HOST, config(**auths), repository="team/shop")
    assert user_of(found) == user


def test_an_identity_token_goes_before_a_password() -> None:
    found = find_credentials(HOST, config(**{HOST: {**auth("u"), "identitytoken": "token"}}))
    assert found == Credentials(username="u", identity_token="token")


@pytest.mark.parametrize("entry", ["no base64!", base64.b64encode(b"\xff\xfe").decode()])
def test_an_entry_that_cannot_be_read_is_an_error_that_names_it(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"the pull secret: auths\['registry.example.com'\]"):
        find_credentials(HOST, config(**{HOST: {"auth": entry}}))


@pytest.mark.parametrize("data", [b"", b"[]", b"{"])
def test_a_pull_secret_of_another_shape_is_an_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match="not a docker configuration"):
        find_credentials(HOST, data)


def test_a_pull_secret_runs_no_helper_of_this_machine() -> None:
    data = json.dumps({"credsStore": "desktop", "credHelpers": {HOST: "desktop"}}).encode()
    assert find_credentials(HOST, data) is None


def test_files_are_asked_in_order(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    docker, podman = config_files(environ)
    assert find_credentials(HOST, environ=environ) is None
    for path, user in ((podman, "podman"), (docker, "docker")):
        path.parent.mkdir(parents=True)
        path.write_bytes(config(**{HOST: auth(user)}))
        assert user_of(find_credentials(HOST, environ=environ)) == user
    own = tmp_path / "own.json"
    own.write_bytes(config(**{HOST: auth("own")}))
    environ["REGISTRY_AUTH_FILE"] = str(own)
    assert user_of(find_credentials(HOST, environ=environ)) == "own"


def test_docker_hub_goes_by_several_names() -> None:
    assert registry_names("docker.io")[0] == "https://index.docker.io/v1/"
    found = find_credentials("docker.io", config(**{"https://index.docker.io/v1/": auth("hub")}))
    assert user_of(found) == "hub"


def test_the_helper_of_a_registry_goes_before_the_one_for_all() -> None:
    assert helper_of({"credHelpers": {HOST: "own"}, "credsStore": "all"}, HOST) == ("own", HOST)
    assert helper_of({"credsStore": "all"}, HOST) == ("all", HOST)
    assert helper_of({"credHelpers": {HOST: 1}}, HOST) is None


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "docker-credential-test"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


def script(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def ask(tmp_path: Path) -> Credentials | None:
    folder = tmp_path / ".docker"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"credHelpers": {HOST: "test"}}))
    return find_credentials(HOST, environ={"HOME": str(tmp_path)})


def test_a_helper_gives_a_password_or_a_token(helper: Path, tmp_path: Path) -> None:
    script(helper, """echo '{"Username": "u", "Secret": "s"}'""")
    assert ask(tmp_path) == Credentials(username="u", password="s")
    script(helper, """echo '{"Username": "<token>", "Secret": "t"}'""")
    assert ask(tmp_path) == Credentials(identity_token="t")


def test_a_helper_that_does_not_know_the_registry_gives_nothing(
    helper: Path, tmp_path: Path
) -> None:
    script(helper, "echo credentials not found in native keychain; exit 1")
    assert ask(tmp_path) is None


def test_a_helper_that_fails_is_an_error_without_its_output(helper: Path, tmp_path: Path) -> None:
    script(helper, "echo secret-in-output; exit 3")
    with pytest.raises(ConfigError, match="failed with code 3") as caught:
        ask(tmp_path)
    assert "secret-in-output" not in str(caught.value)
    script(helper, "echo not json")
    with pytest.raises(ConfigError, match="not a credential"):
        ask(tmp_path)


def test_a_helper_must_have_a_plain_name_and_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the name of a credential helper"):
        call_helper("../evil", "get", "", server=HOST)
    with pytest.raises(ConfigError, match="is not installed"):
        call_helper("surely-not-there", "get", "", server=HOST)
