"""What an apply would do, decided on plain data: create, change, keep, prune, skip or refuse.

plan = make_plan(desired, mine, others)
for action in plan.actions:
    print(action.verb, action.id, action.reason)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ocistate.apply.desired.prepare import ApplyMode, Desired, DesiredObject
from ocistate.errors import MassPrune, OcistateError, OwnershipConflict
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.objects import ObjectId

CONTESTED: Final = "put back later: another writer keeps changing it"
DELETING: Final = "is being deleted: created again when it is gone"


class Verb(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"
    PRUNE = "prune"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What is kept of a live object that carries our label.

    ``fields`` is a hash of the set of fields our manager holds, comparable within one process.
    ``intact`` is whether that set is all we applied: no one changed anything of it; None where
    that is not known. ``protected``, ``forced``, ``adopted`` and ``wave`` are annotations.
    """

    uid: str
    resource_version: str
    owner: str
    marker: str
    fields: int = 0
    intact: bool | None = None
    deleting: bool = False
    protected: bool = False
    forced: bool = False
    adopted: bool = False
    wave: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One decision. ``wanted`` is None for a prune; ``error`` is set for a refusal."""

    verb: Verb
    id: ObjectId
    reason: str
    wanted: DesiredObject | None = None
    live: Live | None = None
    error: OcistateError | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Wave and stage: neighbours of equal order may go at the same time."""
        if self.wanted is not None:
            return (self.wanted.wave, self.wanted.stage)
        wave = self.live.wave if self.live is not None else 0
        return (wave, stage_of(self.id.group, self.id.kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decisions in the order they are carried out: ``write`` first to last, then ``prune``.

    ``keep`` and ``skip`` send no requests. ``untouched`` counts what was wanted and not compared;
    ``total`` counts the owner's live objects before.
    """

    owner: str
    write: tuple[Action, ...]
    prune: tuple[Action, ...]
    keep: tuple[DesiredObject, ...]
    skip: tuple[Action, ...]
    refuse: tuple[Action, ...]
    total: int
    untouched: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do and nothing refused."""
        return not (self.write or self.prune or self.refuse)

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every decision, also those that need no request."""
        kept = tuple(
            Action(verb=Verb.KEEP, id=each.id, reason="unchanged", wanted=each)
            for each in self.keep
        )
        return (*self.refuse, *self.write, *self.prune, *self.skip, *kept)

    def counts(self) -> dict[Verb, int]:
        """How many objects of each verb."""
        counted = Counter(action.verb for action in self.write)
        return {
            Verb.CREATE: counted[Verb.CREATE],
            Verb.CHANGE: counted[Verb.CHANGE],
            Verb.KEEP: len(self.keep) + self.untouched,
            Verb.PRUNE: len(self.prune),
            Verb.SKIP: len(self.skip),
            Verb.REFUSE: len(self.refuse),
        }


def make_plan(
    desired: Desired,
    mine: Mapping[ObjectId, Live],
    others: Mapping[ObjectId, Live] | None = None,
    *,
    prune: bool = True,
    adopt_from: Collection[str] = (),
    waits: Callable[[ObjectId], bool] | None = None,
    handed_to: Collection[str] = (),
    there: Collection[ObjectId] = (),
    done: Collection[ObjectId] = (),
    only: Set[ObjectId] | None = None,
    called: Callable[[str], str] = str,
) -> Plan:
    """Decide what to do.

    ``mine`` are the live objects with this owner's label, ``others`` those with another owner's
    (``mine`` may be among them). Objects of the owners in ``adopt_from`` are taken over, those of
    the owners in ``handed_to`` left to them; of any other owner they are refused. A live object
    that is not ``intact`` is applied again; where another writer changed what the artifact did
    not, ``waits`` may say that its repair waits.
    ``there`` are objects of others that satisfy ifnotpresent, ``done`` those that were meant to
    vanish, and have. With ``only`` these alone are compared: all else is known to be as it should
    be. ``called`` is how a refusal names another owner; empty where it is not to be named.
    """
    looked = desired.wanted
    if only is not None:
        looked = tuple(each for each in looked if each.id in only) if only else ()
    keep: list[DesiredObject] = []
    by_verb: dict[Verb, list[Action]] = {verb: [] for verb in (Verb.CHANGE, Verb.SKIP, Verb.REFUSE)}
    by_verb[Verb.CREATE] = by_verb[Verb.CHANGE]  # one list, in the order of the artifact
    for wanted in looked:
        live = mine.get(wanted.id)
        if live is not None and _is_as_wanted(wanted, live):
            keep.append(wanted)
            continue
        if live is None and others:
            live = others.get(wanted.id)
        if live is None and _may_be_absent(wanted, there, done):
            keep.append(wanted)
            continue
        action = _decide(desired.owner, wanted, live, adopt_from, handed_to, called)
        if waits is not None and _is_repair(action) and waits(wanted.id):
            action = replace(action, verb=Verb.SKIP, reason=CONTESTED)
        if action.verb is Verb.KEEP:
            keep.append(wanted)
        else:
            by_verb[action.verb].append(action)
    pruned, kept = _plan_prune(desired, mine, prune=prune, only=only)
    return Plan(
        owner=desired.owner,
        write=tuple(by_verb[Verb.CHANGE]),
        prune=tuple(pruned),
        keep=tuple(keep),
        skip=(*by_verb[Verb.SKIP], *kept),
        refuse=tuple(by_verb[Verb.REFUSE]),
        total=len(mine),
        untouched=len(desired.wanted) - len(looked),
    )


def _is_as_wanted(wanted: DesiredObject, live: Live) -> bool:
    return bool(
        live.intact
        and live.marker == wanted.marker
        and not live.deleting
        and wanted.problem is None
    )


def _may_be_absent(
    wanted: DesiredObject, there: Collection[ObjectId], done: Collection[ObjectId]
) -> bool:
    """Whether an object that is not ours is as it should be."""
    if wanted.mode is ApplyMode.IF_NOT_PRESENT and wanted.id in there:
        return True
    return wanted.id in done and wanted.problem is None


def _is_repair(action: Action) -> bool:
    """Whether an object is written though the artifact did not change it."""
    if action.verb not in (Verb.CREATE, Verb.CHANGE) or action.wanted is None:
        return False
    return action.live is None or action.live.marker == action.wanted.marker


def _plan_prune(
    desired: Desired, mine: Mapping[ObjectId, Live], *, prune: bool, only: Set[ObjectId] | None
) -> tuple[list[Action], list[Action]]:
    """What to delete of what is no longer wanted, last things first; and what of it stays."""
    held = mine if only is None else [id for id in only if id in mine]
    gone = [id for id in held if id not in desired.by_id]
    if not gone:
        return [], []
    # One object may be served under two groups: what is wanted under one must stay.
    uids = {mine[id].uid for id in desired.by_id if id in mine}
    decided = [_decide_prune(id, mine[id], prune, uids) for id in gone]
    pruned = [action for action in decided if action.verb is Verb.PRUNE]
    pruned.sort(key=lambda action: action.id)
    pruned.sort(key=lambda action: action.order, reverse=True)
    return pruned, [action for action in decided if action.verb is not Verb.PRUNE]


def without(plan: Plan, strange: Collection[ObjectId]) -> Plan:
    """The plan with these left alone: they only claim to be the owner's."""
    if not strange:
        return plan
    kept = tuple(action for action in plan.prune if action.id not in strange)
    return replace(plan, prune=kept, total=plan.total - (len(plan.prune) - len(kept)))


def plan_deletion(owner: str, mine: Mapping[ObjectId, Live]) -> Plan:
    """The plan that removes everything an owner has, as far as it may be removed."""
    nothing = Desired(owner=owner, wanted=(), by_id={}, unknown=frozenset())
    return make_plan(nothing, mine)


def mass_prune(plan: Plan, *, share: float = 0.5, least: int = 10) -> str:
    """Why this plan's pruning should be confirmed by a person first; empty when it need not.

    That is when it would delete at least ``least`` objects and more than ``share`` of the owner's.
    """
    return mass_removal([a.id for a in plan.prune], plan.total, share=share, least=least)


def mass_removal(
    gone: Sequence[ObjectId | str], total: int, *, share: float = 0.5, least: int = 10
) -> str:
    """Why removing these of so many objects should be confirmed first; see `mass_prune`."""
    count = len(gone)
    if count < least or count <= share * total:
        return ""
    return (
        f"would delete {count} of {total} objects, more than {share:.0%}, beginning with {gone[0]}"
    )


def guard_prune(plan: Plan, *, percent: int, hint: str) -> None:
    """Raises MassPrune for a plan that `mass_prune` says should be confirmed."""
    guard_removal([a.id for a in plan.prune], plan.total, percent=percent, hint=hint)


def guard_removal(gone: Sequence[ObjectId | str], total: int, *, percent: int, hint: str) -> None:
    """Raises MassPrune for what `mass_removal` says should be confirmed."""
    if reason := mass_removal(gone, total, share=percent / 100):
        raise MassPrune(f"nothing was done: it {reason}", hint=hint)


def _decide(
    owner: str,
    wanted: DesiredObject,
    live: Live | None,
    adopt_from: Collection[str],
    handed_to: Collection[str],
    called: Callable[[str], str],
) -> Action:
    def action(verb: Verb, reason: str, error: OcistateError | None = None) -> Action:
        return Action(verb=verb, id=wanted.id, reason=reason, wanted=wanted, live=live, error=error)

    if wanted.problem is not None:
        return action(Verb.REFUSE, wanted.problem.message, wanted.problem)
    if wanted.mode is ApplyMode.IGNORE:
        return action(Verb.SKIP, "left alone: ocistate.dev/apply is ignore")
    if live is None:
        return action(Verb.CREATE, "not there, or not ours yet")
    if live.owner != owner and live.owner in handed_to:
        return action(Verb.SKIP, f"handed over to {live.owner}")
    if live.deleting:
        return action(Verb.SKIP, DELETING)
    if live.owner != owner and live.owner not in adopt_from:
        name = called(live.owner)
        error = OwnershipConflict(
            f"{wanted.id} belongs to another Stack" + (f", {name}" if name else ""),
            hint="remove it from one of the two artifacts, or hand it over: see spec.adoptFrom; "
            "if that Stack is gone, or 'ocistate apply' put it there: 'ocistate orphans give'",
        )
        return action(Verb.REFUSE, error.message, error)
    if live.owner != owner:
        return action(Verb.CHANGE, f"taken over from {live.owner}")
    if wanted.mode is ApplyMode.IF_NOT_PRESENT:
        return action(Verb.KEEP, "is there: ocistate.dev/apply is ifnotpresent")
    if live.marker != wanted.marker:
        return action(Verb.CHANGE, "the artifact changed it")
    if live.intact is False:
        return action(Verb.CHANGE, "drifted: another writer changed fields of ours")
    return action(Verb.CHANGE, "may have drifted")


def _decide_prune(id: ObjectId, live: Live, prune: bool, wanted_uids: Collection[str]) -> Action:
    if live.uid in wanted_uids:
        reason = "is wanted under another group"
    elif live.deleting:
        reason = "is being deleted already"
    elif live.protected:
        reason = "kept: ocistate.dev/prune is disabled"
    elif live.adopted and stage_of(id.group, id.kind) <= ApplyStage.DEFINITIONS:
        reason = "kept: it was there before it was adopted"
    elif not prune:
        reason = "kept: pruning is off"
    else:
        return Action(verb=Verb.PRUNE, id=id, reason="no longer in the artifact", live=live)
    return Action(verb=Verb.SKIP, id=id, reason=reason, live=live)
