"""How objects ended that run to an end."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.health.vanishing import Ending
from ocistate.objects import ObjectId
from ocistate.watch.endings import Endings
from tests.support.factories.objects import live

JOB = ObjectId("batch", "Job", "n", "migrate")
POD = ObjectId("", "Pod", "n", "once")
MAP = ObjectId("", "ConfigMap", "n", "a")


def job(*conditions: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": each, "status": "True"} for each in conditions]}}


@pytest.mark.parametrize(
    ("conditions", "ending"),
    [(("Complete",), Ending.SUCCEEDED), (("Failed",), Ending.FAILED), ((), None)],
)
def test_the_end_of_a_live_job_is_noted(conditions: tuple[str, ...], ending: Ending | None) -> None:
    endings = Endings()
    endings.note(JOB, live(), job(*conditions))
    assert endings.get(JOB) is ending


def test_a_job_that_runs_again_has_not_ended() -> None:
    endings = Endings()
    endings.note(JOB, live(), job("Complete"))
    endings.note(JOB, live(), job())
    assert endings.get(JOB) is None


def test_a_pod_that_is_deleted_while_it_runs_did_not_finish() -> None:
    endings = Endings()
    endings.note_deleted(POD, {"status": {"phase": "Succeeded"}})
    assert endings.get(POD) is Ending.UNFINISHED


def test_an_end_that_was_seen_before_the_deletion_counts() -> None:
    endings = Endings()
    endings.note(POD, live(), {"status": {"phase": "Succeeded"}})
    endings.note_deleted(POD, {"status": {"phase": "Failed"}})
    assert endings.get(POD) is Ending.SUCCEEDED


def test_what_is_assumed_does_not_replace_what_was_seen() -> None:
    endings = Endings()
    endings.note(JOB, live(), job("Failed"))
    for id in (JOB, POD):
        endings.assume(id)
    assert endings.get(JOB) is Ending.FAILED
    assert endings.get(POD) is Ending.SUCCEEDED


def test_kinds_that_never_end_are_not_kept() -> None:
    endings = Endings()
    endings.note(MAP, live(), {"status": {"phase": "Succeeded"}})
    endings.note_deleted(MAP, {"status": {"phase": "Succeeded"}})
    assert list(endings) == []
