"""Per-object results of executing a plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from ocistate.apply.plan import Action, Live, Verb
from ocistate.apply.preview import Preview
from ocistate.errors import ApplyFailed, OcistateError
from ocistate.objects import ObjectId


class ObjectState(StrEnum):
    APPLIED = "applied"
    """Sent, and the live object is new or other than before."""
    UNCHANGED = "unchanged"
    """Sent, and the live object already was as wanted."""
    DELETED = "deleted"
    SKIPPED = "skipped"
    """Not sent, on purpose; ``reason`` says why."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One object's result. ``live`` is what to remember of it; ``error`` says why it failed;
    ``overruled`` are the fields that the API server did not store as they were sent; ``preview`` is
    what a dry run would change."""

    id: ObjectId
    verb: Verb
    state: ObjectState
    reason: str = ""
    error: OcistateError | None = None
    live: Live | None = None
    overruled: tuple[str, ...] = ()
    preview: Preview | None = None


def result_of(
    action: Action,
    state: ObjectState,
    *,
    reason: str = "",
    error: OcistateError | None = None,
    live: Live | None = None,
) -> Result:
    """The result of an action; its reason is the error's, or the action's own, if none is given."""
    return Result(
        id=action.id,
        verb=action.verb,
        state=state,
        reason=reason or (error.message if error is not None else action.reason),
        error=error,
        live=live,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOutcome:
    """All results, in the order in which they came. Objects that the plan kept have none."""

    results: tuple[Result, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(each for each in self.results if each.state is ObjectState.FAILED)

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def changed(self) -> int:
        """How many objects are other than before."""
        return sum(
            each.state in (ObjectState.APPLIED, ObjectState.DELETED) for each in self.results
        )

    def counts(self) -> dict[ObjectState, int]:
        counted = Counter(each.state for each in self.results)
        return {state: counted[state] for state in ObjectState}

    def error(self) -> ApplyFailed | None:
        """One error for all that failed, naming the first few; None when none did."""
        failed = self.failed
        if not failed:
            return None
        named = [str(each.error) for each in failed[:3]]
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        objects = "1 object" if len(failed) == 1 else f"{len(failed)} objects"
        return ApplyFailed(f"{objects} failed: {'; '.join(named)}{more}")
