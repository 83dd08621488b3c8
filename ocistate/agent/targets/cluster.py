"""A Stack's objects in a cluster: planned from hashes, seen by watches, written as its account."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ocistate.agent.targets.base import Applied, HealthReport, Removed, allow_hint
from ocistate.agent.targets.removal import kept_messages, left_behind, unmark
from ocistate.agent.targets.shared import SharedCluster
from ocistate.agent.targets.summary import applied
from ocistate.agent.targets.vanished import WRITTEN, Vanished, note_begun, vanished
from ocistate.agent.targets.visibility import broken_kinds, forbidden_kinds, visibility_messages
from ocistate.agent.targets.wanted import Wanted, read_desired
from ocistate.api.stack import Stack
from ocistate.apply.barred import Barred
from ocistate.apply.desired.prepare import Desired
from ocistate.apply.executor import apply
from ocistate.apply.options import Options
from ocistate.apply.plan import (
    CONTESTED,
    DELETING,
    Plan,
    guard_prune,
    make_plan,
    plan_deletion,
    without,
)
from ocistate.apply.result import ApplyOutcome, ObjectState, Result
from ocistate.apply.unlisted import blind
from ocistate.apply.waves import hold_waves
from ocistate.apply.writer import IS_THERE
from ocistate.errors import ClusterError, ClusterUnavailable, MassPrune, OcistateError
from ocistate.health.cel_rules import CelCheck
from ocistate.health.evaluate import Health, HealthStatus, Summary, summarize
from ocistate.health.vanishing import Runs
from ocistate.kube.discovery import kind_of, kind_text
from ocistate.kube.errors import StatusError
from ocistate.kube.rights import DeleteRights
from ocistate.objects import GroupKind, ObjectId
from ocistate.ops.artifact.fetch import Content
from ocistate.watch.conflicts import Contest
from ocistate.watch.explain import explain

log = logging.getLogger("ocistate.agent")

_SYNC_SECONDS: Final = 60.0


@dataclass(slots=True)
class ClusterTarget:
    """One Stack's objects in a cluster."""

    cluster: SharedCluster
    stack: Stack
    _wanted: Wanted | None = None
    _clean: tuple[str, int] | None = None
    _whole: str = ""
    """The digest of which every wave has been applied."""
    _held: dict[ObjectId, Health] = field(default_factory=dict)
    """What waits for an earlier wave."""
    _planned: tuple[Desired, int, Plan] | None = None
    """What was planned a moment ago, and from what."""
    _settled: Desired | None = None
    """What the cluster was equal to, but for what `OwnedObjects.changed` names."""
    _there: set[ObjectId] = field(default_factory=set)
    """Others' objects that ``ifnotpresent`` is content with."""
    _before: frozenset[ObjectId] = frozenset()
    """What was wanted before, and is not now: it was ours, whatever its label says."""
    _rights: DeleteRights = field(default_factory=DeleteRights)
    _barred: Barred = field(default_factory=Barred)
    _world: int = 0
    """Which state of the cluster what is remembered here is of: `OwnedObjects.worlds`."""

    def kinds(self, content: Content) -> tuple[str, ...]:
        named = {GroupKind(e.id.group, e.id.kind) for e in content.inventory.resources}
        mine = self.cluster.owned.mine(self.stack.uid)
        # What it has left behind, since it is protected or pruning is off, goes with the Stack.
        left = {GroupKind(id.group, id.kind) for id, live in mine.items() if not live.deleting}
        # So may go what cannot be seen just now.
        unseen = set(self._broken(self._known_kinds()))
        return tuple(sorted(map(kind_text, named | left | unseen)))

    async def drifted(self, content: Content) -> Sequence[str]:
        owned = self.cluster.owned
        self._planned = None
        if self._world != owned.worlds:
            self._world, self._clean, self._settled = owned.worlds, None, None
            self._there.clear()
        self._mark_overruled_dirty()
        if self._clean == (content.digest, owned.revision(self.stack.uid)):
            return ()
        desired = await self._prepare(content)
        plan = await self._plan(desired)
        self._planned = (desired, owned.revision(self.stack.uid), plan)
        if plan.empty and not _waiting(plan):
            self._clean = (content.digest, owned.revision(self.stack.uid))
            self._settled = desired
            owned.settle(self.stack.uid)
        return [str(action.id) for action in (*plan.refuse, *plan.write, *plan.prune)]

    async def apply(self, content: Content, *, changed: bool, dry_run: bool = False) -> Applied:
        desired = await self._prepare(content)
        plan = await self._plan(desired)
        guarded: MassPrune | None = None
        if self.stack.allow_prune != content.digest:
            hint = allow_hint(content.digest)
            try:
                guard_prune(plan, percent=self.stack.spec.max_prune_percent, hint=hint)
            except MassPrune as error:
                if changed:
                    raise
                guarded = error  # what is to be repaired does not wait for anyone's consent
        # What happens meanwhile is not in the plan: the next pass finds out whether all is clean.
        self._clean = None
        outcome, wave = await self._carry_out_waves(plan, desired, prune=guarded is None)
        if guarded is not None:
            raise guarded
        if wave is None and outcome.ok:
            self._whole = content.digest
        runs = self._vanished().runs
        return applied(plan, outcome, changed=changed, wave=wave, runs=runs)

    async def health(self) -> HealthReport:
        wanted = self._wanted
        if wanted is None:
            return HealthReport(worst="Unknown", message="not applied yet")
        summary = self._summary(wanted)
        counts = {status.value.lower(): count for status, count in summary.counts.items()}
        troubles = [f"{id}: {health.message}" for id, health in summary.worst[:3]]
        known = self._known_kinds()
        troubles += visibility_messages(
            forbidden_kinds(self.cluster.watches.troubles, known | wanted.kinds),
            self._broken(known),
            wanted.kinds & self.cluster.watches.listed,
            total=len(wanted.kinds),
            impersonate=self.cluster.impersonate,
        )
        return HealthReport(
            counts={"total": summary.total, **counts},
            worst=summary.status.value,
            message="; ".join(troubles),
            contested=self._contests(wanted.desired),
            runs=self._vanished().runs,
        )

    async def explain(self) -> str:
        if self._wanted is None:
            return ""
        for id, _ in self._summary(self._wanted).worst[:1]:
            try:
                found = await explain(self.cluster.client, id)
            except ClusterError as error:
                log.debug("cannot explain %s: %s", id, error, extra={"stack": self.stack})
                return ""
            if found is not None:
                return f"{found[0]}: {found[1].message}"
        return ""

    def _mark_overruled_dirty(self) -> None:
        """Send again what admission overruled, when it is time: it may let us have our way now."""
        contested, owned = self.cluster.contested, self.cluster.owned
        if self.stack.spec.drift != "correct":
            return
        for id in contested.due(owned.mine(self.stack.uid)):
            owned.mark_dirty(id)

    def _vanished(self) -> Vanished:
        mortal = self._wanted.mortal if self._wanted is not None else ()
        return vanished(mortal, self.stack.uid, self.cluster.owned, self._runs())

    def _runs(self) -> Runs:
        return self.cluster.runs.setdefault(self.stack.uid, Runs())

    def _known_kinds(self) -> set[GroupKind]:
        """The kinds that the Stack's status remembers."""
        return {kind_of(text) for text in self.cluster.kinds_of(self.stack)}

    def _contests(self, desired: Desired) -> tuple[Contest, ...]:
        """What is contested now; it is looked at again when that may have changed."""
        contested, mine = self.cluster.contested, self.cluster.owned.mine(self.stack.uid)
        found = contested.of(desired.by_id)
        moving = [contested.moves_in(each) for each in found if each.id in mine]
        if moving and self.stack.spec.drift == "correct":
            self.cluster.wake_in(self.stack, max(min(moving), 0.1))
        return found

    def _note(self, plan: Plan, outcome: ApplyOutcome) -> None:
        """What admission made of what was sent, and what of it is meant to vanish."""
        contested = self.cluster.contested
        note_begun(plan, outcome, self._runs())
        for action in plan.write:
            if action.wanted and action.live and action.live.marker != action.wanted.marker:
                contested.forget(action.id)  # this content has not been contested yet
        for result in outcome.results:
            if result.state is ObjectState.DELETED:
                contested.forget(result.id)
            elif result.state in WRITTEN:
                contested.answered(result.id, result.overruled)

    def _summary(self, wanted: Wanted) -> Summary:
        """Of the health of all; what is there and healthy is only counted."""
        owned, by_id = self.cluster.owned, wanted.desired.by_id
        mine = owned.mine(self.stack.uid)
        left, gone = wanted.optional - mine.keys(), self._vanished().gone
        absent = by_id.keys() - mine.keys() - left
        bad = [(id, gone.get(id) or owned.health(id)) for id in absent]
        bad = [(id, health) for id, health in bad if health.status is not HealthStatus.HEALTHY]
        bad += [(id, ill) for id, ill in owned.unwell(self.stack.uid).items() if id in by_id]
        if self._held:
            bad = [each for each in bad if each[0] not in self._held] + [*self._held.items()]
        return summarize(bad, healthy=len(by_id) - len(left) - len(bad))

    def _broken(self, kinds: Collection[GroupKind]) -> dict[GroupKind, OcistateError]:
        return broken_kinds(self.cluster.watches.troubles, kinds)

    async def remove(self) -> Removed:
        owner, owned = self.stack.uid, self.cluster.owned
        kinds = self._known_kinds()
        owned.undesire(owner)
        await self._see(kinds | owned.kinds(owner))
        mine = dict(owned.mine(owner))
        plan = await self._confirmed(plan_deletion(owner, mine))
        outcome = await self._carry_out(plan)
        if error := outcome.error():
            raise error
        if broken := self._broken(kinds):
            named = "; ".join(f"{kind_text(kind)}: {e.message}" for kind, e in broken.items())
            raise ClusterError(
                f"objects that cannot be listed are not removed: {named}",
                hint="look at the kind's conversion webhook or API server",
            )
        kept = left_behind(outcome, mine)
        errors = await unmark(self.cluster.writer(self.stack), owner, kept)
        forbidden = forbidden_kinds(self.cluster.watches.troubles, self._known_kinds())
        return Removed(
            count=sum(result.state is ObjectState.DELETED for result in outcome.results),
            kept=kept_messages(outcome, kept, errors, forbidden),
        )

    async def release(self) -> None:
        await self._see(self._known_kinds())
        mine = dict(self.cluster.owned.mine(self.stack.uid))
        errors = await unmark(self.cluster.writer(self.stack), self.stack.uid, mine)
        for id, error in errors.items():
            log.warning("cannot release %s: %s", id, error, extra={"stack": self.stack})

    def forget(self) -> None:
        self.cluster.forget(self.stack)

    async def _prepare(self, content: Content) -> Desired:
        """What is wanted; the watches know it before they list, so that they can compare."""
        wanted = self._wanted
        if wanted is None or wanted.digest != content.digest or wanted.desired.unknown:
            again = wanted is not None and bool(wanted.desired.unknown)
            desired = await read_desired(self.cluster, self.stack, content, again=again)
            wanted = Wanted.of(desired, content.digest)
            if self._wanted is not None:
                self._before |= self._wanted.desired.by_id.keys()
            self._before -= wanted.desired.by_id.keys()
            self._wanted = wanted
            self._there.clear()
            self._held = {}
            self.cluster.watches.want(wanted.kinds)  # wakes those, too, that were not served
            self._runs().keep([each.id for each in wanted.mortal])
            self.cluster.owned.desire(wanted.desired)
        await self._check(self._known_kinds() | wanted.kinds)
        return wanted.desired

    async def _check(self, kinds: set[GroupKind]) -> None:
        """See the kinds by the Stack's own rules of health; again where these have changed."""
        owned, watches = self.cluster.owned, self.cluster.watches
        old = owned.rules.of_owner(self.stack.uid)
        new = {rule.group_kind: CelCheck.of(rule) for rule in self.stack.spec.wait.checks}
        other = {kind for kind in {*old, *new} if old.get(kind) != new.get(kind)}
        owned.rules.set_owner(self.stack.uid, new)
        again = other & kinds & watches.kinds
        await self._see(kinds)
        for kind in again:
            try:
                await watches.relist([kind])
            except StatusError as error:
                if error.status not in (403, 404):  # these are not seen anyway
                    owned.rules.set_owner(self.stack.uid, old)
                    raise
            except BaseException:
                owned.rules.set_owner(self.stack.uid, old)
                raise

    async def _see(self, kinds: set[GroupKind]) -> None:
        watches = self.cluster.watches
        self.cluster.need(self.stack, kinds)
        if not await watches.synced(kinds, timeout=_SYNC_SECONDS):
            troubles = "; ".join(str(e) for e in watches.troubles.values())
            raise ClusterUnavailable(
                f"Stack {self.stack}: its objects could not be listed within {_SYNC_SECONDS:g} s"
                + (f": {troubles}" if troubles else ""),
                hint="check the API server and the agent's rights",
            )

    async def _plan(self, desired: Desired) -> Plan:
        owned = self.cluster.owned
        revision = owned.revision(self.stack.uid)
        known, self._planned = self._planned, None
        if known is not None and known[0] is desired and known[1] == revision:
            return known[2]
        plan = make_plan(
            blind(desired, self._broken(desired.kinds), owned.mine(self.stack.uid)),
            owned.mine(self.stack.uid),
            owned.all,
            prune=self.stack.spec.prune,
            waits=self.cluster.contested.waits,
            adopt_from=self.cluster.adoptable_owners(self.stack),
            handed_to=self.cluster.handover_owners(self.stack),
            there=self._there,
            done=self._vanished().gone,
            only=owned.changed(self.stack.uid) if self._settled is desired else None,
            called=self._called,
        )
        return await self._confirmed(plan)

    def _called(self, owner: str) -> str:
        name = self.cluster.called(self.stack, owner)
        # An agent for one namespace can't tell a Stack of another one from one that is gone.
        return "" if self.cluster.namespaces is not None and name == owner else name

    async def _confirmed(self, plan: Plan) -> Plan:
        """The plan without what only claims to be this Stack's.

        Anyone who may write an object may write a label and a manager's name on it. What this
        process has seen applied is ours, and what our account may delete is ours to delete.
        """
        wanted = self._wanted.desired.by_id.keys() if self._wanted is not None else frozenset()
        unproven = {a.id for a in plan.prune if a.id not in self._before and a.id not in wanted}
        if not unproven:
            return plan
        allowed = await self._rights.over(self.cluster.writer(self.stack), unproven)
        return without(plan, unproven - allowed)

    async def _carry_out_waves(
        self, plan: Plan, desired: Desired, *, prune: bool
    ) -> tuple[ApplyOutcome, int | None]:
        """Carry out what is due of a plan; and the wave that the rest waits for."""
        self._held = {}
        if not prune:
            plan = replace(plan, prune=())
        if self._wanted is not None and self._whole == self._wanted.digest:
            return await self._carry_out(plan), None  # a repair waits for no wave
        results: list[Result] = []
        while True:
            healths = functools.partial(self._vanished().health_of, self.cluster.owned)
            due, wave = hold_waves(plan, desired, healths)
            outcome = await self._carry_out(due)
            results += outcome.results
            if wave is None or not outcome.ok or not due.write:
                break
            plan = await self._plan(desired)
            if not prune:
                plan = replace(plan, prune=())
        if wave is not None:
            waits = Health(HealthStatus.PROGRESSING, f"waits until wave {wave} is healthy")
            written = {action.id for action in due.write}
            self._held = {a.id: waits for a in plan.write if a.id not in written}
        return ApplyOutcome(results=tuple(results)), wave

    async def _carry_out(self, plan: Plan) -> ApplyOutcome:
        owned = self.cluster.owned
        with owned.expecting(plan):
            outcome = await apply(
                self.cluster.writer(self.stack),
                plan,
                Options(on_result=owned.note, barred=self._barred),
            )
        self._note(plan, outcome)
        defined = any(result.id.kind == "CustomResourceDefinition" for result in outcome.results)
        if defined and self._wanted is not None:
            self.cluster.watches.want(self._wanted.kinds)  # they may be served now
        self._there |= {
            result.id for result in outcome.results if result.reason == IS_THERE and not result.live
        }
        return outcome


def _waiting(plan: Plan) -> bool:
    return any(action.reason in (CONTESTED, DELETING) for action in plan.skip)


def cluster_target(
    cluster: SharedCluster, stack: Stack, wake: Callable[[float], None]
) -> ClusterTarget:
    """The target of one Stack; ``wake`` is called when something changed there."""
    cluster.join(stack, wake)
    return ClusterTarget(cluster, stack)
