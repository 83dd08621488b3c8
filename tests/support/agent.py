"""What the agent's tests share: artifacts made and signed, an agent in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ocistate.artifact.pack import PackOptions, Provenance, pack
from ocistate.oci import open_store
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.artifact.push import push_artifact
from ocistate.ops.signing.sign import sign_artifact
from ocistate.reference import parse_reference
from testbed.process import patience, spawn
from tests.keys import Key as Key

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    """Look until there is something, and return it; wait longer where the machine is crowded.

    What takes long is looked at less and less often: looking costs those we wait for their time.
    """
    begun = time.monotonic()
    pause = 0.02
    while True:
        before = time.monotonic()
        seen = look()
        if seen:
            return seen
        now = time.monotonic()
        if now > begun + patience(seconds):
            load = os.getloadavg()[0]
            raise AssertionError(f"not within {now - begun:.0f} s (load {load:.1f}): {what}")
        time.sleep(max(pause, now - before))
        pause = min(pause * 1.2, 0.1)


@dataclass(frozen=True)
class Publisher:
    """Puts artifacts into one repository, as `push --sign` does."""

    reference: str
    key: Key

    def push(
        self,
        objects: Sequence[Mapping[str, Any]] | Mapping[str, bytes],
        tag: str = "prod",
        *,
        sign: Key | bool | None = True,
    ) -> str:
        """Push objects (one file each) or files; sign with the own key, another one, or none."""
        files = (
            dict(objects)
            if isinstance(objects, Mapping)
            else {
                f"{number:03}-{obj['kind'].lower()}.yaml": yaml.safe_dump(dict(obj)).encode()
                for number, obj in enumerate(objects)
            }
        )
        chosen = self.key if sign is True else sign or None
        return asyncio.run(self._push(files, tag, chosen))

    def point(self, tag: str, digest: str) -> None:
        """Move a tag."""

        async def move() -> None:
            async with open_store(parse_reference(self.reference)) as store:
                await store.push_manifest(await store.fetch_manifest(digest), tag)

        asyncio.run(move())

    async def _push(self, files: dict[str, bytes], tag: str, key: Key | None) -> str:
        packed = pack(
            files,
            provenance=Provenance(revision="main@sha1:" + "1" * 40),
            options=PackOptions(allow_secrets=True),
        )
        async with open_store(parse_reference(self.reference)) as store:
            if key is not None:
                pushed = await push_artifact(store, packed, [])
                await sign_artifact(store, pushed.descriptor, key.signer)
            return (await push_artifact(store, packed, [tag])).descriptor.digest

    @property
    def blobs(self) -> Path:
        """The blobs' folder of a layout."""
        store = open_store(parse_reference(self.reference))
        assert isinstance(store, LayoutStore)
        return Path(parse_reference(self.reference).repository) / "blobs" / "sha256"


def policy(*keys: Key, name: str = "default", repositories: str = "**", **spec: Any) -> Any:
    """A TrustPolicy that trusts these keys."""
    return {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "TrustPolicy",
        "metadata": {"name": name},
        "spec": {
            "repositories": [repositories],
            "keys": [{"pem": key.pem} for key in keys],
            **spec,
        },
    }


def stack(name: str, repository: str, *, namespace: str = "", **spec: Any) -> dict[str, Any]:
    """A Stack; what ``source`` says is added to the repository, tag and a short interval."""
    source = {"repository": repository, "tag": "prod", "interval": "300ms"} | spec.pop("source", {})
    return {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "spec": {"source": {k: v for k, v in source.items() if v is not None}, **spec},
    }


def config_map(name: str, namespace: str = "", **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "data": data,
    }


def condition(status: Mapping[str, Any] | None, type_: str) -> tuple[str, str, str]:
    """(status, reason, message) of one condition; empty texts where there is none."""
    for found in (status or {}).get("conditions") or ():
        if found["type"] == type_:
            return found["status"], found["reason"], found["message"]
    return "", "", ""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log in JSON."""
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


LOOPBACK = ("--allow-hosts=127.0.0.0/8", "--allow-hosts=localhost")
"""Where all registries and API servers of tests are."""


@dataclass
class AgentProcess:
    """`ocistate agent` as a process; its log is a file."""

    arguments: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    inside: Sequence[str] = ()
    """A command that runs it in other surroundings."""
    process: subprocess.Popen[bytes] | None = None
    _mark: int = 0

    def start(self) -> AgentProcess:
        command = [*self.inside, sys.executable, "-m", "ocistate", "agent"]
        command += ["--log-format=json", *self.arguments]
        if "--stacks" not in self.arguments:
            command += LOOPBACK  # an agent in a cluster keeps Stacks off its own machine
        self.process = spawn(command, log=self.log, env=self.env)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self, seconds: float = 60.0) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9, unless it has ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return read_log(self.log)

    def mark(self) -> None:
        """What it logs from now on is what `since_mark` tells."""
        self._mark = self.log.stat().st_size if self.log.exists() else 0

    def since_mark(self, lines: int = 60) -> str:
        """The last lines that it logged since the mark, and whether it still runs."""
        state = "runs" if self.running else "has ended"
        with self.log.open("rb") as stream:
            stream.seek(self._mark)
            said = stream.read().decode(errors="replace").splitlines()
        return "\n".join([f"{self.log}; the agent {state}", *said[-lines:]])

    def __enter__(self) -> AgentProcess:
        return self if self.running else self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill()
