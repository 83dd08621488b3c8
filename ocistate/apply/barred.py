"""What cannot be written for now, by namespace and kind: one object asks, and not a thousand.

A namespace that is being deleted refuses whatever is new in it, and often for long; an account
without rights, or a webhook that is down, refuses all objects of a kind. Once that is known, the
others are held back, and one of them is sent now and then to see whether it is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ocistate.errors import ClusterError
from ocistate.kube.errors import StatusError
from ocistate.kube.refusals import is_closed_namespace, is_passing
from ocistate.objects import ObjectId

_IN_A_ROW: Final = 8
"""So many refusals say that it is the kind that is refused, and not an object."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_KEPT: Final = 32

_Key = tuple[str, str, str]


@dataclass(slots=True)
class _Bar:
    """One namespace's kind, or all that is new in a namespace."""

    refusals: dict[ObjectId, ClusterError] = field(default_factory=dict)
    """The first ones, as they were told."""
    in_a_row: int = 0
    pause: float = 0.0
    until: float = 0.0

    def close(self, now: float) -> None:
        if now >= self.until:
            self.pause = min(self.pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            self.until = now + self.pause

    @property
    def closed(self) -> bool:
        return self.pause > 0


@dataclass(slots=True)
class Barred:
    """What is known from one apply to the next. ``clock`` is passed in by tests."""

    clock: Callable[[], float] = time.monotonic
    _bars: dict[_Key, _Bar] = field(default_factory=dict)

    def refusal(self, id: ObjectId, *, new: bool) -> ClusterError | None:
        """Why an object need not be sent; None when it is to be tried."""
        for key in _keys(id, new=new):
            bar = self._bars.get(key)
            if bar is None or not bar.closed:
                continue
            if (now := self.clock()) >= bar.until:
                bar.close(now)  # this one finds out, the others wait for it
                continue
            return bar.refusals.get(id) or _held_back(id, next(iter(bar.refusals.values())))
        return None

    def refused(self, id: ObjectId, error: ClusterError, *, new: bool) -> None:
        """The API server did not take an object."""
        if not isinstance(error, StatusError):
            return
        whole = new and is_closed_namespace(error)
        if not whole and error.status != 403 and not is_passing(error):
            return  # that is about this one object
        key = ("", "", id.namespace) if whole else (id.group, id.kind, id.namespace)
        bar = self._bars.setdefault(key, _Bar())
        bar.in_a_row += 1
        if len(bar.refusals) < _KEPT:
            bar.refusals.setdefault(id, error)
        if whole or bar.closed or bar.in_a_row >= _IN_A_ROW:
            bar.close(self.clock())

    def written(self, id: ObjectId, *, new: bool) -> None:
        """The API server took an object."""
        for key in _keys(id, new=new):
            self._bars.pop(key, None)
        if new and id.kind == "Namespace" and not id.group:
            self._bars = {key: bar for key, bar in self._bars.items() if key[2] != id.name}


def _keys(id: ObjectId, *, new: bool) -> tuple[_Key, ...]:
    kind = (id.group, id.kind, id.namespace)
    return (kind, ("", "", id.namespace)) if new and id.namespace else (kind,)


def _held_back(id: ObjectId, first: ClusterError) -> ClusterError:
    return ClusterError(f"apply {id}: held back, since {first.message}", hint=first.hint)
