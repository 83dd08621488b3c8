"""A folder with keys and a repository, and commands that run in the same process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.cli.main import main
from ocistate.oci.local.layout import LayoutStore
from ocistate.reference import parse_reference
from tests.support.factories.keys import Key

_KEYS = {name: Key.make() for name in ("art", "chan", "other")}


def write_keys(root: Path) -> None:
    """Keys for artifacts and channels."""
    for name, key in _KEYS.items():
        key.write(root / name)


class Site:
    """A layout with three releases, keys for artifacts and channels, and a policy."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.store = f"layout:{root}/store"
        write_keys(root)
        self.write_policy()
        self.digests = [self.push(version) for version in ("1", "2", "3")]

    def write_policy(self, channel_key: str = "chan", **spec: Any) -> None:
        value = {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "TrustPolicy",
            "metadata": {"name": "shop"},
            "spec": {
                "repositories": ["**"],
                "keys": [{"name": "ci", "pem": (self.root / "art.pub").read_text()}],
                "channelKeys": [
                    {"name": "release", "pem": (self.root / f"{channel_key}.pub").read_text()}
                ],
                **spec,
            },
        }
        (self.root / "policy.yaml").write_text(yaml.safe_dump(value))

    def push(self, version: str, *, sign: bool = True) -> str:
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "app"},
            "data": {"v": version},
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "stringData": {"password": f"hunter{version}"},
        }
        path = self.root / "app.yaml"
        path.write_text(yaml.safe_dump_all([config, secret]))
        signing = ["--sign", "--key", str(self.root / "art.key")] if sign else []
        out = self("push", str(path), f"{self.store}:v{version}", "--allow-secrets", *signing)
        return out.strip().rpartition("@")[2]

    def __call__(self, *args: str, code: int = 0) -> str:
        self.capsys.readouterr()
        found = main(list(args))
        self.out, self.err = self.capsys.readouterr()
        assert found == code, (found, self.out, self.err)
        return self.out

    def sign(self, *args: str, key: str = "chan", code: int = 0) -> str:
        return self(*args, "--key", str(self.root / f"{key}.key"), *self.trust, code=code)

    @property
    def trust(self) -> tuple[str, str]:
        return ("--policy", str(self.root / "policy.yaml"))

    def point(self, tag: str, at: str) -> None:
        """Move a tag as somebody with write access may."""

        async def move() -> None:
            store = LayoutStore(parse_reference(self.store))
            await store.push_manifest(await store.fetch_manifest(at), tag)

        asyncio.run(move())

    def promote(self, *args: str, to: str = "prod", code: int = 0, key: str = "chan") -> str:
        return self.sign("promote", self.store, "--to", to, *args, "--yes", key=key, code=code)

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, *self.trust, "-o", "json"))


@pytest.fixture
def site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Site:
    monkeypatch.setenv("OCISTATE_PASSWORD", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GITHUB_ACTOR", "alice")
    return Site(tmp_path, capsys)


@pytest.fixture
def begun(site: Site) -> Site:
    for name in ("staging", "prod"):
        site.sign("channel", "init", f"{site.store}:v1", name, "--reason", "begin")
    return site
