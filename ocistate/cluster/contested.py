"""Objects that another writer keeps changing: repaired ever more slowly, and reported.

delay = contested.drifted(id, by)   # seconds to wait before repairing; 0 unless it is contested
if contested.waits(id): …           # not yet
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from ocistate.objects import ObjectId

_SWEEP: Final = 256


@dataclass(slots=True)
class _Fight:
    times: list[float]
    rounds: int = 0
    until: float = 0.0
    by: str = ""


class Contested:
    """Counts drifts of single objects.

    An object is contested when it drifts ``limit`` times within ``window`` seconds; each further
    drift doubles the delay, from ``first`` to at most ``longest`` seconds. What happens to it while
    its repair waits does not count. It is forgiven when it keeps still for twice its last delay,
    and at least for ``window``.
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
        delay = self._delay(fight)
        fight.until = now + delay
        return delay

    def waits(self, id: ObjectId) -> bool:
        """Whether its repair must wait still."""
        fight = self._fights.get(id)
        return fight is not None and self._clock() < fight.until

    def ids(self) -> dict[ObjectId, str]:
        """The objects that are contested now, each with who changed it last, if that is known."""
        self._forgive(self._clock())
        return {id: self._fights[id].by for id in sorted(self._fights) if self._fights[id].rounds}

    def forget(self, id: ObjectId) -> None:
        """Stop counting, as after a change of what is wanted."""
        self._fights.pop(id, None)

    def _delay(self, fight: _Fight) -> float:
        if not fight.rounds:
            return 0.0
        return min(self._first * 2.0 ** min(fight.rounds - 1, 20), self._longest)

    def _is_over(self, fight: _Fight, now: float) -> bool:
        return now - fight.times[-1] > max(self._window, 2 * self._delay(fight))

    def _forgive(self, now: float) -> None:
        for id, fight in list(self._fights.items()):
            if self._is_over(fight, now):
                del self._fights[id]
