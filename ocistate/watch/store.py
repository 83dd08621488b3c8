"""All live objects that carry a Stack's label, in a few hundred bytes each, and their changes.

`ocistate.watch.informer` feeds it; a plan reads it; whoever must act is told by callback:

    owned = OwnedObjects(on_change=lambda change: queue.add(change.owner))
    plan = make_plan(desired, owned.mine(owner), owned.all)
    with owned.expecting(plan):
        outcome = await apply(client, plan, Options(on_result=owned.note))

No object is kept, only `Live` and, where it is not healthy, its `Health`. A change is told when
something must be done about it: a field of ours was changed, an object appeared or went, or its
health changed. That a status or a field of others changed is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from ocistate.apply.desired.prepare import Desired
from ocistate.apply.live import checked, id_of, last_writer, live_of
from ocistate.apply.plan import Live, Plan
from ocistate.apply.result import ApplyOutcome, ObjectState, Result
from ocistate.health.evaluate import health_of, needs_full_object
from ocistate.health.model import HEALTHY, MISSING, NOT_REPORTED, Health, HealthRule, HealthStatus
from ocistate.health.vanishing import Ending, Lifetime, ending_of, health_after
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.objects import GroupKind, ObjectId

log = logging.getLogger("ocistate.cluster")

_UNSEEN: Final = Health(HealthStatus.PROGRESSING, "applied, and not yet seen since")
_GOING: Final = Health(HealthStatus.PROGRESSING, "being deleted")


class ChangeKind(StrEnum):
    """What happened to an owned object."""

    APPEARED = "appeared"
    DRIFTED = "drifted"
    GONE = "gone"
    HEALTH = "health"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """``by`` is who wrote last, for a drift, as far as managedFields tell."""

    owner: str
    id: ObjectId
    what: ChangeKind
    by: str = ""


Listener = Callable[[ObjectChange], None]


class OwnedObjects:
    """The store. Not thread-safe: it belongs to one event loop.

    ``on_change`` is called for every change as it is seen, and must return at once. ``checks`` are
    health rules that go before the built-in ones.
    """

    def __init__(
        self,
        on_change: Listener | None = None,
        *,
        checks: Mapping[GroupKind, HealthRule] | None = None,
    ) -> None:
        self._listeners: list[Listener] = [on_change] if on_change is not None else []
        self._checks = dict(checks or {})
        self._own_checks: dict[str, Mapping[GroupKind, HealthRule]] = {}
        self._live: dict[str, dict[ObjectId, Live]] = {}
        self._owner: dict[GroupKind, dict[ObjectId, str]] = {}
        self._ill: dict[str, dict[ObjectId, Health]] = {}
        self._revisions: dict[str, int] = {}
        self._changed: dict[str, set[ObjectId]] = {}
        self._desired: dict[str, Desired] = {}
        self._expected: set[ObjectId] = set()
        self._written: set[ObjectId] = set()
        self._silent: set[GroupKind] = set()
        self._endings: dict[ObjectId, Ending] = {}
        self.worlds = 0
        """How often the cluster turned out to be in an earlier state than it was known in."""
        self.all: Mapping[ObjectId, Live] = _AllOwned(self)

    # Reading

    def mine(self, owner: str) -> Mapping[ObjectId, Live]:
        """The live objects of an owner, as `make_plan` wants them. Do not modify."""
        return self._live.get(owner, {})

    def owners(self) -> list[str]:
        """Everyone who has objects, also those whose Stack is gone."""
        return [owner for owner, objects in self._live.items() if objects]

    def get(self, id: ObjectId) -> Live | None:
        owner = self._owner.get(GroupKind(id.group, id.kind), {}).get(id)
        return None if owner is None else self._live[owner].get(id)

    def health(self, id: ObjectId) -> Health:
        """The health of an owned object, Missing for one that is not there and has not ended."""
        owner = self._owner.get(GroupKind(id.group, id.kind), {}).get(id)
        if owner is None:
            return health_after(self._endings[id]) if id in self._endings else MISSING
        return self._ill.get(owner, {}).get(id, HEALTHY)

    def ending(self, id: ObjectId) -> Ending | None:
        """How an object ended that runs to an end, as far as it was seen; also of one that was
        meant to vanish, and has: UNFINISHED if it went before."""
        return self._endings.get(id)

    def unwell(self, owner: str) -> Mapping[ObjectId, Health]:
        """The owner's objects that are there and not healthy. Do not modify."""
        return self._ill.get(owner, {})

    def revision(self, owner: str) -> int:
        """A number that grows whenever a plan for this owner might come out otherwise.

        While it and the desired content are the same as at the last clean pass, there is nothing
        to plan.
        """
        return self._revisions.get(owner, 0)

    def changed(self, owner: str) -> Set[ObjectId]:
        """The objects for which a plan might come out otherwise since `settle`. Do not modify.

        Of an owner of whom nothing is desired it is not kept: a first plan looks at all.
        """
        return self._changed.get(owner, frozenset())

    def settle(self, owner: str) -> None:
        """A plan for all of the owner's objects has nothing to do."""
        self._changed.pop(owner, None)

    def kinds(self, owner: str = "") -> set[GroupKind]:
        """The kinds of which an owner, or anyone, has objects."""
        if owner:
            return {GroupKind(id.group, id.kind) for id in self._live.get(owner, ())}
        return {key for key, objects in self._owner.items() if objects}

    def wanting(self, id: ObjectId) -> list[str]:
        """Who wants an object, whoever has it."""
        return [owner for owner, desired in self._desired.items() if id in desired.by_id]

    def wanted(self, owner: str) -> Collection[ObjectId]:
        """What an owner wants."""
        desired = self._desired.get(owner)
        return desired.by_id.keys() if desired is not None else ()

    def __len__(self) -> int:
        return sum(map(len, self._live.values()))

    # Telling it things

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` too; the function returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def desire(self, desired: Desired) -> None:
        """Say what an owner wants, so that what is seen can be checked against it at once."""
        before = self._desired.get(desired.owner)
        self._desired[desired.owner] = desired
        if before is not None:
            self._forget_endings(before, desired)

    def undesire(self, owner: str) -> None:
        """Forget what an owner wanted."""
        if (before := self._desired.pop(owner, None)) is not None:
            self._forget_endings(before, None)
        self._own_checks.pop(owner, None)
        self._changed.pop(owner, None)
        if owner not in self._live:
            self._revisions.pop(owner, None)

    def checks(self, owner: str) -> Mapping[GroupKind, HealthRule]:
        """The health rules that an owner brought along."""
        return self._own_checks.get(owner, {})

    def rules_of(
        self, resource: ApiResource, metadata: codec.Metadata
    ) -> Mapping[GroupKind, HealthRule]:
        """The rule of health that an object's owner brought along for its kind, if any."""
        live = live_of(metadata) if self._own_checks else None
        key = GroupKind(resource.group, resource.kind)
        rule = self.checks(live.owner).get(key) if live is not None else None
        return {key: rule} if rule is not None else {}

    def check(self, owner: str, checks: Mapping[GroupKind, HealthRule]) -> None:
        """Have an owner's rules go before all others, for what is seen from now on.

        They are for kinds that speak of their health anyway: those are watched whole.
        """
        if checks:
            self._own_checks[owner] = checks
        else:
            self._own_checks.pop(owner, None)

    def assume_ended(self, ids: Iterable[ObjectId]) -> None:
        """Take it that those that are not there have ended, where nothing else was seen."""
        for id in ids:
            if self.get(id) is None:
                self._endings.setdefault(id, Ending.SUCCEEDED)

    def silence(self, group: str, kind: str, silent: bool) -> None:
        """Say whether a kind never reports a status: of such a one nothing is waited for."""
        if not silent:
            self._silent.discard(GroupKind(group, kind))
            return
        self._silent.add(GroupKind(group, kind))
        for id, owner in tuple(self._owner.get(GroupKind(group, kind), {}).items()):
            ill = self._ill.get(owner, {})
            if ill.get(id) == NOT_REPORTED:
                del ill[id]
                self._notify(owner, id, ChangeKind.HEALTH)

    @contextmanager
    def expecting(self, plan: Plan) -> Iterator[None]:
        """While a plan is carried out, what it causes is no drift.

        What others do meanwhile is told at the end.
        """
        ids = {action.id for action in (*plan.write, *plan.prune)}
        self._expected |= ids
        try:
            yield
        finally:
            self._expected -= ids
            written = self._written & ids
            self._written -= ids
            for id in written:
                live = self.get(id)
                if live is not None and not live.intact and live.owner == plan.owner:
                    self._notify(plan.owner, id, ChangeKind.DRIFTED)

    def record(self, outcome: ApplyOutcome) -> None:
        """Take over what an apply learned."""
        for result in outcome.results:
            self.note(result)

    def note(self, result: Result) -> None:
        """Take over what an apply learned of one object, at best before the watch says it."""
        live = result.live
        if live is None:
            return
        id = result.id
        known = self.get(id)
        if result.state is ObjectState.DELETED:
            if known is not None and known.uid == live.uid:
                self._store(id, replace(known, deleting=True))
                self._ill.setdefault(known.owner, {})[id] = _GOING
            return
        if id in self._expected:
            self._written.add(id)
        if known is not None and _seen(known, live):
            if known.fields == live.fields and known.marker == live.marker:
                self._store(id, replace(known, intact=True))
        else:
            self._endings.pop(id, None)
            self._store(id, live)
            if result.state is ObjectState.APPLIED and self._needs_full_object(id):
                self._ill.setdefault(live.owner, {})[id] = _UNSEEN

    # Fed by the watches

    def see(
        self,
        resource: ApiResource,
        metadata: codec.Metadata,
        obj: Mapping[str, Any] | None,
        judged: Health | None = None,
    ) -> ObjectId:
        """Note a live object as it is now. ``obj`` is the whole of it, where the kind's health is
        in its status; it is looked at and not kept. ``judged`` is what `rules_of` it say, where
        there are any.

        Whatever its content makes our own code do ends here, and is told as its health: the other
        objects of its kind must be seen.
        """
        id = id_of(resource, metadata)
        try:
            return self._see(resource, id, metadata, obj, judged)
        except Exception as error:
            log.exception("seeing %s failed unexpectedly", id)
            owner = self._owner.get(GroupKind(id.group, id.kind), {}).get(id)
            if owner is not None:
                words = f"it cannot be looked at: {type(error).__name__}"
                self._ill.setdefault(owner, {})[id] = Health(HealthStatus.UNKNOWN, words)
            return id

    def _see(
        self,
        resource: ApiResource,
        id: ObjectId,
        metadata: codec.Metadata,
        obj: Mapping[str, Any] | None,
        judged: Health | None,
    ) -> ObjectId:
        live = live_of(metadata)
        known = self.get(id)
        if known is not None and _newer(known, metadata.uid, metadata.resourceVersion):
            return id  # an event from before our last apply
        if live is None:
            self._remove(id, last_writer(metadata))
            return id
        if known is not None and known.owner != live.owner:
            self._remove(id)
            known = None
        drifted = False
        if known is not None and _same(known, live):
            live = replace(live, intact=known.intact)
        else:
            desired = self._desired.get(live.owner)
            if desired is not None and id not in self._expected:
                wanted = desired.by_id.get(id)
                live = checked(live, metadata, wanted, live.owner, obj)
                if known is None and wanted is not None:
                    id = wanted.id  # one tuple for both
            drifted = known is not None and not live.intact
        self._store(id, live)
        self._note_health(resource, id, live, obj, judged)
        if obj is not None:
            self._note_ending(id, live, obj)
        if known is None:
            self._notify(live.owner, id, ChangeKind.APPEARED)
        elif drifted:
            self._notify(live.owner, id, ChangeKind.DRIFTED, last_writer(metadata))
        return id

    def mark_dirty(self, id: ObjectId) -> None:
        """Have the next plan send an object again, though no one seems to have changed it."""
        live = self.get(id)
        if live is not None:
            self._store(id, replace(live, intact=None))

    def forget(self, id: ObjectId, uid: str = "", *, last: Mapping[str, Any] | None = None) -> None:
        """Note that an object is gone, or no longer carries the label; ``last`` is how it was."""
        live = self.get(id)
        if live is not None and (not uid or live.uid == uid):
            if last is not None and id not in self._endings and _may_end(id):
                # What is stopped by its deletion has not ended before.
                ending = Ending.UNFINISHED if id.kind == "Pod" else ending_of(id, last)
                if ending is not None:
                    self._endings[id] = ending
            self._remove(id)

    def only(
        self,
        resource: ApiResource,
        namespace: str,
        seen: Iterable[ObjectId],
        *,
        before: Mapping[ObjectId, str] | None = None,
    ) -> None:
        """After a complete list: whatever of this kind (and namespace) is not in it, is gone.

        So is what was known ``before`` it, as `renew` returned that.
        """
        seen = set(seen)
        for id in set(self._owner.get(GroupKind(resource.group, resource.kind), {})).difference(
            seen
        ):
            if not namespace or id.namespace == namespace:
                self._remove(id)
        for id, owner in (before or {}).items():
            if id not in seen:
                self._notify(owner, id, ChangeKind.GONE)

    def renew(self, resource: ApiResource, namespace: str) -> dict[ObjectId, str]:
        """Know nothing of this kind's objects (in this namespace) any more, and return whose they
        were: the cluster went back to an earlier state, where versions mean something else."""
        self.worlds += 1
        known = self._owner.get(GroupKind(resource.group, resource.kind), {})
        old = {id: own for id, own in known.items() if not namespace or id.namespace == namespace}
        for id in old:
            self._drop(id)
        return old

    # Below

    def _store(self, id: ObjectId, live: Live) -> None:
        known = self.get(id)
        if known is not None and known.owner != live.owner:
            del self._live[known.owner][id]
            self._ill.get(known.owner, {}).pop(id, None)
            self._bump(known.owner, id)
        self._live.setdefault(live.owner, {})[id] = live
        self._owner.setdefault(GroupKind(id.group, id.kind), {})[id] = live.owner
        if known is None or not _same(known, live) or known.intact != live.intact:
            self._bump(live.owner, id)

    def _bump(self, owner: str, id: ObjectId) -> None:
        self._revisions[owner] = self._revisions.get(owner, 0) + 1
        if owner in self._desired:
            self._changed.setdefault(owner, set()).add(id)

    def _remove(self, id: ObjectId, by: str = "") -> None:
        owner = self._drop(id)
        if owner is not None:
            self._notify(owner, id, ChangeKind.GONE, by)

    def _drop(self, id: ObjectId) -> str | None:
        """Know nothing of it any more; who had it."""
        owner = self._owner.get(GroupKind(id.group, id.kind), {}).pop(id, None)
        if owner is None:
            return None
        objects = self._live[owner]
        del objects[id]
        wanted = self._desired[owner].by_id.get(id) if owner in self._desired else None
        if wanted is None or wanted.lifetime is Lifetime.KEPT:
            self._endings.pop(id, None)
        self._ill.get(owner, {}).pop(id, None)
        self._bump(owner, id)
        if not objects:
            del self._live[owner]
            self._ill.pop(owner, None)
            if owner not in self._desired:
                del self._revisions[owner]
        return owner

    def _note_ending(self, id: ObjectId, live: Live, obj: Mapping[str, Any]) -> None:
        if not _may_end(id) or (live.deleting and id.kind == "Pod"):
            return
        ending = ending_of(id, obj)
        if ending in (Ending.SUCCEEDED, Ending.FAILED):
            self._endings[id] = ending
        else:
            self._endings.pop(id, None)

    def _forget_endings(self, before: Desired, now: Desired | None) -> None:
        """Of what no one wants any more, and is not there either."""
        for id in [id for id in self._endings if id in before.by_id]:
            if (now is None or id not in now.by_id) and self.get(id) is None:
                del self._endings[id]

    def _note_health(
        self,
        resource: ApiResource,
        id: ObjectId,
        live: Live,
        obj: Mapping[str, Any] | None,
        judged: Health | None,
    ) -> None:
        before = self._ill.get(live.owner, {}).get(id, HEALTHY)
        now = HEALTHY
        if obj is not None:
            own = (
                self.checks(live.owner)
                if judged is None
                else {GroupKind(id.group, id.kind): _as(judged)}
            )
            checks = {**self._checks, **own}
            reports = (
                "status" in resource.subresources
                and GroupKind(id.group, id.kind) not in self._silent
            )
            now = health_of(obj, has_status=reports, checks=checks)
        elif live.deleting:
            now = _GOING
        if now.status is HealthStatus.HEALTHY:
            self._ill.get(live.owner, {}).pop(id, None)
        else:
            self._ill.setdefault(live.owner, {})[id] = now
        if now.status is not before.status or now.message != before.message:
            self._notify(live.owner, id, ChangeKind.HEALTH)

    def _needs_full_object(self, id: ObjectId) -> bool:
        return needs_full_object(id.group, id.kind, self._checks)

    def _notify(self, owner: str, id: ObjectId, what: ChangeKind, by: str = "") -> None:
        if id in self._expected and what is not ChangeKind.HEALTH:
            return
        change = ObjectChange(owner=owner, id=id, what=what, by=by)
        for listener in tuple(self._listeners):
            listener(change)


def _as(judged: Health) -> HealthRule:
    def check(obj: Mapping[str, Any]) -> Health:
        return judged

    return check


class _AllOwned(Mapping[ObjectId, Live]):
    """Everybody's objects, as `make_plan`'s ``others``."""

    def __init__(self, owned: OwnedObjects) -> None:
        self._owned = owned

    def __getitem__(self, id: ObjectId) -> Live:
        live = self._owned.get(id)
        if live is None:
            raise KeyError(id)
        return live

    def __iter__(self) -> Iterator[ObjectId]:
        for objects in self._owned._live.values():
            yield from objects

    def __len__(self) -> int:
        return len(self._owned)


def _may_end(id: ObjectId) -> bool:
    return id.kind in ("Job", "Pod") or stage_of(id.group, id.kind) is ApplyStage.CUSTOM


def _same(one: Live, other: Live) -> bool:
    """Whether nothing that concerns us differs."""
    return (
        one.fields == other.fields
        and one.marker == other.marker
        and one.uid == other.uid
        and one.deleting == other.deleting
        and one.protected == other.protected
        and one.forced == other.forced
    )


def _seen(known: Live, applied: Live) -> bool:
    """Whether what an apply answered is known already, from the watch."""
    same = known.uid == applied.uid and known.resource_version == applied.resource_version
    return same or _newer(known, applied.uid, applied.resource_version)


def _newer(known: Live, uid: str, version: str) -> bool:
    """Whether what is known is a later state of the same object than that version of it.

    Versions of built-in kinds and CRDs are numbers that grow; of others nothing is assumed.
    """
    first = known.resource_version
    return known.uid == uid and first.isdigit() and version.isdigit() and int(first) > int(version)
