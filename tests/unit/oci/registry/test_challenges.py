"""Credentials: where they are found, and where they may go."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocistate.errors import ConfigError, ProtocolError
from ocistate.oci.registry.challenges import RegistryAccess, Tokens, check_realm, parse_challenges
from ocistate.oci.registry.credentials import Credentials, find_credentials

AUTH = base64.b64encode(b"robot:s3cret:with:colons").decode()


def config(folder: Path, value: Any) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(value))
    return {"DOCKER_CONFIG": str(folder), "HOME": str(folder)}


def test_docker_config_is_read(tmp_path: Path) -> None:
    environ = config(tmp_path, {"auths": {"h.io": {"auth": AUTH}}})
    found = find_credentials("h.io", environ=environ)
    assert found == Credentials(username="robot", password="s3cret:with:colons")
    assert find_credentials("other.io", environ=environ) is None
    assert find_credentials("h.io:5000", environ=environ) is None
    assert find_credentials("evil-h.io", environ=environ) is None


@pytest.mark.parametrize("name", ["h.io", "https://h.io", "https://h.io/v2/", "https://h.io/v1/"])
def test_registries_go_by_several_names(tmp_path: Path, name: str) -> None:
    environ = config(tmp_path, {"auths": {name: {"username": "u", "password": "p"}}})
    assert find_credentials("h.io", environ=environ) == Credentials(username="u", password="p")


def test_docker_hub_has_its_old_name(tmp_path: Path) -> None:
    environ = config(tmp_path, {"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}})
    found = find_credentials("docker.io", environ=environ)
    assert found is not None
    assert found.username == "robot"


def test_an_identity_token_goes_before_a_password(tmp_path: Path) -> None:
    entry = {"auth": AUTH, "identitytoken": "tok"}
    found = find_credentials("h.io", environ=config(tmp_path, {"auths": {"h.io": entry}}))
    assert found is not None
    assert (found.identity_token, found.password) == ("tok", "")


def test_podmans_file_goes_before_dockers(tmp_path: Path) -> None:
    environ = config(tmp_path / "docker", {"auths": {"h.io": {"auth": AUTH}}})
    podman = tmp_path / "auth.json"
    podman.write_text(json.dumps({"auths": {"h.io": {"username": "pod", "password": "man"}}}))
    found = find_credentials("h.io", environ={**environ, "REGISTRY_AUTH_FILE": str(podman)})
    assert found is not None
    assert found.username == "pod"


def test_a_pull_secret_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in config(tmp_path, {"auths": {"h.io": {"auth": AUTH}}}).items():
        monkeypatch.setenv(name, value)
    secret = json.dumps({"auths": {"other.io": {"auth": AUTH}}}).encode()
    assert find_credentials("other.io", secret) is not None
    assert find_credentials("h.io", secret) is None


HELPER = """#!/bin/sh
read server
case "$server" in
  h.io) echo '{"ServerURL":"h.io","Username":"USER","Secret":"SECRET"}' ;;
  broken.io) echo 'not json' ;;
  angry.io) echo "my secret is hunter2" >&2; exit 3 ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, user in (("test", "someone"), ("token", "<token>")):
        script = folder / f"docker-credential-{name}"
        script.write_text(HELPER.replace("USER", user))
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("helper")
def test_credential_helpers_are_asked(tmp_path: Path) -> None:
    stored = config(tmp_path, {"credsStore": "test", "credHelpers": {"t.io": "token"}})
    found = find_credentials("h.io", environ=stored)
    assert found == Credentials(username="someone", password="SECRET")
    assert find_credentials("unknown.io", environ=stored) is None
    token = config(tmp_path, {"credHelpers": {"h.io": "token"}})
    assert find_credentials("h.io", environ=token) == Credentials(identity_token="SECRET")


@pytest.mark.usefixtures("helper")
def test_a_helper_that_fails_is_named_and_its_output_is_not_shown(tmp_path: Path) -> None:
    environ = config(tmp_path, {"credsStore": "test"})
    for host in ("angry.io", "broken.io"):
        with pytest.raises(ConfigError, match="docker-credential-test") as caught:
            find_credentials(host, environ=environ)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "../../bin/sh", "a b", "x;y"])
def test_helpers_that_are_not_there_or_not_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        find_credentials("h.io", environ=config(tmp_path, {"credsStore": name}))


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    environ = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"config\.json"):
        find_credentials("h.io", environ=environ)
    bad = config(tmp_path, {"auths": {"h.io": {"auth": "%%%"}}})
    with pytest.raises(ConfigError, match=r"auths\['h.io'\]"):
        find_credentials("h.io", environ=bad)


def test_secrets_are_not_shown_by_repr() -> None:
    shown = repr(Credentials(username="u", password="hunter2", identity_token="tok3n"))
    assert "hunter2" not in shown
    assert "tok3n" not in shown


def test_challenges_are_read_and_bearer_goes_first() -> None:
    headers = [
        'Basic realm="x"',
        'Bearer realm="https://auth.io/token",service="h.io",scope="repository:a/b:pull,push"',
        "Negotiate",
    ]
    first, second, third = parse_challenges(headers)
    assert first.scheme == "bearer"
    assert first.parameters["realm"] == "https://auth.io/token"
    assert first.parameters["scope"] == "repository:a/b:pull,push"
    assert (second.scheme, third.scheme) == ("basic", "negotiate")


@pytest.mark.parametrize(
    ("realm", "registry", "fine"),
    [
        ("https://auth.io/token", "https://h.io", True),
        ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000", True),
        ("https://auth.io/token", "http://127.0.0.1:5000", True),
        ("http://auth.io/token", "https://h.io", False),
        ("ftp://auth.io", "https://h.io", False),
        ("file:///etc/passwd", "https://h.io", False),
        ("https://user:pw@auth.io/", "https://h.io", False),
        ("", "https://h.io", False),
        ("/token", "https://h.io", False),
    ],
)
def test_a_token_server_must_not_be_less_safe_than_the_registry(
    realm: str, registry: str, fine: bool
) -> None:
    if fine:
        assert check_realm(realm, registry) == realm
    else:
        with pytest.raises(ProtocolError):
            check_realm(realm, registry)


def test_tokens_are_kept_until_shortly_before_they_end() -> None:
    tokens, key = Tokens(), ("realm", "service", "scope")
    assert tokens.put(key, {"token": "t", "expires_in": 300}, now=0.0) == "t"
    assert tokens.get(key, now=280.0) == "t"
    assert tokens.get(key, now=295.0) is None
    assert tokens.get(("realm", "service", "other scope"), now=0.0) is None
    tokens.put(key, {"access_token": "u"}, now=0.0)
    assert tokens.get(key, now=30.0) == "u"
    tokens.drop("another")
    assert tokens.get(key, now=0.0) == "u"
    tokens.drop("u")
    assert tokens.get(key, now=0.0) is None


def test_credentials_are_looked_for_again_after_a_while_and_when_they_are_refused() -> None:
    access, key = RegistryAccess(seconds=300.0), ("realm", "service", "scope")
    one, other = Credentials(username="one"), Credentials(username="other")
    assert access.must_look(now=0.0)
    access.keep(one, now=0.0)
    access.tokens.put(key, {"token": "t"}, now=0.0)
    assert not access.must_look(now=299.0)
    assert access.must_look(now=300.0)
    access.keep(one, now=1.0)
    assert access.tokens.get(key, now=1.0) == "t"
    access.refused("Bearer t")
    assert access.must_look(now=1.0)
    assert access.tokens.get(key, now=1.0) is None
    access.tokens.put(key, {"token": "u"}, now=1.0)
    access.keep(other, now=1.0)
    assert access.tokens.get(key, now=1.0) is None, "others bought it"
    access.give(one)
    access.refused("Basic x")
    assert not access.must_look(now=10.0**9)
    assert access.credentials == one


@pytest.mark.parametrize("seconds", [10**9, -5, "long", None, True, float("inf")])
def test_a_token_server_that_lies_about_the_time_is_not_believed(seconds: Any) -> None:
    tokens, key = Tokens(), ("realm", "service", "scope")
    tokens.put(key, {"token": "t", "expires_in": seconds}, now=0.0)
    assert tokens.get(key, now=3600.0) is None


@pytest.mark.parametrize("answer", [{}, [], None, {"token": ""}, {"token": 5}, {"token": "é"}])
def test_an_answer_without_a_token_is_refused(answer: Any) -> None:
    with pytest.raises(ProtocolError):
        Tokens().put(("r", "s", "c"), answer, now=0.0)


@pytest.mark.parametrize(
    "helpers",
    [
        {"credHelpers": {"h.io": "planted"}},
        {"credsStore": "planted"},
        {"credHelpers": {"https://h.io": "planted"}, "credsStore": "planted"},
    ],
)
def test_a_pull_secret_runs_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helpers: dict[str, Any]
) -> None:
    program = tmp_path / "docker-credential-planted"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_credentials("h.io", json.dumps(helpers).encode()) is None
    both = json.dumps(helpers | {"auths": {"h.io": {"auth": AUTH}}}).encode()
    found = find_credentials("h.io", both)
    assert found is not None
    assert found.username == "robot"
    assert not (tmp_path / "ran").exists()
