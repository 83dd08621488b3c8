"""An agent follows a channel on a real registry: what it costs, and what it refuses."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ocistate.oci.model import EMPTY_CONFIG, Manifest
from ocistate.oci.store import Store
from testbed.registries import Registry as RealRegistry
from tests.support.assertions.waiting import wait_for
from tests.support.environments.channel import World, no_fault
from tests.support.factories.keys import Key
from tests.support.fakes.faulty_registry import Handler, Registry


@pytest.mark.parametrize("kind", ["distribution", "referrers_registry"])
def test_a_poll_costs_one_head_and_a_change_four_more_requests(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    upstream: RealRegistry = request.getfixturevalue(kind)
    server = Registry(no_fault, upstream.host)
    world = World(tmp_path, server, hashlib.sha256(kind.encode()).hexdigest()[:16])
    try:
        first, second = world.push("1"), world.push("2")
        world.move(first)
        with world.agent:
            world.wait("Ready", first)
            world.asked()
            polls: list[tuple[str, str]] = []

            def polled() -> bool:
                polls.extend(world.asked())
                return len(polls) >= 5

            wait_for("five polls", polled)
            assert set(polls) == {("HEAD", "manifests/channel-prod")}

            moved = world.move(second)
            world.wait("Ready", second)
            asked = world.asked()
            start = asked.index(("GET", f"manifests/{moved.digest}"))
            assert asked[start - 1] == ("HEAD", "manifests/channel-prod")
            # From the record to the artifact's own manifest, which is fetched when it is verified.
            following = asked[start : asked.index(("GET", f"manifests/{second}"))]
            assert len(following) <= 4, following
            current = world.status()["current"]
            assert (current["channel"], current["epoch"], current["sequence"]) == ("prod", 1, 2)
    finally:
        world.agent.kill()
        server.close()


def test_records_of_another_channel_or_repository_are_refused(world: World) -> None:
    first, second = world.push("1"), world.push("2")
    old = world.move(first)
    staging = world.move(first, channel="staging")
    with world.agent:
        world.wait("Ready", first)
        newest = world.move(second)
        world.wait("Ready", second)

        world.point("channel-prod", old.digest)
        assert "1 is before 2, which was accepted already" in world.wait("RecordReplayed", second)
        world.point("channel-prod", staging.digest)
        assert "one of the channel staging" in world.wait("ForeignRecord", second)
        # What it remembers survives it, whatever way it ends.
        world.point("channel-prod", old.digest)
        world.agent.kill()
        world.agent.start()
        world.wait("RecordReplayed", second)
        (world.root / "out" / "app.yaml").unlink()
        wait_for("what runs is kept equal", lambda: world.running() == "2")

        world.point("channel-prod", newest.digest)
        world.wait("Ready", second)


def test_a_record_of_another_repository_is_refused(world: World, tmp_path: Path) -> None:
    first, second = world.push("1"), world.push("2")
    world.move(first)
    with world.agent:
        world.wait("Ready", first)
        # Signed for another repository by the same key, and copied over with its right tags.
        foreign = World(tmp_path, world.server, f"{world.name}-other", channels=world.channels)
        record = foreign.move(second)
        world.trust()

        async def copy(store: Store) -> None:
            manifest = foreign_manifest
            await store.push_blob(EMPTY_CONFIG, b"{}")
            await store.push_blob(manifest.layers[0], manifest.layers[0].data)
            await store.push_manifest(manifest, "channel-prod")

        async def fetch(store: Store) -> Manifest:
            found = await store.fetch_manifest(record.digest)
            assert isinstance(found, Manifest)
            return found

        foreign_manifest = foreign.with_store(fetch)
        world.with_store(copy)
        assert f"of {foreign.repository}" in world.wait("ForeignRecord", first)


def test_artifact_keys_cannot_move_channels_and_channel_keys_cannot_sign_artifacts(
    world: World,
) -> None:
    first = world.push("1")
    by_channel_key = world.push("2", sign=world.channels)
    world.move(first, channel="other")
    world.move(first)
    with world.agent:
        world.wait("Ready", first)
        # A channel's key says that an artifact is good.
        world.move(by_channel_key)
        world.wait("UntrustedSigner", first)
        # An artifact's key moves the channel.
        thief = world.move(first, channel="thieves", by=world.artifacts)
        world.point("channel-prod", thief.digest)
        wait_for(
            "the record to be refused",
            lambda: "no channel key" in world.wait("UntrustedSigner", first),
        )
        assert world.running() == "1"


def test_a_registry_that_hides_the_newest_record_is_detected_by_expiry(
    distribution: RealRegistry, tmp_path: Path
) -> None:
    frozen: dict[str, bytes] = {}

    def freeze(handler: Handler) -> bool:
        if handler.path.endswith("/manifests/channel-prod") and handler.command in ("GET", "HEAD"):
            raw = frozen.get("raw")
            if raw is not None:
                digest = "sha256:" + hashlib.sha256(raw).hexdigest()
                return handler.answer(
                    raw, kind="application/vnd.oci.image.manifest.v1+json", digest=digest
                )
        return False

    server = Registry(freeze, distribution.host)
    world = World(tmp_path, server, "frozen")
    try:
        first, second = world.push("1"), world.push("2")
        old = world.move(first, lifetime=timedelta(seconds=8))
        with world.agent:
            world.wait("Ready", first)

            async def fetch(store: Store) -> bytes:
                return (await store.fetch_manifest(old.digest)).raw

            frozen["raw"] = world.with_store(fetch)
            world.move(second, lifetime=timedelta(days=1))
            world.wait("RecordExpired", first)
            assert world.running() == "1"
            frozen.clear()
            world.wait("Ready", second)
    finally:
        world.agent.kill()
        server.close()


def test_a_channel_that_expired_is_kept_and_moves_on_when_refreshed(world: World) -> None:
    first, second = world.push("1"), world.push("2")
    world.move(first, lifetime=timedelta(days=1))
    with world.agent:
        world.wait("Ready", first)
        past = datetime.now(UTC) - timedelta(days=3)
        world.move(second, now=past)
        assert "expired at" in world.wait("RecordExpired", first)
        assert world.running() == "1"
        world.move(second)
        world.wait("Ready", second)


def test_a_stolen_key_is_recovered_from_by_an_epoch(world: World) -> None:
    first, second = world.push("1"), world.push("2")
    world.move(first)
    with world.agent:
        world.wait("Ready", first)
        world.move(second)  # by the thief, with the key it stole
        world.wait("Ready", second)
        new = Key.make()
        world.trust(new, epoch=2)
        world.wait("UntrustedSigner", second)

        async def clear(store: Store) -> None:
            for tag in await store.tags():
                if tag.startswith("channel-"):
                    await store.delete(tag)

        world.with_store(clear)
        world.move(first, by=new, epoch=2)
        world.wait("Ready", first)
        assert (world.status()["current"]["epoch"], world.running()) == (2, "1")
