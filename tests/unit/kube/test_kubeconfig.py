"""Kubeconfigs, as people have them."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.errors import ConfigError
from ocistate.kube.kubeconfig import access_from_text, find_access
from ocistate.kube.session import Session


def config(name: str, **user: Any) -> dict[str, Any]:
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "ns"}}],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443"}}],
        "users": [{"name": name, "user": user or {"token": "t0ken"}}],
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_current_context_is_used(tmp_path: Path) -> None:
    access = find_access(write(tmp_path / "c", config("one")))
    assert (access.context, access.server, access.namespace) == ("one", "https://one:6443", "ns")
    assert "t0ken" not in repr(access)


def test_several_files_are_merged_and_the_first_wins(tmp_path: Path) -> None:
    second = config("two")
    second["clusters"].append({"name": "one", "cluster": {"server": "https://other"}})
    files = [write(tmp_path / "a", config("one")), write(tmp_path / "b", second)]
    env = {"KUBECONFIG": ":".join(map(str, [*files, tmp_path / "absent"]))}
    assert find_access(env=env).server == "https://one:6443"
    assert find_access(context="two", env=env).server == "https://two:6443"


def test_relative_files_are_beside_their_own_kubeconfig(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    content = config("one", **{"client-certificate": "me.crt", "client-key": "/abs/me.key"})
    access = find_access(write(folder / "c", content))
    user = access.config.user
    assert user is not None
    assert (user.client_cert, user.client_key) == (str(folder / "me.crt"), "/abs/me.key")


def test_a_pods_account_is_used_in_a_pod_unless_a_context_is_named(tmp_path: Path) -> None:
    for name, text in {"token": "x", "namespace": "inside", "ca.crt": "-"}.items():
        (tmp_path / name).write_text(text)
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    import os

    before = dict(os.environ)
    os.environ.update(env)  # lightkube reads them from there
    try:
        access = find_access(env=env, service_account=tmp_path)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "inside")


def test_what_lightkube_does_not_know_is_read_too(tmp_path: Path) -> None:
    content = config("one", token="t", **{"as": "admin", "as-groups": ["a", "b"]})
    content["clusters"][0]["cluster"] |= {"proxy-url": "http://p:1", "tls-server-name": "real"}
    access = find_access(write(tmp_path / "c", content))
    assert (access.proxy, access.tls_server_name) == ("http://p:1", "real")
    assert access.impersonate == (
        ("Impersonate-User", "admin"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("token: s3cret: x", "not YAML"),
        ("contexts: []", "no context is chosen"),
        ("current-context: x", "no context named 'x'"),
        (
            "current-context: x\ncontexts: [{name: x, context: {cluster: other}}]",
            "no cluster named 'other'",
        ),
    ],
)
def test_a_broken_kubeconfig_is_named_without_quoting_it(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as raised:
        find_access(path)
    assert str(path) in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_an_unknown_context_is_answered_with_those_there_are(tmp_path: Path) -> None:
    both = config("one")
    for plural in ("contexts", "clusters", "users"):
        both[plural] += config("two")[plural]
    path = write(tmp_path / "c", both)
    assert find_access(path, "two").server == "https://two:6443"
    with pytest.raises(ConfigError, match="no context named 'three'") as raised:
        find_access(path, "three")
    assert raised.value.hint == "it has: one, two"


def test_a_change_is_noticed_and_only_where_it_matters(tmp_path: Path) -> None:
    def both(token: str) -> dict[str, Any]:
        content = config("one", **{"client-certificate": "me.crt", "client-key": "me.key"})
        for plural in ("contexts", "clusters", "users"):
            content[plural] += config("two", token=token)[plural]
        return content

    for name in ("me.crt", "me.key"):
        (tmp_path / name).write_text("old")
    path = write(tmp_path / "c", both("a"))
    one, two = find_access(path, "one").mark, find_access(path, "two").mark
    assert one == find_access(path, "one").mark != two

    write(path, both("another"))
    assert find_access(path, "one").mark == one
    assert find_access(path, "two").mark != two

    (tmp_path / "me.crt").write_text("renewed")
    assert find_access(path, "one").mark != one


@pytest.mark.parametrize(
    ("cluster", "user", "told"),
    [
        ({"proxy-url": "socks5://127.0.0.1:1"}, {}, "http:// and https:// proxies"),
        ({}, {"client-certificate-data": "YQ=="}, "client-certificate, and no client-key"),
        ({}, {"client-key-data": "YQ=="}, "client-key, and no client-certificate"),
    ],
)
def test_what_cannot_be_used_is_said_when_it_is_read(
    cluster: dict[str, Any], user: dict[str, Any], told: str
) -> None:
    content = config("one", **user)
    content["clusters"][0]["cluster"] |= cluster
    with pytest.raises(ConfigError, match=told):
        access_from_text(yaml.safe_dump(content))


def test_a_server_that_is_no_url_is_a_matter_of_the_configuration(tmp_path: Path) -> None:
    content = config("one")
    content["clusters"][0]["cluster"]["server"] = "https://[::bad"
    (path := tmp_path / "config").write_text(yaml.safe_dump(content))
    session = Session(find_access(path))
    with pytest.raises(ConfigError, match="is no URL"):
        asyncio.run(session.send({"method": "GET", "url": "/"}))


VALUES: list[Any] = [None, 1, True, "s", [], {}, [1], [{}], {"a": 1}, [None], 1.5]


def test_whatever_stands_in_a_kubeconfig_the_error_is_one_of_ours(tmp_path: Path) -> None:
    """A Secret's is a tenant's; each place in it is tried with each kind of value."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./login",
        "args": ["a"],
        "env": [{"name": "A", "value": "b"}],
        "provideClusterInfo": True,
    }
    files = {"client-certificate": "a", "client-key": "b", "tokenFile": "t"}
    whole = config("one", token="t", **{"as": "a", "as-groups": ["g"]}, **files, exec=plugin)
    whole["clusters"][0]["cluster"] |= {"tls-server-name": "x", "proxy-url": "http://p"}
    embedded = config("one", token="t")
    path = tmp_path / "config"
    refused = 0
    for document in (whole, embedded):
        for place in places(document):
            for value in VALUES:
                text = json.dumps(put(document, place, value))
                path.write_text(text)
                refused += not is_read(functools.partial(access_from_text, text))
                refused += not is_read(functools.partial(find_access, path))
    assert refused


def is_read(read: Callable[[], object]) -> bool:
    try:
        read()
    except ConfigError:
        return False
    return True


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


def put(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copied = dict(document) if isinstance(document, dict) else list(document)
    copied[at[0]] = put(copied[at[0]], at[1:], value)
    return copied


def test_a_missing_kubeconfig_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--kubeconfig"):
        find_access(tmp_path / "absent")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 25_000,
        "a: " + "{b: " * 25_000,
        "clusters: " + "- " * 25_000,
        json.dumps(config("one"))[:-1] + ', "extensions": ' + '[{"a":' * 12_000,
        "a0: &a [x]\n" + "".join(f"a{n}: &a [{'*a,' * 10}]\n" for n in range(12)),
        "%TAG ! x\n" * 2_000 + "---\na: 1",
        "a: " + "9" * 5_000_000 + "\nb: !!int '" + "9" * 5_000 + "'",
        "x" * 9_000_000,
        "a: \ud800",
    ],
    ids=["lists", "maps", "dashes", "json", "aliases", "directives", "digits", "long", "surrogate"],
)
def test_no_kubeconfig_takes_the_process_with_it(text: str) -> None:
    begun = time.thread_time()
    with pytest.raises(ConfigError, match="kubeconfig"):
        access_from_text(text)
    assert time.thread_time() - begun < 2


def test_the_last_of_equal_keys_counts_as_for_kubectl() -> None:
    text = yaml.safe_dump(config("one")) + "current-context: one\n"
    assert access_from_text(text).context == "one"


def test_a_kubeconfig_from_a_secret_may_not_reach_into_this_machine() -> None:
    assert access_from_text(yaml.safe_dump(config("one"))).server == "https://one:6443"
    for user in ({"exec": {"command": "sh"}}, {"tokenFile": "/etc/shadow"}):
        with pytest.raises(ConfigError, match="this machine"):
            access_from_text(yaml.safe_dump(config("one", **user)))
    content = config("one")
    content["clusters"][0]["cluster"]["certificate-authority"] = "/etc/shadow"
    with pytest.raises(ConfigError, match="names a file"):
        access_from_text(yaml.safe_dump(content))
