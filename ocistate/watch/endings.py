"""How objects that run to an end did end, as far as it was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocistate.apply.plan import Live
from ocistate.health.vanishing import Ending, ending_of
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.objects import ObjectId


class Endings:
    """By object: also of one that was meant to vanish, and has; UNFINISHED if it went before."""

    def __init__(self) -> None:
        self._by_id: dict[ObjectId, Ending] = {}

    def get(self, id: ObjectId) -> Ending | None:
        return self._by_id.get(id)

    def __iter__(self) -> Iterator[ObjectId]:
        return iter(tuple(self._by_id))

    def assume(self, id: ObjectId) -> None:
        """Take it that an object that is gone succeeded, where nothing else was seen."""
        self._by_id.setdefault(id, Ending.SUCCEEDED)

    def forget(self, id: ObjectId) -> None:
        self._by_id.pop(id, None)

    def note(self, id: ObjectId, live: Live, obj: Mapping[str, Any]) -> None:
        """Note how a live object ended, if it has."""
        if not _may_end(id) or (live.deleting and id.kind == "Pod"):
            return
        ending = ending_of(id, obj)
        if ending in (Ending.SUCCEEDED, Ending.FAILED):
            self._by_id[id] = ending
        else:
            self._by_id.pop(id, None)

    def note_deleted(self, id: ObjectId, last: Mapping[str, Any]) -> None:
        """Note how an object ended that was just deleted; ``last`` is how it was."""
        if id in self._by_id or not _may_end(id):
            return
        # What is stopped by its deletion has not ended before.
        ending = Ending.UNFINISHED if id.kind == "Pod" else ending_of(id, last)
        if ending is not None:
            self._by_id[id] = ending


def _may_end(id: ObjectId) -> bool:
    return id.kind in ("Job", "Pod") or stage_of(id.group, id.kind) is ApplyStage.CUSTOM
