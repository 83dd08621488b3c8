"""What a Stack's status says of objects that others want otherwise, and what is news of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from ocistate.api.status import MOST_CONTESTS, StackStatus
from ocistate.watch.conflicts import Contest

CONDITION: Final = "Contested"
SETTLED: Final = "Settled"
_NAMED: Final = 3


def with_contested(
    status: StackStatus, contests: Sequence[Contest], *, now: datetime, generation: int
) -> tuple[StackStatus, str]:
    """The status with the contests there are now, and those that it did not tell of before.

    The condition is there from the first contest on.
    """
    known = {(each.id, each.reason) for each in status.contested}
    told = tuple(contests[:MOST_CONTESTS])
    new = status if told == status.contested else replace(status, contested=told)
    if contests:
        new = new.with_condition(
            CONDITION,
            "True",
            contests[0].reason.value,
            _words(contests),
            now=now,
            generation=generation,
        )
    elif status.condition(CONDITION) is not None:
        new = new.with_condition(CONDITION, "False", SETTLED, "", now=now, generation=generation)
    return new, _words([each for each in told if (each.id, each.reason) not in known])


def _words(contests: Sequence[Contest]) -> str:
    more = len(contests) - _NAMED
    told = "; ".join(map(str, contests[:_NAMED]))
    return told + (f"; and {more} more" if more > 0 else "")
