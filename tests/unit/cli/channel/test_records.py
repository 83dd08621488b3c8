"""A record as the plain values that programs get."""

from __future__ import annotations

from datetime import UTC, datetime

from ocistate.channel.record import RecordProvenance
from ocistate.cli.channel.records import record_row
from tests.support.factories.records import record


def test_a_record_has_all_its_fields() -> None:
    made = RecordProvenance(source="git", revision="main")
    given = record(3, reason="because")
    (place,) = given.subjects
    row = record_row(record(3, reason="because", artifacts={place: made}), "sha256:1", "release")
    assert (row["channel"], row["epoch"], row["sequence"]) == (given.channel, 1, 3)
    assert (row["record"], row["signer"], row["reason"]) == ("sha256:1", "release", "because")
    assert row["subjects"] == [
        {
            "repository": place,
            "digest": given.subjects[place],
            "source": "git",
            "revision": "main",
        }
    ]


def test_what_a_record_lacks_is_empty() -> None:
    row = record_row(record(1), "", "")
    assert (row["expires"], row["rollout"], row["hold"]) == ("", None, False)
    assert row["subjects"][0]["revision"] == ""
    until = datetime(2030, 1, 1, tzinfo=UTC)
    assert record_row(record(1, expires=until), "", "")["expires"] == "2030-01-01T00:00:00Z"
