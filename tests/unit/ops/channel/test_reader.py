"""A channel read from a repository and its mirrors: the highest record counts, a fork is told."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ocistate.channel.change import begun, promoted
from ocistate.channel.record import Record
from ocistate.channel.trust import ChannelTrust, Trusted, highest
from ocistate.errors import ChannelFork, NotFound, OcistateError, Unavailable, Untrusted
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.mirrors import MirroredStore
from ocistate.oci.model import Index, Manifest
from ocistate.ops.channel.history import read_history
from ocistate.ops.channel.reader import Channel, read_newest, read_number
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.keys import KeySigner
from tests.support.factories.records import ALICE, MALLORY, SHOP, pins, record, trust, trusted, why

T = TypeVar("T")

PROD = Channel(name="prod", repository=SHOP, trust=trust())


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(story)


def layout(folder: Path) -> LayoutStore:
    return LayoutStore(parse_reference(f"layout:{folder}"))


def promote(store: LayoutStore, number: int, signer: KeySigner = ALICE) -> Trusted:
    def make(newest: Trusted | None) -> Record | None:
        if newest is None:
            return begun("prod", SHOP, pins(number), why())
        return promoted(newest, pins(number), why())

    channel = Channel(name="prod", repository=SHOP, trust=trust(signer))
    return run(Writer(store=store, channel=channel, signer=signer, settle=0).write(make))


def line(folder: Path, *numbers: int, of: Path | None = None) -> LayoutStore:
    """A layout with a channel that was moved to these, one after the other, maybe from a copy."""
    if of is not None:
        shutil.copytree(of, folder)
    store = layout(folder)
    for number in numbers:
        promote(store, number)
    return store


def test_a_mirror_is_asked_where_the_repository_has_no_record(tmp_path: Path) -> None:
    stale = line(tmp_path / "stale", 1, 2)
    fresh = line(tmp_path / "fresh", 3, of=tmp_path / "stale")
    gone = layout(tmp_path / "gone")
    both = MirroredStore([gone, stale, fresh])
    assert run(read_newest(both, PROD)).record.sequence == 3
    assert run(read_number(both, PROD, 1, 2)).record.sequence == 2
    history = run(read_history(both, PROD))
    assert [link.record.sequence for link in history.links] == [3, 2, 1]
    assert (history.broken, history.forks) == ("", ())
    # Where the repository has one itself, it is that, though a mirror is ahead.
    assert run(read_newest(MirroredStore([stale, fresh]), PROD)).record.sequence == 2
    assert len(run(read_history(MirroredStore([stale, fresh]), PROD)).links) == 2


def test_a_mirror_is_asked_where_the_record_is_not_to_be_believed(tmp_path: Path) -> None:
    good, bad = line(tmp_path / "good", 1), layout(tmp_path / "bad")
    promote(bad, 5, MALLORY)
    assert run(read_newest(MirroredStore([bad, good]), PROD)).signer == "alice"
    assert run(read_history(MirroredStore([bad, good]), PROD)).links[0].signer == "alice"
    with pytest.raises(Untrusted):
        run(read_newest(MirroredStore([bad, bad]), PROD))


def test_two_mirrors_that_tell_different_stories_are_a_fork(tmp_path: Path) -> None:
    one = line(tmp_path / "one", 1)
    other = line(tmp_path / "other", 3, of=tmp_path / "one")
    promote(one, 2)
    forked = MirroredStore([layout(tmp_path / "gone"), one, other])
    for read in (read_newest(forked, PROD), read_history(forked, PROD)):
        with pytest.raises(ChannelFork, match="accepted under that number"):
            run(read)


class Down(LayoutStore):
    """Out of reach, which takes its time to find out."""

    asked = 0

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        self.asked += 1
        raise Unavailable("down")


def test_a_repository_out_of_reach_is_not_asked_for_every_record(tmp_path: Path) -> None:
    mirror = line(tmp_path / "there", *(1 + n % 2 for n in range(12)))
    down = Down(parse_reference(f"layout:{tmp_path}/down"))
    history = run(read_history(MirroredStore([down, mirror]), PROD))
    assert [link.record.sequence for link in history.links] == list(range(12, 0, -1))
    assert down.asked == 1


def test_what_proves_nothing_comes_from_no_mirror(tmp_path: Path) -> None:
    mirrored = MirroredStore([layout(tmp_path / "gone"), line(tmp_path / "there", 1)])
    anyone = Channel(name="prod", repository=SHOP, trust=ChannelTrust(keys=()))
    with pytest.raises(NotFound, match="gone has no channel prod"):
        run(read_history(mirrored, anyone))


def test_the_highest_of_several_counts() -> None:
    first, second = trusted(record(1)), trusted(record(2))
    assert highest([first, second, first]) is second
    assert highest([trusted(record(1, epoch=2)), second]).record.number == (2, 1)
    again = Trusted(record=second.record, digest="sha256:" + "0" * 64, signer="alice", raw=b"")
    for found in ([second, again], [first, again, second]):
        with pytest.raises(OcistateError) as caught:
            highest(found)
        assert isinstance(caught.value, ChannelFork)
