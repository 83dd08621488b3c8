"""Many writers of one channel on real registries: one line, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from ocistate.errors import NotFound
from ocistate.oci import open_store
from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.store import RegistryStore
from ocistate.ops.channel.reader import Channel, read_newest
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from testbed.registries import Distribution, Registry
from tests.support.command import ROOT, ocistate
from tests.support.environments.channel import history_of
from tests.support.factories.keys import Key
from tests.support.factories.records import ALICE, SHOP, first, to, trust
from tests.support.factories.stacks import Publisher, config_map

WRITERS = 10


def test_ten_processes_promote_at_once(distribution: Distribution, tmp_path: Path) -> None:
    repository, artifacts = f"{distribution.host}/races/shop", Key.make()
    key = Key.make()
    key.write(tmp_path / "plain")
    publisher = Publisher(repository, artifacts)
    digests = [
        publisher.push([config_map("app", v=str(number))], f"v{number}")
        for number in range(WRITERS + 1)
    ]
    ocistate("channel", "init", f"{repository}:v{WRITERS}", "prod", "--key", tmp_path / "plain.key")
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "ocistate", "promote", f"{repository}:v{number}"),
                *("--to", "prod", "--key", str(tmp_path / "plain.key"), "--yes"),
                *("--reason", f"writer {number}"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    done = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, _, code in done] == [0] * WRITERS, done
    written = sorted(out.strip() for out, _, _ in done)
    assert written == sorted(f"prod@{number}" for number in range(2, WRITERS + 2))

    history = history_of(repository, key)
    assert not history.forks
    assert not history.broken
    assert [link.record.sequence for link in history.links] == list(range(WRITERS + 1, 0, -1))
    assert all(link.signer and not link.problem for link in history.links)
    released = [link.record.subjects[repository] for link in history.links]
    assert sorted(released) == sorted(digests)


class Dying(RegistryStore):
    """Its user dies before a tag is moved."""

    dies_at = ""

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        if tag == self.dies_at:
            raise KeyboardInterrupt
        return await super().push_manifest(manifest, tag)


@pytest.mark.parametrize("tag", ["channel-prod-1", "channel-prod"])
def test_a_record_pushed_by_a_killed_writer_is_completed_by_the_next(
    any_registry: Registry, tag: str
) -> None:
    reference = parse_reference(f"{any_registry.host}/crash/{tag}")
    channel = Channel(name="prod", repository=SHOP, trust=trust())

    async def die() -> None:
        async with Dying(reference, StoreOptions()) as store:
            store.dies_at = tag
            await Writer(store=store, channel=channel, signer=ALICE, settle=0.01).write(first())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(die())

    async def go_on() -> None:
        async with open_store(reference) as store:
            with pytest.raises(NotFound):
                await read_newest(store, channel)
            writer = Writer(store=store, channel=channel, signer=ALICE, settle=0.01)
            before = await writer.newest()
            if tag == "channel-prod":
                # The number was taken: what was begun is finished, and then goes on.
                written = await writer.write(lambda n: to(2)(n) if n else first(3)(n))
                assert written.record.sequence == 2
            else:
                assert before is None
                written = await writer.write(first(3))
                assert written.record.sequence == 1
            assert (await read_newest(store, channel)).digest == written.digest

    asyncio.run(go_on())
