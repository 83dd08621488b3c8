"""Conditions and reasons: every one in use is listed, and the page says what each means."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from ocistate.api.conditions import ConditionType, EventReason, Reason
from ocistate.api.reference import condition_reference
from ocistate.api.schema import member_texts
from ocistate.errors import OcistateError
from ocistate.health.model import HealthStatus
from ocistate.watch import conflicts

PAGE = Path(__file__).parents[3] / "docs/reference/conditions.md"


def errors(base: type[OcistateError] = OcistateError) -> Iterator[type[OcistateError]]:
    yield base
    for each in base.__subclasses__():
        yield from errors(each)


def test_every_error_that_can_end_a_pass_has_its_reason_listed() -> None:
    ours = (error for error in errors() if error.__module__.startswith("ocistate."))
    assert {error.reason for error in ours} <= {reason.value for reason in Reason}


@pytest.mark.parametrize("used", [HealthStatus, conflicts.ContestReason])
def test_every_status_that_is_shown_as_a_reason_is_listed(used: type[StrEnum]) -> None:
    assert {each.value for each in used} <= {reason.value for reason in Reason}


@pytest.mark.parametrize("kind", [ConditionType, Reason, EventReason])
def test_each_member_says_what_it_means(kind: type[StrEnum]) -> None:
    assert set(member_texts(kind)) == {member.name for member in kind}


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == condition_reference(), "run scripts/generate"
