"""A layout with three signed releases in two channels, and the command line run in this process."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.cli.main import main
from tests.support.factories.keys import Key

REVISIONS = tuple(f"main@sha1:{str(number) * 40}" for number in range(4))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Standard output as the one line it should be."""
        (line,) = self.out.splitlines()
        return line

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.out)


class _Input(io.TextIOWrapper):
    """Standard input with some text in it; a terminal if asked."""

    def __init__(self, text: str, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def run(*args: str | Path, code: int = 0, stdin: str = "", terminal: bool = False) -> Ran:
    """Run a command in this process; its exit code must be the one given."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr("sys.stdin", _Input(stdin, terminal=terminal))
        patch.setenv("OCISTATE_PASSWORD", "")
        found = main([str(arg) for arg in args])
    ran = Ran(found, out.getvalue(), err.getvalue())
    assert ran.code == code, (found, ran.out[-2000:], ran.err[-2000:])
    return ran


def config_map(version: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app", "namespace": "shop"},
        "data": {"v": version},
    }


def deployment(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "api", "image": "reg.io/api:1"}]}},
        },
    }


SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "shop"},
    "stringData": {"password": "hunter"},
}
RELEASES = (
    [config_map("1"), SECRET],
    [config_map("2"), SECRET, deployment(2)],
    [SECRET, deployment(5)],
)


@dataclass(slots=True)
class Shop:
    """The layout, its keys and its policy. One for all tests: none may change it."""

    root: Path
    digests: tuple[str, ...] = ()

    @property
    def store(self) -> str:
        return f"layout:{self.root}/store"

    def pub(self, name: str) -> str:
        return str(self.root / f"{name}.pub")

    def key(self, name: str) -> str:
        return str(self.root / f"{name}.key")

    @property
    def policy(self) -> str:
        return str(self.root / "policy.yaml")

    @property
    def trust(self) -> tuple[str, str]:
        return ("--policy", self.policy)

    @property
    def sign(self) -> tuple[str, str, str, str]:
        """The options of a command that writes a channel's record."""
        return ("--key", self.key("chan"), *self.trust)

    def copy(self, root: Path) -> Shop:
        """Another one that may be changed. Its channels are those of this one's path."""
        shutil.copytree(self.root, root / "shop")
        return Shop(root / "shop", self.digests)

    def write_policy(self, **spec: Any) -> None:
        value = {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "TrustPolicy",
            "metadata": {"name": "shop"},
            "spec": {
                "repositories": ["**"],
                "keys": [{"name": "ci", "pem": Path(self.pub("art")).read_text()}],
                "channelKeys": [{"name": "release", "pem": Path(self.pub("chan")).read_text()}],
                **spec,
            },
        }
        Path(self.policy).write_text(yaml.safe_dump(value))

    def push(self, tag: str, objects: list[dict[str, Any]], *options: str) -> str:
        path = self.root / "manifests.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        ran = run("push", path, f"{self.store}:{tag}", "--allow-secrets", *options)
        return ran.line.rpartition("@")[2]


def make_shop(root: Path) -> Shop:
    """Releases v1 to v3, signed, ``raw`` unsigned; staging at 1, 2, 3, prod at 1 and 2 of them."""
    shop = Shop(root)
    for name in ("art", "chan", "other"):
        Key.make().write(root / name)
    shop.write_policy()
    signing = ("--sign", "--key", shop.key("art"))
    shop.digests = tuple(
        shop.push(f"v{place}", objects, "--revision", REVISIONS[place], *signing)
        for place, objects in enumerate(RELEASES, 1)
    )
    shop.push("raw", [config_map("raw")])
    for channel in ("staging", "prod"):
        reason = ("--reason", "begin")
        run("channel", "init", f"{shop.store}:v1", channel, *reason, *shop.sign)
    for tag in ("v2", "v3"):
        run("promote", shop.store, "--tag", tag, "--to", "staging", "--yes", *shop.sign)
    at = ("--digest", shop.digests[1])
    run("promote", shop.store, *at, "--to", "prod", "--reason", "ship", "--yes", *shop.sign)
    return shop


def shared_shop(root: Path) -> Iterator[Shop]:
    """Make a shop, with an environment of its own, for as long as a fixture holds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setenv("GITHUB_ACTOR", "alice")
        yield make_shop(root)
