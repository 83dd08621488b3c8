"""Objects that are not as we want them because somebody else wants them otherwise.

    delay = contested.drifted(id, by)        # seconds to wait before repairing; 0 at first
    if contested.waits(id): …                # not yet
    contested.answered(id, fields)           # what the API server stored otherwise than sent
    for contest in contested.of(ids): …      # what to tell people

Two ways of contesting are known: another writer changes it again and again, and the API server's
admission overrules what is sent. Either way it is tried again ever more slowly, and over when the
other one gives in.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final

from ocistate.objects import ObjectId

_SWEEP: Final = 256
_SAMPLE: Final = 20
"""So many of what is overruled are sent again at a time: they mostly have one cause, and when it is
gone for one, the others follow at once."""


class ContestReason(StrEnum):
    """How an object is contested."""

    FLIPPED = "Flipped"
    """Another writer changes it whenever it was put back."""
    OVERRULED = "Overruled"
    """What the API server stores is not what it is sent: admission puts in something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One contested object. ``by`` is who changed it last, if that is known; ``fields`` are the
    paths that were overruled, never their values."""

    id: ObjectId
    reason: ContestReason
    by: str = ""
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.reason is ContestReason.OVERRULED:
            return f"{self.id}: admission overrules {', '.join(self.fields)}"
        return f"{self.id} is changed again and again" + (f" by {self.by}" if self.by else "")


@dataclass(slots=True)
class _Fight:
    times: list[float]
    rounds: int = 0
    until: float = 0.0
    by: str = ""


@dataclass(slots=True)
class _Overruled:
    fields: tuple[str, ...]
    until: float
    rounds: int = 1


class Contested:
    """Counts drifts of single objects, and keeps what admission overruled.

    An object is flipped when it drifts ``limit`` times within ``window`` seconds; each further
    drift doubles the delay, from ``first`` to at most ``longest`` seconds. What happens to it while
    its repair waits does not count. It is forgiven when it keeps still for twice its last delay,
    and at least for ``window``. One that is overruled is to be sent again after the same delays.
    """

    def __init__(
        self,
        *,
        limit: int = 5,
        window: float = 60.0,
        first: float = 2.0,
        longest: float = 300.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit = limit
        self._window = window
        self._first = first
        self._longest = longest
        self._clock = clock
        self._fights: dict[ObjectId, _Fight] = {}
        self._overruled: dict[ObjectId, _Overruled] = {}
        self._gives_in = False
        self._sweep_at = _SWEEP

    def drifted(self, id: ObjectId, by: str = "") -> float:
        """Note a drift, and who made it; return how many seconds to wait before repairing it."""
        now = self._clock()
        fight = self._fights.get(id)
        if fight is None or self._is_over(fight, now):
            if len(self._fights) >= self._sweep_at:
                self._forgive(now)
                self._sweep_at = max(_SWEEP, 2 * len(self._fights))
            fight = self._fights[id] = _Fight([])
        fight.by = by or fight.by
        if now < fight.until:
            return fight.until - now
        fight.times = [*fight.times[1 - self._limit :], now]
        if fight.rounds or (
            len(fight.times) >= self._limit and now - fight.times[0] <= self._window
        ):
            fight.rounds += 1
        delay = self._delay(fight.rounds)
        fight.until = now + delay
        return delay

    def waits(self, id: ObjectId) -> bool:
        """Whether its repair must wait still."""
        fight = self._fights.get(id)
        return fight is not None and self._clock() < fight.until

    def answered(self, id: ObjectId, fields: tuple[str, ...]) -> None:
        """Note which fields the API server did not store as they were sent; none ends it."""
        known = self._overruled.get(id)
        if fields and known is None:
            self._gives_in = False
            self._overruled[id] = _Overruled(fields, self._clock() + self._first)
        elif known is not None:
            self._gives_in = not fields
            if fields:
                known.fields = fields
                return
            del self._overruled[id]
            for each in self._overruled.values():
                each.until = 0.0

    def due(self, ids: Container[ObjectId]) -> list[ObjectId]:
        """Those of the objects that were overruled and are to be sent again now; the next time is
        later each time."""
        now = self._clock()
        due = [id for id, each in self._overruled.items() if each.until <= now and id in ids]
        chosen = due if self._gives_in else due[:_SAMPLE]
        for id in due:
            each = self._overruled[id]
            each.rounds += 1
            each.until = now + self._delay(each.rounds)
        for id in chosen:  # the others come first next time
            self._overruled[id] = self._overruled.pop(id)
        return chosen

    def of(self, ids: Container[ObjectId]) -> tuple[Contest, ...]:
        """Those of the objects that are contested now."""
        self._forgive(self._clock())
        flipped = [
            Contest(id=id, reason=ContestReason.FLIPPED, by=fight.by)
            for id, fight in self._fights.items()
            if fight.rounds and id in ids
        ]
        overruled = [
            Contest(id=id, reason=ContestReason.OVERRULED, fields=each.fields)
            for id, each in self._overruled.items()
            if id in ids
        ]
        return tuple(sorted((*flipped, *overruled), key=lambda each: (each.id, each.reason)))

    def moves_in(self, contest: Contest) -> float:
        """The seconds until there is something to do about it, or it may be over."""
        now = self._clock()
        if contest.reason is ContestReason.OVERRULED:
            each = self._overruled.get(contest.id)
            return max(each.until - now, 0.0) if each is not None else 0.0
        fight = self._fights.get(contest.id)
        if fight is None:
            return 0.0
        if now < fight.until:
            return fight.until - now
        return max(fight.times[-1] + self._rest(fight) - now, 0.0)

    def resume(self, contest: Contest) -> None:
        """Go on with what another process told of, unless it is known: whether it is over, the
        next try or some time without a drift will tell."""
        now = self._clock()
        if contest.reason is ContestReason.OVERRULED:
            self._overruled.setdefault(contest.id, _Overruled(contest.fields, now, 0))
        else:
            self._fights.setdefault(contest.id, _Fight([now], rounds=1, by=contest.by))

    def __len__(self) -> int:
        """How many objects are kept in mind."""
        return len(self._fights) + len(self._overruled)

    def forget(self, id: ObjectId) -> None:
        """Stop counting, as after a change of what is wanted."""
        self._fights.pop(id, None)
        self._overruled.pop(id, None)

    def _delay(self, rounds: int) -> float:
        if not rounds:
            return 0.0
        return min(self._first * 2.0 ** min(rounds - 1, 20), self._longest)

    def _rest(self, fight: _Fight) -> float:
        """How long it must keep still to be forgiven."""
        return max(self._window, 2 * self._delay(fight.rounds))

    def _is_over(self, fight: _Fight, now: float) -> bool:
        return now - fight.times[-1] > self._rest(fight)

    def _forgive(self, now: float) -> None:
        for id, fight in list(self._fights.items()):
            if self._is_over(fight, now):
                del self._fights[id]
