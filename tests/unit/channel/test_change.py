"""What may become of a channel next."""

from __future__ import annotations

import pytest

from ocistate.channel.change import held, promoted, released, succeed
from ocistate.channel.record import RecordProvenance
from ocistate.errors import EpochRefused
from tests.support.factories.records import DIGESTS, SHOP, digest_of, pins, record, trusted, why


def test_a_successor_is_numbered_and_linked() -> None:
    first = trusted(succeed(None, record(9)))
    assert (first.record.number, first.record.previous) == ((1, 1), "")
    assert succeed(None, record(9), epoch=3).number == (3, 1)
    second = succeed(first, record(9))
    assert (second.number, second.previous) == ((1, 2), digest_of(first.record))
    bumped = succeed(first, record(9), epoch=4)
    assert (bumped.number, bumped.previous) == ((4, 1), digest_of(first.record))
    with pytest.raises(EpochRefused, match="epoch 1 only"):
        succeed(trusted(bumped), record(9), epoch=1)
    with pytest.raises(EpochRefused, match="last sequence"):
        succeed(trusted(record(2**53 - 1)), record(9))
    assert succeed(trusted(record(2**53 - 1)), record(9), epoch=2).number == (2, 1)
    assert succeed(trusted(record(2**53 - 2)), record(9)).sequence == 2**53 - 1


def test_a_hold_is_lifted_and_set_once() -> None:
    free, stopped = trusted(record(4)), trusted(record(4, hold=True))
    assert released(free, why()) is None
    assert held(stopped, why()) is None
    lifted, set_now = released(stopped, why()), held(free, why())
    assert lifted is not None
    assert set_now is not None
    assert (lifted.hold, set_now.hold) == (False, True)


def test_what_is_dropped_from_a_set_leaves_nothing_behind() -> None:
    other = "registry.example.com/db"
    made = RecordProvenance(source="https://git.example.com/db", revision="main@sha1:1")
    newest = trusted(
        record(4, subjects={SHOP: DIGESTS[1], other: DIGESTS[2]}, artifacts={other: made})
    )
    kept = promoted(newest, pins(3), why())
    assert kept is not None
    assert kept.subjects == {SHOP: DIGESTS[3], other: DIGESTS[2]}
    assert kept.artifacts[other] == made
    dropped = promoted(newest, pins(3), why(), drop=frozenset({other}))
    assert dropped is not None
    assert set(dropped.subjects) == set(dropped.artifacts) == {SHOP}
