"""Which objects that were meant to vanish have done so, and how they ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ocistate.api.status import MOST_RUNS
from ocistate.apply.desired.prepare import DesiredObject
from ocistate.apply.plan import Plan
from ocistate.apply.result import ApplyOutcome, ObjectState
from ocistate.health.model import Health
from ocistate.health.vanishing import Ending, Lifetime, Run, Runs
from ocistate.objects import ObjectId
from ocistate.watch.store import OwnedObjects

WRITTEN: Final = (ObjectState.APPLIED, ObjectState.UNCHANGED)


@dataclass(frozen=True, slots=True)
class Vanished:
    """Of objects that are meant to vanish: the health of those that have, and what to remember."""

    gone: Mapping[ObjectId, Health]
    runs: tuple[Run, ...]

    def health_of(self, owned: OwnedObjects, id: ObjectId) -> Health:
        """The health of an object that is there, or has vanished as it was meant to."""
        return self.gone.get(id) or owned.health(id)


def vanished(
    mortal: Iterable[DesiredObject], owner: str, owned: OwnedObjects, runs: Runs
) -> Vanished:
    """Compare what is meant to vanish with what is there; what is new goes into ``runs``."""
    mine = owned.mine(owner)
    gone: dict[ObjectId, Health] = {}
    for wanted in mortal:
        id, marker = wanted.id, wanted.marker
        live, ending = mine.get(id), owned.ending(id)
        if live is not None:
            if live.marker != marker:
                continue
            if ending is not None:
                runs.ended(id, marker, ending)
            elif wanted.lifetime is Lifetime.ONCE:
                runs.began(id, marker)
        elif (run := runs.done(id, marker)) is not None:
            if run.ending is None and ending is not None:
                runs.ended(id, marker, ending)
                run = runs.by_id[id]
            if run.ending is Ending.UNFINISHED:
                del runs.by_id[id]
            else:
                gone[id] = run.health
    return Vanished(gone=gone, runs=tuple(runs.by_id.values())[:MOST_RUNS])


def note_begun(plan: Plan, outcome: ApplyOutcome, runs: Runs) -> None:
    """Remember what was just applied of objects that are wanted once."""
    written = {r.id for r in outcome.results if r.state in WRITTEN}
    for action in plan.write:
        wanted = action.wanted
        if wanted and wanted.id in written and wanted.lifetime is Lifetime.ONCE:
            runs.began(wanted.id, wanted.marker)
