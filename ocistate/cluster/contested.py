"""Objects that another writer keeps changing: repaired ever more slowly, and reported.

delay = contested.drifted(id)      # seconds to wait before repairing; 0 unless it is contested
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ocistate.objects import ObjectId


@dataclass(slots=True)
class _Fight:
    times: list[float]
    rounds: int = 0


class Contested:
    """Counts drifts of single objects.

    An object is contested when it drifts ``limit`` times within ``window`` seconds; each further
    drift doubles the delay, from ``first`` to at most ``longest`` seconds. It is forgiven when it
    keeps still for twice its last delay, and at least for ``window``.
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

    def drifted(self, id: ObjectId) -> float:
        """Note a drift; return how many seconds to wait before repairing it."""
        now = self._clock()
        self._forgive(now)
        fight = self._fights.setdefault(id, _Fight([]))
        fight.times = [*fight.times[1 - self._limit :], now]
        if fight.rounds or (
            len(fight.times) >= self._limit and now - fight.times[0] <= self._window
        ):
            fight.rounds += 1
        return self._delay(fight)

    def ids(self) -> list[ObjectId]:
        """The objects that are contested now."""
        self._forgive(self._clock())
        return sorted(id for id, fight in self._fights.items() if fight.rounds)

    def forget(self, id: ObjectId) -> None:
        """Stop counting, as after a change of what is wanted."""
        self._fights.pop(id, None)

    def _delay(self, fight: _Fight) -> float:
        if not fight.rounds:
            return 0.0
        return min(self._first * 2.0 ** min(fight.rounds - 1, 20), self._longest)

    def _forgive(self, now: float) -> None:
        for id, fight in list(self._fights.items()):
            if now - fight.times[-1] > max(self._window, 2 * self._delay(fight)):
                del self._fights[id]
