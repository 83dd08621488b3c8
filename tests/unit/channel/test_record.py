"""What a channel's record says, written and read."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ocistate.channel.record import RecordProvenance, number_tag, sign_record
from ocistate.channel.rings import Cluster
from ocistate.channel.trust import MAX_RECORD_BYTES, authenticate
from ocistate.errors import (
    ForeignRecord,
    InvalidRecord,
    InvalidReference,
    InvalidSignature,
    OcistateError,
    Untrusted,
)
from ocistate.reference import check_channel
from tests.support.factories.records import (
    ALICE,
    DIGESTS,
    MALLORY,
    NOW,
    SHOP,
    raw_record,
    record,
    trust,
)


def certified(raw: bytes) -> bytes:
    """The same, as if a certificate had signed it."""
    value = json.loads(raw)
    value["verificationMaterial"] = {"certificate": {"rawBytes": ""}}
    return json.dumps(value).encode()


def test_a_record_comes_back_as_it_was_made() -> None:
    made = record(
        7,
        epoch=3,
        expires=NOW + timedelta(days=7),
        source="staging@12",
        actor="alice",
        hold=True,
        subjects={SHOP: DIGESTS[1], "registry.example.com/db": DIGESTS[2]},
        artifacts={
            SHOP: RecordProvenance(source="https://git.example.com/s", revision="main@sha1:1")
        },
        extra={"rings": [{"name": "canary"}]},
    )
    found = authenticate(sign_record(made, ALICE), DIGESTS[9], trust())
    assert found.record == made
    assert (found.signer, found.digest) == ("alice", DIGESTS[9])
    assert found.record.digest_of("registry.example.com/db") == DIGESTS[2]
    with pytest.raises(ForeignRecord, match="pins nothing for other"):
        found.record.digest_of("other")


@pytest.mark.parametrize(
    ("raw", "error", "says"),
    [
        (b"{}", InvalidSignature, "mediaType"),
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
        (raw_record(artifacts=[1]), InvalidRecord, "artifacts"),
        (raw_record(reason="x" * 4097), InvalidRecord, "too long"),
        (raw_record(subjects=[("a\x1b", DIGESTS[1])]), InvalidRecord, "subject.name"),
        (raw_record(rollout=5), InvalidRecord, "openedAt"),
        (raw_record(rollout={"rings": []}), InvalidRecord, "openedAt"),
        (sign_record(record(), ALICE) + b" " * MAX_RECORD_BYTES, InvalidSignature, "larger than"),
        (certified(sign_record(record(), ALICE)), Untrusted, "by identity"),
        pytest.param(
            sign_record(record(), MALLORY),
            Untrusted,
            f"(hint {MALLORY.public_key.fingerprint})",
            id="a stranger's",  # the same in every process, as no key is
        ),
    ],
)
def test_what_is_no_record(raw: bytes, error: type[OcistateError], says: str) -> None:
    with pytest.raises(error) as caught:
        authenticate(raw, DIGESTS[9], trust())
    assert says in str(caught.value)


def test_what_is_just_within_the_limits_is_a_record() -> None:
    subjects = {f"r{n:03}": DIGESTS[1] for n in range(256)}
    made = record(2**53 - 1, epoch=2**53 - 1, reason="x" * 4095 + "\n", subjects=subjects)
    raw = sign_record(made, ALICE)
    padded = raw.ljust(MAX_RECORD_BYTES)
    assert authenticate(padded, DIGESTS[9], trust()).record == made


def test_without_a_rollout_every_cluster_has_the_subjects() -> None:
    made, cluster = record(1), Cluster(name="east")
    assert made.digest_of(SHOP, cluster) == made.digest_of(SHOP) == DIGESTS[1]
    assert made.ring_of(cluster) == 0
    assert made.digests == {DIGESTS[1]}


def test_nothing_is_signed_that_no_reader_would_take() -> None:
    with pytest.raises(InvalidRecord, match="control"):
        sign_record(record(reason="\x07"), ALICE)
    with pytest.raises(InvalidRecord, match="not a channel"):
        sign_record(record(channel="prod-1"), ALICE)


def test_tags_of_channels_cannot_be_mistaken_for_each_other() -> None:
    assert number_tag("prod", 1, 42) == "channel-prod-42"
    assert number_tag("prod", 2, 1) == "channel-prod-2.1"
    for name in ("prod", "eu-west", "a", "v2", "9"):
        assert check_channel(name) == name
    for name in ("", "prod-1", "Prod", "prod.x", "-x", "x-", "a" * 64, "a_b", "p/q", "x-2-3"):
        with pytest.raises(InvalidReference):
            check_channel(name)
