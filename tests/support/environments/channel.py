"""A registry behind a server that tells what it is asked, an agent, and who moves its channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ocistate.channel.change import Why, begun, promoted, refreshed
from ocistate.channel.history import History
from ocistate.channel.record import Record, RecordProvenance
from ocistate.channel.trust import ChannelTrust, Trusted
from ocistate.oci import open_store
from ocistate.oci.store import Store
from ocistate.ops.channel.history import read_history
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.policy.model import TrustedKey
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, config_map, policy, stack
from tests.support.fakes.faulty_registry import Handler, Registry

T = TypeVar("T")


@dataclass
class World:
    """One repository, an agent that follows its channel ``prod`` into a folder."""

    root: Path
    server: Registry
    name: str
    artifacts: Key = field(default_factory=Key.make)
    channels: Key = field(default_factory=Key.make)

    def __post_init__(self) -> None:
        self.publisher = Publisher(self.repository, self.artifacts)
        self.stacks = self.root / "stacks.yaml"
        arguments = ["--stacks", str(self.stacks), "--state", str(self.root / "state")]
        self.agent = AgentProcess(arguments, self.root / "agent.log")
        self.trust()

    @property
    def repository(self) -> str:
        return f"{self.server.host}/{self.name}"

    def trust(self, *channel_keys: Key, **spec: Any) -> None:
        """The agent's files: the policy, and a Stack that follows the channel."""
        keys = [{"pem": key.pem} for key in channel_keys or (self.channels,)]
        source = {"tag": None, "channel": "prod", "interval": "200ms"}
        objects = [
            policy(self.artifacts, channelKeys=keys, **spec),
            stack("shop", f"oci://{self.repository}", source=source, target={"directory": "out"}),
        ]
        new = self.stacks.with_suffix(".new")
        new.write_text(yaml.safe_dump_all(objects))
        new.replace(self.stacks)

    def push(self, version: str, *, sign: Key | bool = True) -> str:
        content = yaml.safe_dump(config_map("app", v=version)).encode()
        return self.publisher.push({"app.yaml": content}, f"v{version}", sign=sign)

    def running(self) -> str:
        try:
            return str(yaml.safe_load((self.root / "out" / "app.yaml").read_bytes())["data"]["v"])
        except FileNotFoundError:
            return ""

    def move(
        self,
        digest: str,
        *,
        channel: str = "prod",
        by: Key | None = None,
        epoch: int | None = None,
        name: str = "",
        now: datetime | None = None,
        lifetime: timedelta | None = None,
    ) -> Trusted:
        """Write the channel's next record; ``name`` is the repository it is said to be of."""
        place = name or self.repository
        when = (now or datetime.now(UTC)).replace(microsecond=0)
        why = Why(now=when, reason="test", lifetime=lifetime)
        pins = {place: (digest, RecordProvenance())}

        def make(newest: Trusted | None) -> Record | None:
            if newest is None:
                return begun(channel, place, pins, why)
            if newest.record.subjects[place] == digest:
                return refreshed(newest, why)
            return promoted(newest, pins, why)

        key = by or self.channels
        trust = ChannelTrust(keys=(TrustedKey(name="k", key=key.signer.public_key),), epoch=epoch)

        async def write(store: Store) -> Trusted:
            there = Channel(name=channel, repository=place, trust=trust)
            return await Writer(store=store, channel=there, signer=key.signer, settle=0.02).write(
                make
            )

        return self.with_store(write)

    def point(self, tag: str, record: str) -> None:
        """Move a tag, as somebody with write access may."""

        async def write(store: Store) -> None:
            await store.push_manifest(await store.fetch_manifest(record), tag)

        self.with_store(write)

    def with_store(self, do: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        async def main() -> T:
            async with open_store(parse_reference(self.repository)) as store:
                return await do(store)

        return asyncio.run(main())

    def status(self) -> dict[str, Any]:
        path = self.root / "state" / "stacks" / "default.shop.json"
        if not path.exists():
            return {}
        status: dict[str, Any] = json.loads(path.read_bytes())["status"]
        return status

    def wait(self, reason: str, digest: str = "") -> str:
        """Wait for the Stack to say why it is, or is not, ready; what it says."""

        def look() -> bool:
            current = (self.status().get("current") or {}).get("digest", "")
            return condition(self.status(), "Ready")[1] == reason and digest in ("", current)

        try:
            wait_for(reason, look)
        except AssertionError:
            log = self.agent.log.read_text()[-2000:]
            raise AssertionError(f"not {reason} {digest}: {self.status()}; {log}") from None
        return condition(self.status(), "Ready")[2]

    def asked(self) -> list[tuple[str, str]]:
        """What the registry was asked since the last time: method, and what of the repository."""
        prefix = f"/v2/{self.name}/"
        seen = [
            (method, path.partition("?")[0].removeprefix(prefix))
            for method, path, _ in self.server.handler.requests
        ]
        self.server.handler.requests.clear()
        return seen


def no_fault(handler: Handler) -> bool:
    """Break nothing."""
    return False


def history_of(repository: str, key: Key, name: str = "") -> History:
    async def read() -> History:
        trust = ChannelTrust(keys=(TrustedKey(name="release", key=key.signer.public_key),))
        channel = Channel(name="prod", repository=name or repository, trust=trust)
        async with open_store(parse_reference(repository)) as store:
            return await read_history(store, channel, all_tags=True)

    return asyncio.run(read())
