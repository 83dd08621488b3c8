"""A Stack whose registry goes away for good lives on from its mirror."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.channel.change import Why, begun, promoted
from ocistate.channel.record import Record, RecordProvenance
from ocistate.channel.trust import ChannelTrust, Trusted
from ocistate.oci import open_store
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.policy.model import TrustedKey
from testbed.registries import Distribution, ReferrersRegistry
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.command import ocistate
from tests.support.environments.embedded import Site
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, policy, stack


class Mirrored(Site):
    """A site whose repository has a mirror in another registry."""

    def __init__(self, root: Path, first: Distribution, second: ReferrersRegistry) -> None:
        super().__init__(root)
        self.channels = Key.make()
        self.repository = f"{first.host}/shop"
        self.mirror = f"{second.host}/{os.urandom(8).hex()}/shop"
        self.publisher = Publisher(self.repository, self.key)

    def copy(self, *what: str) -> None:
        ocistate("copy", self.repository, self.mirror, *what)

    def follow(self, name: str, **source: Any) -> dict[str, Any]:
        source |= {"mirrors": [{"repository": self.mirror}]}
        return stack(name, self.repository, target={"directory": name}, source=source)

    def promote(self, digest: str) -> None:
        """Write the next record of the channel ``live``, in the repository."""
        reference = parse_reference(self.repository)
        pins = {reference.name: (digest, RecordProvenance())}
        why = Why(now=datetime.now(UTC), reason="test")
        trust = ChannelTrust(keys=(TrustedKey(name="k", key=self.channels.signer.public_key),))
        channel = Channel(name="live", repository=reference.name, trust=trust)

        def make(newest: Trusted | None) -> Record | None:
            if newest is None:
                return begun("live", reference.name, pins, why)
            return promoted(newest, pins, why)

        async def write() -> None:
            async with open_store(reference) as store:
                await Writer(
                    store=store, channel=channel, signer=self.channels.signer, settle=0.02
                ).write(make)

        asyncio.run(write())

    def declare(self, *objects: dict[str, Any]) -> None:
        rule = policy(self.key, channelKeys=[{"pem": self.channels.pem}])
        self.stacks.write_text(yaml.safe_dump_all([rule, *objects]))

    def lose_cache(self) -> None:
        """All that the agent has on disk but what it knows of its Stacks."""
        for path in self.state.iterdir():
            if path.is_dir() and path.name != "stacks":
                shutil.rmtree(path)


@pytest.fixture
def first() -> Iterator[Distribution]:
    with Distribution() as running:
        yield running


@pytest.fixture
def site(
    tmp_path: Path, first: Distribution, referrers_registry: ReferrersRegistry
) -> Iterator[Mirrored]:
    site = Mirrored(tmp_path, first, referrers_registry)
    yield site
    site.agent.kill()


def test_a_stack_is_reconciled_from_its_mirror_while_the_registry_is_unavailable(
    site: Mirrored, first: Distribution
) -> None:
    one = site.push("v1", app="1")
    site.promote(one)
    site.copy("--all-tags", "--channels")
    by_tag = site.follow("by-tag", tag="v1")
    by_channel = site.follow("by-channel", tag=None, channel="live")
    site.declare(by_tag, by_channel)
    site.agent.start()
    for name in ("by-tag", "by-channel"):
        site.wait("Ready", digest=one, name=name)
    two = site.push("v2", app="2")
    site.promote(two)
    site.wait("Ready", digest=two, name="by-channel")

    # The mirror has both artifacts, and of the channel only the older record.
    site.copy("--tags", "v2")
    site.agent.kill()
    first.kill()
    site.lose_cache()
    for name in ("by-tag", "by-channel"):
        site.file(stack=name).unlink()
    site.declare(by_tag, by_channel, site.follow("by-digest", tag=None, digest=two))
    site.agent.start()
    # What has a digest comes from the mirror, be the Stack new or known.
    site.wait("Ready", digest=two, name="by-digest")
    wait_for("by-tag's file", lambda: site.files("by-tag") == {"app.yaml": "1"}, seconds=30)
    wait_for("by-channel's file", lambda: site.files("by-channel") == {"app.yaml": "2"}, seconds=30)
    # A tag is no one's word but the repository's; an old record is not gone back to.
    for name, digest in (("by-tag", one), ("by-channel", two)):
        status = site.status(name)
        assert status["current"]["digest"] == digest
        assert "Unavailable" in condition(status, "Ready")[1], status
    # Who knows nothing yet follows the mirror's record.
    site.declare(by_tag, site.follow("newcomer", tag=None, channel="live"))
    assert site.wait("Ready", digest=one, name="newcomer")["current"]["sequence"] == 1
