"""How long to wait before the next try: one policy for every retry.

pause = Backoff(first=0.5, longest=60.0)
await sleep(pause.delay(failures, jitter))        # 0.5, 1, 2, … 60 s
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DOUBLINGS = 30  # 2**30 times any first pause is beyond every limit, and far from overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses that double from ``first`` to ``longest`` seconds.

    ``spread`` is the share of a pause that is drawn by chance on top, so that many who failed at
    the same moment do not come back at the same moment.
    """

    first: float
    longest: float
    spread: float = 0.2

    def delay(self, failures: int, drawn: float = 0.0) -> float:
        """Seconds to wait after so many failures in a row; ``drawn`` is a random 0 to 1."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(self.longest, self.first * 2.0**doublings) * (1 + self.spread * drawn)
