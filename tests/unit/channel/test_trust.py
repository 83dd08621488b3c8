"""Bytes in, a record that may be followed or an error out, in the documented order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ocistate.channel.record import sign_record
from ocistate.channel.trust import Accepted, accept, verify_record
from ocistate.errors import (
    ChannelFork,
    EpochRefused,
    ForeignRecord,
    OcistateError,
    RecordExpired,
    RecordReplayed,
    Untrusted,
)
from tests.support.factories.records import (
    ALICE,
    DIGESTS,
    MALLORY,
    NOW,
    SHOP,
    raw_record,
    record,
    trust,
    trusted,
)


def verify(raw: bytes, digest: str = DIGESTS[9], **options: Any) -> Any:
    given = {
        "channel": "prod",
        "repository": SHOP,
        "trust": trust(),
        "now": NOW,
        **options,
    }
    return verify_record(raw, digest, **given)


def memory(sequence: int, *, epoch: int = 1, digest: str = DIGESTS[9], at: Any = NOW) -> Accepted:
    return Accepted(epoch=epoch, sequence=sequence, digest=digest, at=at)


@pytest.mark.parametrize(
    ("raw", "error", "says"),
    [
        (sign_record(record(), MALLORY), Untrusted, "no channel key"),
        (sign_record(record(channel="staging"), ALICE), ForeignRecord, "channel staging"),
        (sign_record(record(repository="r/other"), ALICE), ForeignRecord, "of r/other"),
        (sign_record(record(expires=NOW), ALICE), RecordExpired, "expired at 2026-05-01T12:00:00Z"),
        (
            sign_record(record(issued_at=NOW + timedelta(minutes=6)), ALICE),
            RecordExpired,
            "set the clock",
        ),
    ],
)
def test_what_may_not_be_followed(raw: bytes, error: type[OcistateError], says: str) -> None:
    with pytest.raises(error) as caught:
        verify(raw)
    assert says in str(caught.value)


def test_a_clock_may_be_five_minutes_off() -> None:
    assert verify(sign_record(record(issued_at=NOW + timedelta(minutes=5)), ALICE))


def test_the_signature_is_looked_at_before_anything_it_covers() -> None:
    with pytest.raises(Untrusted):
        verify(raw_record(MALLORY, sequence=-1, channel="staging", expires="never"))


def test_a_foreign_record_is_told_before_its_age() -> None:
    with pytest.raises(ForeignRecord):
        verify(sign_record(record(channel="staging", expires=NOW), ALICE))


def test_only_higher_numbers_are_followed_or_the_same_record_again() -> None:
    raw = sign_record(record(5), ALICE)
    assert verify(raw, accepted=memory(4, digest=DIGESTS[1])).record.sequence == 5
    assert verify(raw, accepted=memory(5)).record.sequence == 5
    with pytest.raises(RecordReplayed, match="5 is before 6"):
        verify(raw, accepted=memory(6))
    with pytest.raises(ChannelFork, match="accepted under that number"):
        verify(raw, accepted=memory(5, digest=DIGESTS[1]))


def test_an_epoch_outweighs_every_sequence_and_only_the_policy_allows_it() -> None:
    raw = sign_record(record(1, epoch=2), ALICE)
    far = memory(2**53 - 1)
    assert verify(raw, accepted=far, trust=trust(epoch=2)).record.number == (2, 1)
    with pytest.raises(EpochRefused, match="allows epoch 1"):
        verify(raw, accepted=far, trust=trust(epoch=1))
    with pytest.raises(EpochRefused, match="allows epoch 2"):
        verify(sign_record(record(9), ALICE), trust=trust(epoch=2))
    with pytest.raises(RecordReplayed):
        verify(sign_record(record(9), ALICE), accepted=memory(1, epoch=2))


def test_the_first_contact_is_protected_by_min_sequence() -> None:
    raw = sign_record(record(5), ALICE)
    assert verify(raw, trust=trust(least=5))
    with pytest.raises(EpochRefused, match="minSequence, 6"):
        verify(raw, trust=trust(least=6))


def test_a_clock_put_back_makes_no_expired_record_valid_again() -> None:
    raw = sign_record(record(5, expires=NOW + timedelta(hours=1)), ALICE)
    late = NOW + timedelta(hours=2)
    last = accept(verify(raw, now=NOW), NOW)
    assert verify(raw, now=NOW, accepted=last)
    with pytest.raises(RecordExpired):
        verify(raw, now=NOW, accepted=memory(5, at=late))
    # And the memory of the time does not go back with the clock.
    remembered = accept(trusted(record(6)), NOW, memory(5, at=late))
    assert (remembered.sequence, remembered.at) == (6, late)
