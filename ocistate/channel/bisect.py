"""Find the first bad release between a good and a bad one, by halves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ReleaseVerdict = Literal["good", "bad", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectStep:
    """What to do next: test the release at a place, or, when ``test`` is None, be done.

    ``first_bad`` is then the first bad place, and ``suspects`` those before it that were skipped,
    any of which may be it instead.
    """

    test: int | None
    first_bad: int
    suspects: tuple[int, ...] = ()
    left: int = 0
    """How many releases are still in question."""


def next_step(good: int, bad: int, verdicts: Mapping[int, ReleaseVerdict]) -> BisectStep:
    """The next step between a good place and a later bad one, from what was found so far.

    Raises ValueError when ``good`` is not before ``bad``.
    """
    if good >= bad:
        raise ValueError("the good release must be before the bad one")
    low = max([good, *(place for place, v in verdicts.items() if v == "good" and place < bad)])
    high = min([bad, *(place for place, v in verdicts.items() if v == "bad" and place > low)])
    between = range(low + 1, high)
    open_places = [place for place in between if verdicts.get(place) != "skip"]
    if not open_places:
        return BisectStep(test=None, first_bad=high, suspects=tuple(between))
    middle = (low + high) / 2
    test = min(open_places, key=lambda place: (abs(place - middle), place))
    return BisectStep(test=test, first_bad=high, left=len(open_places))
