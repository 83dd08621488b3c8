"""How long to wait before the next try: one policy for every retry.

pause = Backoff(first=0.5, longest=60.0)
await sleep(pause.delay(failures, jitter))        # 0.5, 1, 2, … 60 s
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST_STEPS = 30  # 2**30 times any first pause is beyond every limit, and far from overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses that grow from ``first`` to ``longest`` seconds, each ``growth`` times the one before.

    ``spread`` is the share of a pause that is drawn by chance on top, so that many who failed at
    the same moment do not come back at the same moment.
    """

    first: float
    longest: float
    spread: float = 0.2
    growth: float = 2.0

    def delay(self, failures: int, drawn: float = 0.0) -> float:
        """Seconds to wait after so many failures in a row; ``drawn`` is a random 0 to 1."""
        steps = min(max(failures - 1, 0), _MOST_STEPS)
        return min(self.longest, self.first * self.growth**steps) * (1 + self.spread * drawn)


def settle_time(slowest: float, drawn: float) -> float:
    """Seconds after which a write to a shared tag can be trusted to last.

    Registries have no compare-and-swap: a writer that read before we wrote may write over it,
    within the time that reading and writing takes. ``slowest`` is the longest we saw that take;
    ``drawn`` is a random 0 to 1, so that writers do not keep meeting.
    """
    return (0.05 + 2 * slowest) * (1 + drawn)
