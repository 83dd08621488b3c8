"""Times and numbers of signed statements: who signs may write any, and readers must not fall over.

Each statement is signed as it should be: it is what it says that is out of bounds.
"""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.channel.approval import parse_approval
from ocistate.channel.record import read_number_text, show_number
from ocistate.channel.report import PREDICATE, verify_report
from ocistate.channel.rings import parse_rings_text
from ocistate.channel.trust import authenticate
from ocistate.cli.channel.options import parse_lifetime
from ocistate.errors import ConfigError, InvalidRecord, InvalidReport, UsageError
from ocistate.ops.repository.listing import read_created
from ocistate.signing.envelope import PAYLOAD_TYPE, build_bundle, build_named_statement, pae
from ocistate.signing.policy.model import TrustedKey
from ocistate.times import parse_signed_time
from tests.support.factories.records import ALICE, DIGESTS, SHOP, raw_record, trust

TIMES = [
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "1999-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z",
    "-2026-01-01T00:00:00Z",
    "٢٠٢٦-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z\n",
    "2026-02-30T00:00:00Z",
    10**30,
    -1,
    True,
]
NUMBERS = [0, -1, 2**53, 10**400, 1.0, "1", True, None]

REPORT = {
    "cluster": "east",
    "stack": "shop/shop",
    "channel": "prod",
    "records": SHOP,
    "repository": SHOP,
    "epoch": 1,
    "sequence": 1,
    "state": "Healthy",
    "since": "2026-05-01T11:00:00Z",
    "at": "2026-05-01T12:00:00Z",
    "every": 300,
    "message": "",
}
RING = {"name": "all", "percent": 100}
ROLLOUT = {
    "stable": {SHOP: DIGESTS[2]},
    "open": 1,
    "openedAt": "2026-05-01T12:00:00Z",
    "rings": [RING],
}


def read_report(**fields: Any) -> Any:
    payload = build_named_statement([(SHOP, DIGESTS[1])], PREDICATE, {**REPORT, **fields})
    signature = ALICE.sign(pae(PAYLOAD_TYPE, payload))
    raw = build_bundle(payload, signature, ALICE.public_key.fingerprint)
    reporters = (TrustedKey(name="east", key=ALICE.public_key),)
    return verify_report(raw, channel="prod", records=SHOP, reporters=reporters)


def read_record(**fields: Any) -> Any:
    return authenticate(raw_record(**fields), DIGESTS[0], trust())


def test_what_is_within_bounds_is_read() -> None:
    assert read_report().every == 300
    assert read_record(rollout=ROLLOUT, expires="2199-12-31T23:59:59Z").record.rollout is not None


@pytest.mark.parametrize("field", ["since", "at"])
@pytest.mark.parametrize("time", TIMES)
def test_a_report_of_another_age_is_refused(field: str, time: Any) -> None:
    with pytest.raises(InvalidReport, match=field):
        read_report(**{field: time})


def test_a_report_that_is_older_than_what_it_tells_is_refused() -> None:
    with pytest.raises(InvalidReport, match="later than at"):
        read_report(since="2026-05-01T12:00:01Z")


@pytest.mark.parametrize("field", ["epoch", "sequence", "every"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_report_with_a_number_out_of_bounds_is_refused(field: str, number: Any) -> None:
    with pytest.raises(InvalidReport, match=field):
        read_report(**{field: number})


@pytest.mark.parametrize("field", ["issuedAt", "expires"])
@pytest.mark.parametrize("time", TIMES)
def test_a_record_of_another_age_is_refused(field: str, time: Any) -> None:
    with pytest.raises(InvalidRecord, match=field):
        read_record(**{field: time})


@pytest.mark.parametrize("field", ["epoch", "sequence"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_record_with_a_number_out_of_bounds_is_refused(field: str, number: Any) -> None:
    with pytest.raises(InvalidRecord, match=field):
        read_record(**{field: number})


@pytest.mark.parametrize(
    "change",
    [
        *({"openedAt": time} for time in TIMES),
        *({"open": number} for number in NUMBERS),
        *({"rings": [{**RING, "soakSeconds": number}]} for number in NUMBERS[1:]),
        *({"rings": [{**RING, "patienceSeconds": number}]} for number in NUMBERS[1:]),
        *({"rings": [{**RING, "percent": number}]} for number in NUMBERS),
    ],
)
def test_a_rollout_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match="rollout"):
        read_record(rollout={**ROLLOUT, **change})


@pytest.mark.parametrize("field", ["at", "expires"])
@pytest.mark.parametrize("time", TIMES)
def test_an_approval_of_another_age_does_not_count(field: str, time: Any) -> None:
    good = {
        "channel": "prod",
        "repository": SHOP,
        "digest": DIGESTS[1],
        "reason": "tested",
        "at": "2026-05-01T12:00:00Z",
    }
    assert parse_approval(good).expires is None
    with pytest.raises(ValueError, match=r"time|text"):
        parse_approval({**good, field: time})


@pytest.mark.parametrize("text", ["9" * 6 + "d", "99999d", "1" * 400 + "h"])
def test_a_lifetime_beyond_all_readers_bounds_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_lifetime(text)


@pytest.mark.parametrize("soak", ["9" * 400 + "h", "2161h", "1500ms"])
def test_a_soak_time_out_of_bounds_is_refused(soak: str) -> None:
    with pytest.raises(ConfigError):
        parse_rings_text(f"all=100%/{soak}")


@pytest.mark.parametrize("text", ["", "0", "1.", ".1", "1.2.3", "²", "٣", "9" * 5000, "-1", " 1"])
def test_a_number_of_a_record_is_read_as_it_is_shown(text: str) -> None:
    assert read_number_text(text) is None
    assert read_number_text(show_number(1, 41)) == (1, 41)
    assert read_number_text(show_number(2, 1)) == (2, 1)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "x"])
def test_an_artifact_made_at_the_end_of_time_has_no_known_age(text: str) -> None:
    assert read_created(text) is None


def test_times_are_read_back_as_they_are_shown() -> None:
    assert parse_signed_time("2000-01-01T00:00:00Z").year == 2000
