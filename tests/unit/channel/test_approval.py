"""Approvals: for which move one counts, and until when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ocistate.channel.approval import Approval, parse_approval, why_not
from tests.support.factories.records import DIGESTS, NOW, SHOP

MOVE = {"channel": "prod", "repository": SHOP, "digest": DIGESTS[1]}
DAY = timedelta(days=1)


def approval(**fields: Any) -> Approval:
    given = {**MOVE, "reason": "tested", "at": NOW - DAY, "expires": NOW + DAY, **fields}
    return Approval(**given)


@pytest.mark.parametrize("expires", [None, NOW + DAY])
def test_what_is_signed_is_read_back(expires: Any) -> None:
    given = approval(expires=expires)
    assert parse_approval(given.predicate()) == given


def test_an_approval_counts_for_the_move_it_names() -> None:
    assert why_not(approval().predicate(), **MOVE, now=NOW) == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channel": "staging"}, "is for the channel staging"),
        ({"repository": "registry.example.com/other"}, "of registry.example.com/other"),
        ({"digest": DIGESTS[2]}, f"is for {DIGESTS[2]}"),
        ({"at": NOW + DAY}, "is from the future"),
        ({"expires": NOW}, "expired at 2026-05-01T12:00:00Z"),
    ],
)
def test_an_approval_does_not_count_for_another_move_or_time(
    fields: dict[str, Any], reason: str
) -> None:
    assert reason in why_not(approval(**fields).predicate(), **MOVE, now=NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": None}, "has no text as its digest"),
        ({"reason": 1}, "has no text as its reason"),
        ({"reason": "x" * 5000}, "has no text as its reason"),
        ({"only": "one"}, "has the unknown field 'only'"),
        ({"at": "yesterday"}, "has a wrong time"),
        ({"expires": "9999-01-01T00:00:00Z"}, "has a wrong time"),
    ],
)
def test_an_approval_of_another_shape_does_not_count(change: dict[str, Any], reason: str) -> None:
    assert reason in why_not({**approval().predicate(), **change}, **MOVE, now=NOW)


def test_what_is_no_object_does_not_count() -> None:
    assert why_not(["prod"], **MOVE, now=NOW) == "is no object"
