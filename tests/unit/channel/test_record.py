"""Bytes in, a record that may be followed or an error out, in the documented order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ocistate.channel.record import (
    Accepted,
    Provenance,
    accept,
    check_channel,
    number_tag,
    sign_record,
    succeed,
    verify_record,
)
from ocistate.errors import (
    ChannelFork,
    EpochRefused,
    ForeignRecord,
    InvalidRecord,
    InvalidReference,
    InvalidSignature,
    OcistateError,
    RecordExpired,
    RecordReplayed,
    Untrusted,
)
from tests.unit.channel.parts import (
    ALICE,
    DIGESTS,
    MALLORY,
    NOW,
    SHOP,
    digest_of,
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


def test_a_record_comes_back_as_it_was_made() -> None:
    made = record(
        7,
        epoch=3,
        expires=NOW + timedelta(days=7),
        source="staging@12",
        actor="alice",
        hold=True,
        subjects={SHOP: DIGESTS[1], "registry.example.com/db": DIGESTS[2]},
        artifacts={SHOP: Provenance(source="https://git.example.com/s", revision="main@sha1:1")},
        extra={"rings": [{"name": "canary"}]},
    )
    found = verify(sign_record(made, ALICE))
    assert found.record == made
    assert (found.signer, found.digest) == ("alice", DIGESTS[9])
    assert found.record.digest_of("registry.example.com/db") == DIGESTS[2]
    with pytest.raises(ForeignRecord, match="says nothing of other"):
        found.record.digest_of("other")


@pytest.mark.parametrize(
    ("raw", "error", "says"),
    [
        (b"{}", InvalidSignature, "mediaType"),
        (sign_record(record(), MALLORY), Untrusted, "no channel key"),
        (sign_record(record(), ALICE).replace(b'"sig":"ME', b'"sig":"MF'), OcistateError, ""),
        (raw_record(kind="https://sigstore.dev/cosign/sign/v1"), InvalidRecord, "not https://oci"),
        (raw_record(predicate=[]), InvalidRecord, "not an object"),
        (raw_record(subjects=[]), InvalidSignature, "no subject"),
        (raw_record(subjects=[("", DIGESTS[1])]), InvalidRecord, "name of its own"),
        (raw_record(subjects=[(SHOP, DIGESTS[1])] * 2), InvalidRecord, "name of its own"),
        (raw_record(subjects=[(f"r{n}", DIGESTS[1]) for n in range(257)]), InvalidRecord, "257"),
        (raw_record(channel="Prod"), InvalidRecord, "channel"),
        (raw_record(sequence=0), InvalidRecord, "sequence"),
        (raw_record(sequence=True), InvalidRecord, "sequence"),
        (raw_record(sequence=1.0), InvalidRecord, "sequence"),
        (raw_record(sequence=2**53), InvalidRecord, "sequence"),
        (raw_record(epoch="1"), InvalidRecord, "epoch"),
        (raw_record(previous="sha256:1"), InvalidRecord, "previous"),
        (raw_record(previous=None), InvalidRecord, "previous"),
        (raw_record(issuedAt=None), InvalidRecord, "issuedAt"),
        (raw_record(issuedAt="2026-05-01"), InvalidRecord, "issuedAt"),
        (raw_record(expires="2026-13-01T12:00:00Z"), InvalidRecord, "expires"),
        (raw_record(expires=5), InvalidRecord, "expires"),
        (raw_record(reason="\x1b[2J"), InvalidRecord, "control"),
        (raw_record(reason=5), InvalidRecord, "not text"),
        (raw_record(hold="yes"), InvalidRecord, "hold"),
        (raw_record(artifacts={"a": 1}), InvalidRecord, "artifacts"),
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


def test_the_signature_is_looked_at_before_anything_it_covers() -> None:
    with pytest.raises(Untrusted):
        verify(raw_record(MALLORY, sequence=-1, channel="staging", expires="never"))


def test_a_foreign_record_is_told_before_its_age() -> None:
    with pytest.raises(ForeignRecord):
        verify(sign_record(record(channel="staging", expires=NOW), ALICE))


def test_nothing_is_signed_that_no_reader_would_take() -> None:
    with pytest.raises(InvalidRecord, match="control"):
        sign_record(record(reason="\x07"), ALICE)
    with pytest.raises(InvalidRecord, match="not a channel"):
        sign_record(record(channel="prod-1"), ALICE)


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


def test_a_successor_is_numbered_and_linked() -> None:
    first = trusted(succeed(None, record(9)))
    assert (first.record.number, first.record.previous) == ((1, 1), "")
    second = succeed(first, record(9))
    assert (second.number, second.previous) == ((1, 2), digest_of(first.record))
    bumped = succeed(first, record(9), epoch=4)
    assert (bumped.number, bumped.previous) == ((4, 1), digest_of(first.record))
    with pytest.raises(EpochRefused, match="epoch 1 only"):
        succeed(trusted(bumped), record(9), epoch=1)
    with pytest.raises(EpochRefused, match="last sequence"):
        succeed(trusted(record(2**53 - 1)), record(9))
    assert succeed(trusted(record(2**53 - 1)), record(9), epoch=2).number == (2, 1)


def test_tags_of_channels_cannot_be_mistaken_for_each_other() -> None:
    assert number_tag("prod", 1, 42) == "channel-prod-42"
    assert number_tag("prod", 2, 1) == "channel-prod-2.1"
    for name in ("prod", "eu-west", "a", "v2", "9"):
        assert check_channel(name) == name
    for name in ("", "prod-1", "Prod", "prod.x", "-x", "x-", "a" * 64, "a_b", "p/q", "x-2-3"):
        with pytest.raises(InvalidReference):
            check_channel(name)
