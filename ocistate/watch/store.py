"""All live objects that carry a Stack's label, in a few hundred bytes each, and their changes.

`ocistate.watch.informer` feeds it; a plan reads it; listeners are notified of changes:

    owned = OwnedObjects(on_change=lambda change: queue.add(change.owner))
    plan = make_plan(desired, owned.mine(owner), owned.all)
    with owned.expecting(plan):
        outcome = await apply(client, plan, Options(on_result=owned.note))

No object is kept, only `Live` and, where it is not healthy, its `Health`. A change is reported when
something must be done about it: a field of ours was changed, an object appeared or went, or its
health changed. That a status or a field of others changed is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from ocistate.apply.desired.prepare import Desired
from ocistate.apply.live import checked, id_of, last_writer, live_of
from ocistate.apply.plan import Live, Plan
from ocistate.apply.result import ApplyOutcome, ObjectState, Result
from ocistate.health.model import HEALTHY, MISSING, NOT_REPORTED, Health, HealthRule, HealthStatus
from ocistate.health.vanishing import Ending, Lifetime, health_after
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.objects import GroupKind, ObjectId
from ocistate.watch.changes import ChangeKind, Listener, ObjectChange, is_newer, is_same, is_seen
from ocistate.watch.endings import Endings
from ocistate.watch.live_objects import LiveObjects
from ocistate.watch.rules import GOING, HealthRules

log = logging.getLogger("ocistate.cluster")

_UNSEEN: Final = Health(HealthStatus.PROGRESSING, "applied, and not yet seen since")


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
        self.rules = HealthRules(checks)
        """What is set here counts for what is seen from then on."""
        self.all = LiveObjects()
        """The objects of all owners, as `make_plan` wants others'. Do not modify."""
        self._ill: dict[str, dict[ObjectId, Health]] = {}
        self._revisions: dict[str, int] = {}
        self._changed: dict[str, set[ObjectId]] = {}
        self._desired: dict[str, Desired] = {}
        self._expected: set[ObjectId] = set()
        self._written: set[ObjectId] = set()
        self._endings = Endings()
        self.worlds = 0
        """How often the cluster turned out to be in an earlier state than it was known in."""

    # Reading

    def mine(self, owner: str) -> Mapping[ObjectId, Live]:
        """The live objects of an owner, as `make_plan` wants them. Do not modify."""
        return self.all.of(owner)

    def owners(self) -> list[str]:
        """Everyone who has objects, also those whose Stack is gone."""
        return self.all.owners()

    def get(self, id: ObjectId) -> Live | None:
        live: Live | None = self.all.get(id)
        return live

    def health(self, id: ObjectId) -> Health:
        """The health of an owned object, Missing for one that is not there and has not ended."""
        owner = self.all.owner(id)
        if owner is None:
            ending = self._endings.get(id)
            return MISSING if ending is None else health_after(ending)
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

        Of an owner of whom nothing is desired it is not kept: a first plan covers all.
        """
        return self._changed.get(owner, frozenset())

    def settle(self, owner: str) -> None:
        """A plan for all of the owner's objects has nothing to do."""
        self._changed.pop(owner, None)

    def kinds(self, owner: str = "") -> set[GroupKind]:
        """The kinds of which an owner, or anyone, has objects."""
        if owner:
            return {GroupKind(id.group, id.kind) for id in self.all.of(owner)}
        return self.all.kinds()

    def wanting(self, id: ObjectId) -> list[str]:
        """The owners that want an object, whichever of them has it."""
        return [owner for owner, desired in self._desired.items() if id in desired.by_id]

    def wanted(self, owner: str) -> Collection[ObjectId]:
        """What an owner wants."""
        desired = self._desired.get(owner)
        return desired.by_id.keys() if desired is not None else ()

    def __len__(self) -> int:
        return len(self.all)

    # What is wanted, and what was applied

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` too; the function returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def desire(self, desired: Desired) -> None:
        """Note what an owner wants, so that what is seen can be checked against it at once."""
        before = self._desired.get(desired.owner)
        self._desired[desired.owner] = desired
        if before is not None:
            self._forget_endings(before, desired)

    def undesire(self, owner: str) -> None:
        """Forget what an owner wanted."""
        if (before := self._desired.pop(owner, None)) is not None:
            self._forget_endings(before, None)
        self.rules.set_owner(owner, {})
        self._changed.pop(owner, None)
        if not self.all.of(owner):
            self._revisions.pop(owner, None)

    def assume_ended(self, ids: Iterable[ObjectId]) -> None:
        """Take it that those that are not there have ended, where nothing else was seen."""
        for id in ids:
            if self.get(id) is None:
                self._endings.assume(id)

    def silence(self, group: str, kind: str, silent: bool) -> None:
        """Note whether a kind never reports a status: of such a one nothing is waited for."""
        self.rules.silence(GroupKind(group, kind), silent)
        if not silent:
            return
        for id, owner in tuple(self.all.of_kind(GroupKind(group, kind)).items()):
            ill = self._ill.get(owner, {})
            if ill.get(id) == NOT_REPORTED:
                del ill[id]
                self._notify(owner, id, ChangeKind.HEALTH)

    @contextmanager
    def expecting(self, plan: Plan) -> Iterator[None]:
        """While a plan is carried out, what it causes is no drift.

        What others do meanwhile is reported at the end.
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
        """Take over what an apply learned of one object, at best before the watch reports it."""
        live = result.live
        if live is None:
            return
        id = result.id
        known = self.get(id)
        if result.state is ObjectState.DELETED:
            if known is not None and known.uid == live.uid:
                self._store(id, replace(known, deleting=True))
                self._ill.setdefault(known.owner, {})[id] = GOING
            return
        if id in self._expected:
            self._written.add(id)
        if known is not None and is_seen(known, live):
            if known.fields == live.fields and known.marker == live.marker:
                self._store(id, replace(known, intact=True))
        else:
            self._endings.forget(id)
            self._store(id, live)
            if result.state is ObjectState.APPLIED and self.rules.needs_full_object(id):
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
        in its status; it is evaluated and not kept. ``judged`` is what the rule of its owner
        made of it, if there is one (`HealthRules.of_object`).

        An error that its content causes in our own code ends here, as its health: the other
        objects of its kind must be seen.
        """
        id = id_of(resource, metadata)
        try:
            return self._see(resource, id, metadata, obj, judged)
        except Exception as error:
            log.exception("seeing %s failed unexpectedly", id)
            owner = self.all.owner(id)
            if owner is not None:
                words = f"it cannot be evaluated: {type(error).__name__}"
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
        if known is not None and is_newer(known, metadata.uid, metadata.resourceVersion):
            return id  # an event from before our last apply
        if live is None:
            self._remove(id, last_writer(metadata))
            return id
        if known is not None and known.owner != live.owner:
            self._remove(id)
            known = None
        drifted = False
        if known is not None and is_same(known, live):
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
            self._endings.note(id, live, obj)
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
            if last is not None:
                self._endings.note_deleted(id, last)
            self._remove(id)

    def only(
        self,
        resource: ApiResource,
        namespace: str,
        seen: Iterable[ObjectId],
        *,
        before: Mapping[ObjectId, str] | None = None,
    ) -> None:
        """After a complete list: what is not in it of this kind (and namespace), is gone.

        So is what was known ``before`` it, as `renew` returned that.
        """
        seen = set(seen)
        known = self.all.of_kind(GroupKind(resource.group, resource.kind))
        for id in set(known).difference(seen):
            if not namespace or id.namespace == namespace:
                self._remove(id)
        for id, owner in (before or {}).items():
            if id not in seen:
                self._notify(owner, id, ChangeKind.GONE)

    def renew(self, resource: ApiResource, namespace: str) -> dict[ObjectId, str]:
        """Know nothing of this kind's objects (in this namespace) any more, and return whose they
        were: the cluster went back to an earlier state, where versions mean something else."""
        self.worlds += 1
        known = self.all.of_kind(GroupKind(resource.group, resource.kind))
        old = {id: own for id, own in known.items() if not namespace or id.namespace == namespace}
        for id in old:
            self._drop(id)
        return old

    def _store(self, id: ObjectId, live: Live) -> None:
        known = self.get(id)
        if known is not None and known.owner != live.owner:
            self._ill.get(known.owner, {}).pop(id, None)
            self._bump(known.owner, id)
        self.all.put(id, live)
        if known is None or not is_same(known, live) or known.intact != live.intact:
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
        owner = self.all.drop(id)
        if owner is None:
            return None
        wanted = self._desired[owner].by_id.get(id) if owner in self._desired else None
        if wanted is None or wanted.lifetime is Lifetime.KEPT:
            self._endings.forget(id)
        self._ill.get(owner, {}).pop(id, None)
        self._bump(owner, id)
        if not self.all.of(owner):
            self._ill.pop(owner, None)
            if owner not in self._desired:
                del self._revisions[owner]
        return owner

    def _forget_endings(self, before: Desired, now: Desired | None) -> None:
        """Of what no one wants any more, and does not exist either."""
        for id in [id for id in self._endings if id in before.by_id]:
            if (now is None or id not in now.by_id) and self.get(id) is None:
                self._endings.forget(id)

    def _note_health(
        self,
        resource: ApiResource,
        id: ObjectId,
        live: Live,
        obj: Mapping[str, Any] | None,
        judged: Health | None,
    ) -> None:
        before = self._ill.get(live.owner, {}).get(id, HEALTHY)
        now = self.rules.evaluate(resource, live, obj, judged)
        if now.status is HealthStatus.HEALTHY:
            self._ill.get(live.owner, {}).pop(id, None)
        else:
            self._ill.setdefault(live.owner, {})[id] = now
        if now.status is not before.status or now.message != before.message:
            self._notify(live.owner, id, ChangeKind.HEALTH)

    def _notify(self, owner: str, id: ObjectId, what: ChangeKind, by: str = "") -> None:
        if id in self._expected and what is not ChangeKind.HEALTH:
            return
        change = ObjectChange(owner=owner, id=id, what=what, by=by)
        for listener in tuple(self._listeners):
            listener(change)
