"""A cluster as the target: plan from hashes, see by watches, write as the Stack's account."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ocistate.agent.targets.base import (
    Applied,
    HealthReport,
    Removed,
    allow_hint,
    ignore_rules,
    select_path,
)
from ocistate.agent.targets.shares import share
from ocistate.api.stack import DEFAULT_APPLIER, Stack
from ocistate.api.status import MOST_RUNS
from ocistate.apply.barred import Barred
from ocistate.apply.desired.confine import confine
from ocistate.apply.desired.prepare import ApplyMode, Desired, DesiredObject, prepare
from ocistate.apply.executor import IS_THERE, Options, apply
from ocistate.apply.ownership import Marked, mark_all
from ocistate.apply.plan import (
    CONTESTED,
    DELETING,
    Live,
    Plan,
    Verb,
    guard_prune,
    make_plan,
    plan_deletion,
    without,
)
from ocistate.apply.result import ApplyOutcome, ObjectState, Result
from ocistate.apply.unlisted import blind, is_broken, is_custom
from ocistate.apply.waves import hold_waves
from ocistate.artifact.known import KnownDocuments
from ocistate.errors import ClusterError, ClusterUnavailable, MassPrune, OcistateError
from ocistate.health.cel_rules import CelCheck
from ocistate.health.evaluate import Health, HealthStatus, Summary, summarize
from ocistate.health.vanishing import Ending, Lifetime, Run, Runs
from ocistate.install.manifests import VIEW_LABEL
from ocistate.kube.client import KubeClient, service_account
from ocistate.kube.discovery import Kinds, kind_text
from ocistate.kube.errors import StatusError
from ocistate.kube.rights import DeleteRights
from ocistate.objects import GroupKind, ObjectId, StackKey
from ocistate.ops.artifact.fetch import Content
from ocistate.watch.conflicts import Contest, Contested
from ocistate.watch.explain import explain
from ocistate.watch.informer import LIST_SECONDS, Watches
from ocistate.watch.store import ChangeKind, ObjectChange, OwnedObjects

log = logging.getLogger("ocistate.agent")

_SYNC_SECONDS: Final = 60.0
_NOT_OURS_ANY_MORE: Final = (404, 409, 422)
"""Answers to taking our mark off what is gone, or carries another one."""

_GATHER_SECONDS: Final = 0.2
"""Many objects tell of their health in a row: one pass is for all of them."""

_TRIM_SECONDS: Final = 2.0
"""A kind that no one needs may be needed again at once, as when a Stack is made again."""


def kind_of(text: str) -> GroupKind:
    """The inverse of ``kind_text``."""
    kind, _, group = text.partition(".")
    return GroupKind(group, kind)


@dataclass(slots=True)
class ClusterTargetFactory:
    """One cluster, shared by all Stacks that belong in it: one watch a kind for all together.

    ``impersonate`` has each Stack's writes done as a service account of its own namespace; without
    it, only Stacks that name one do so, and the others write as the agent.
    """

    client: KubeClient
    kinds_of: Callable[[Stack], tuple[str, ...]]
    impersonate: bool = True
    namespaces: tuple[str, ...] | None = None
    """Where all of this happens, and nowhere else; None: everywhere."""
    adoptable_owners: Callable[[Stack], Collection[str]] = lambda stack: ()
    """The owners that a Stack may take objects over from."""
    handover_owners: Callable[[Stack], Collection[str]] = lambda stack: ()
    """The owners that a Stack leaves its objects to."""
    called: Callable[[Stack, str], str] = lambda stack, owner: owner
    """How a Stack may hear of another owner; empty where it may not."""
    contests: Callable[[Stack], Sequence[Contest]] = lambda stack: ()
    """What a Stack's status says of contested objects."""
    runs_of: Callable[[Stack], Sequence[Run]] = lambda stack: ()
    """What a Stack's status says of objects that were meant to vanish."""
    fence: Callable[[StackKey], None] | None = None
    """Raises before a write that is another agent's to do."""
    noticed: Callable[[OcistateError | None], None] = lambda trouble: None
    """Told when a watch has trouble, and by None when that is over."""
    owned: OwnedObjects = field(init=False)
    watches: Watches = field(init=False)
    contested: Contested = field(default_factory=Contested)
    runs: dict[str, Runs] = field(default_factory=dict)
    """By Stack: what was applied of objects that are meant to vanish."""
    documents: dict[str, KnownDocuments] = field(default_factory=dict)
    """By Stack: what its last artifact held, so that of the next only what is new is parsed."""
    _wakes: dict[str, Callable[[float], None]] = field(default_factory=dict)
    _needs: dict[str, frozenset[GroupKind]] = field(default_factory=dict)
    """By Stack: the kinds that must be seen for it."""
    _watched: set[GroupKind] = field(default_factory=set)
    """Those of them that are watched; the others are listed."""
    _trimming: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.owned = OwnedObjects(self._changed)
        self.watches = Watches(
            self.client,
            self.owned,
            namespaces=self.namespaces,
            on_trouble=lambda kind, trouble: self.noticed(trouble),
        )

    def stack_target(self, stack: Stack, wake: Callable[[float], None]) -> ClusterTarget:
        """The place of one Stack."""
        if stack.uid not in self._wakes:
            for contest in self.contests(stack):
                self.contested.resume(contest)
            self.runs[stack.uid] = Runs.of(self.runs_of(stack))
        self._wakes[stack.uid] = wake
        return ClusterTarget(self, stack)

    def wake_in(self, stack: Stack, after: float) -> None:
        """Have a Stack looked at in some seconds."""
        if wake := self._wakes.get(stack.uid):
            wake(after)

    def writer(self, stack: Stack) -> KubeClient:
        """The client that a Stack's objects are written and its secrets are read with."""
        account = stack.spec.service_account_name or (DEFAULT_APPLIER if self.impersonate else "")
        client, fence = self.client, self.fence
        if account:
            client = client.impersonating(service_account(stack.namespace, account))
        return client.guarded(lambda: fence(stack.key)) if fence is not None else client

    def wake(self) -> None:
        """Have all Stacks look."""
        for wake in self._wakes.values():
            wake(0.0)

    def forget(self, stack: Stack) -> None:
        """The Stack is gone."""
        self._wakes.pop(stack.uid, None)
        self.documents.pop(stack.uid, None)
        self.runs.pop(stack.uid, None)
        for id in self.owned.wanted(stack.uid):
            self.contested.forget(id)
        self.owned.undesire(stack.uid)
        if self._needs.pop(stack.uid, None):
            self._share()
            self._trim_soon()

    def need(self, stack: Stack, kinds: Collection[GroupKind]) -> None:
        """Watch these kinds for a Stack; those that it needed before are let go after a while."""
        before = self._needs.get(stack.uid, frozenset())
        self._needs[stack.uid] = frozenset(kinds)
        if before != self._needs[stack.uid]:
            self._share()
        self.watches.want(frozenset(kinds) - self.watches.kinds)
        if not before <= self._needs[stack.uid]:
            self._trim_soon()

    def _share(self) -> None:
        self._watched = share(self._needs, self._watched)
        self.watches.listed = frozenset().union(*self._needs.values()) - self._watched

    def sizes(self) -> dict[str, int]:
        """How much is held of the cluster, by what it is."""
        kinds, listed = len(self.watches.kinds), len(self.watches.kinds & self.watches.listed)
        return {
            "objects": len(self.owned),
            "kinds_watched": kinds - listed,
            "kinds_listed": listed,
            "documents": sum(len(known) for known in self.documents.values()),
            "contested": len(self.contested),
        }

    def _trim_soon(self) -> None:
        if self._trimming is None or self._trimming.done():
            self._trimming = asyncio.create_task(self._trim())

    async def _trim(self) -> None:
        await asyncio.sleep(_TRIM_SECONDS)
        # What a Stack left behind on purpose is seen still: it may have to be removed with it.
        kept = [self.owned.kinds(owner) for owner in self._needs]
        if ended := await self.watches.trim(frozenset().union(*self._needs.values(), *kept)):
            names = ", ".join(sorted(map(kind_text, ended)))
            log.info("no Stack needs these kinds any more, they are not watched: %s", names)

    def _changed(self, change: ObjectChange) -> None:
        wake = self._wakes.get(change.owner)
        if wake is None:
            # The last of an owner that is gone: another one may wait for the name.
            heirs = self.owned.wanting(change.id) if change.what is ChangeKind.GONE else ()
            for heir in heirs:
                if heir in self._wakes:
                    self._wakes[heir](_GATHER_SECONDS)
            return
        if change.what is ChangeKind.HEALTH or change.what is ChangeKind.APPEARED:
            wake(_GATHER_SECONDS)
        else:
            # Another writer that never stops is not fought at full speed.
            wake(self.contested.drifted(change.id, change.by))


@dataclass(slots=True)
class ClusterTarget:
    """One Stack's objects in a cluster."""

    cluster: ClusterTargetFactory
    stack: Stack
    _desired: Desired | None = None
    _digest: str = ""
    _clean: tuple[str, int] | None = None
    _whole: str = ""
    """The digest of which every wave has been applied."""
    _held: dict[ObjectId, Health] = field(default_factory=dict)
    """What waits for an earlier wave."""
    _planned: tuple[Desired, int, Plan] | None = None
    """What was planned a moment ago, and from what."""
    _settled: Desired | None = None
    """What the place was equal to, but for what `OwnedObjects.changed` names."""
    _there: set[ObjectId] = field(default_factory=set)
    """Others' objects that ``ifnotpresent`` is content with."""
    _mortal: tuple[DesiredObject, ...] = ()
    """What is meant to vanish."""
    _optional: frozenset[ObjectId] = frozenset()
    """What need not be there, or not be ours."""
    _kinds: frozenset[GroupKind] = frozenset()
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
        unseen = set(self._broken({kind_of(text) for text in self.cluster.kinds_of(self.stack)}))
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
        # What happens meanwhile is not in the plan: whether all is clean, the next look must tell.
        self._clean = None
        outcome, wave = await self._carry_out_waves(plan, desired, prune=guarded is None)
        if guarded is not None:
            raise guarded
        if wave is None and outcome.ok:
            self._whole = content.digest
        runs = self._vanished().runs
        return _applied(plan, outcome, changed=changed, wave=wave, runs=runs)

    async def health(self) -> HealthReport:
        if self._desired is None:
            return HealthReport(worst="Unknown", message="not applied yet")
        summary = self._summary(self._desired)
        counts = {status.value.lower(): count for status, count in summary.counts.items()}
        troubles = [f"{id}: {health.message}" for id, health in summary.worst[:3]]
        if blind := self._unseen_kinds(self._kinds):
            who, way = "the agent", f"a ClusterRole with the label {VIEW_LABEL} gives it the right"
            if not self.cluster.impersonate:
                who, way = "the kubeconfig's user", "it needs the rights to list and watch them"
            troubles.append(
                f"{who} may not list {', '.join(blind)}: neither drift there nor what to prune is "
                f"seen ({way})"
            )
        broken = self._broken({kind_of(text) for text in self.cluster.kinds_of(self.stack)})
        troubles += [
            f"{kind_text(kind)} cannot be listed, and nothing of it is pruned: {error.message}"
            for kind, error in broken.items()
        ]
        if listed := sorted(map(kind_text, self._kinds & self.cluster.watches.listed)):
            names = ", ".join(listed[:3]) + (" …" if len(listed) > 3 else "")
            troubles.append(
                f"{len(listed)} of its {len(self._kinds)} kinds are too many to be watched, and "
                f"listed every {LIST_SECONDS:.0f} s: {names}"
            )
        message = "; ".join(troubles)
        return HealthReport(
            counts={"total": summary.total, **counts},
            worst=summary.status.value,
            message=message,
            contested=self._contests(self._desired),
            runs=self._vanished().runs,
        )

    async def explain(self) -> str:
        if self._desired is None:
            return ""
        for id, _ in self._summary(self._desired).worst[:1]:
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
        """What was meant to vanish and has, with the health that it left; and what to remember."""
        owned, runs = self.cluster.owned, self.cluster.runs.setdefault(self.stack.uid, Runs())
        mine = owned.mine(self.stack.uid)
        gone: dict[ObjectId, Health] = {}
        for wanted in self._mortal:
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
        runs = self.cluster.runs.setdefault(self.stack.uid, Runs())
        written = {
            r.id for r in outcome.results if r.state in (ObjectState.APPLIED, ObjectState.UNCHANGED)
        }
        for action in plan.write:
            wanted = action.wanted
            if wanted and wanted.id in written and wanted.lifetime is Lifetime.ONCE:
                runs.began(wanted.id, wanted.marker)
        for action in plan.write:
            if action.wanted and action.live and action.live.marker != action.wanted.marker:
                contested.forget(action.id)  # no one has said anything to this yet
        for result in outcome.results:
            if result.state is ObjectState.DELETED:
                contested.forget(result.id)
            elif result.state in (ObjectState.APPLIED, ObjectState.UNCHANGED):
                contested.answered(result.id, result.overruled)

    def _summary(self, desired: Desired) -> Summary:
        """Of the health of all; what is there and healthy is only counted."""
        owned = self.cluster.owned
        mine = owned.mine(self.stack.uid)
        left, gone = self._optional - mine.keys(), self._vanished().gone
        absent = desired.by_id.keys() - mine.keys() - left
        bad = [(id, gone.get(id) or owned.health(id)) for id in absent]
        bad = [(id, health) for id, health in bad if health.status is not HealthStatus.HEALTHY]
        ill = owned.unwell(self.stack.uid)
        bad += [(id, health) for id, health in ill.items() if id in desired.by_id]
        if self._held:
            bad = [each for each in bad if each[0] not in self._held] + [*self._held.items()]
        return summarize(bad, healthy=len(desired.by_id) - len(left) - len(bad))

    def _unseen_kinds(self, desired: Collection[GroupKind]) -> list[str]:
        known = {kind_of(text) for text in self.cluster.kinds_of(self.stack)}.union(desired)
        return sorted(
            kind_text(GroupKind(group, kind))
            for (group, kind, _), error in self.cluster.watches.troubles.items()
            if GroupKind(group, kind) in known
            and isinstance(error, StatusError)
            and error.status == 403
        )

    def _broken(self, kinds: Collection[GroupKind]) -> dict[GroupKind, OcistateError]:
        """Those of these kinds that cannot be listed, and why."""
        return {
            kind: error
            for key, error in self.cluster.watches.troubles.items()
            if (kind := GroupKind(*key[:2])) in kinds and is_custom(*kind) and is_broken(error)
        }

    async def remove(self) -> Removed:
        owner = self.stack.uid
        kinds = {kind_of(text) for text in self.cluster.kinds_of(self.stack)}
        self.cluster.owned.undesire(owner)
        await self._see(kinds | self.cluster.owned.kinds(owner))
        mine = dict(self.cluster.owned.mine(owner))
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
        # No one deletes these any more: with our label left on, the next Stack would be refused.
        kept = {
            result.id: mine[result.id]
            for result in outcome.results
            if result.state is ObjectState.SKIPPED and not mine[result.id].deleting
        }
        errors = await self._let_go(kept)
        told = [
            f"{result.id} ({result.reason}"
            + (f"; its mark stays: {errors[result.id]})" if result.id in errors else ")")
            for result in outcome.results
            if result.id in kept
        ]
        if unseen := self._unseen_kinds(()):
            told.append(f"whatever there is of {', '.join(unseen)}, which may not be listed")
        count = sum(result.state is ObjectState.DELETED for result in outcome.results)
        return Removed(count=count, kept=tuple(told))

    async def release(self) -> None:
        # With our label left on, the next Stack would be told that they belong to another one.
        await self._see({kind_of(text) for text in self.cluster.kinds_of(self.stack)})
        mine = self.cluster.owned.mine(self.stack.uid)
        for id, error in (await self._let_go(dict(mine))).items():
            log.warning("cannot release %s: %s", id, error, extra={"stack": self.stack})

    async def _let_go(self, objects: Mapping[ObjectId, Live]) -> dict[ObjectId, ClusterError]:
        """Take our mark off objects that still carry it; of those that keep it, why."""
        marked = [
            Marked(id=id, uid=live.uid, owner=self.stack.uid, has_digest=bool(live.marker))
            for id, live in objects.items()
        ]
        errors: dict[ObjectId, ClusterError] = {}
        for each, error in await mark_all(self.cluster.writer(self.stack), marked):
            if isinstance(error, StatusError):
                if error.status not in _NOT_OURS_ANY_MORE:
                    errors[each.id] = error
            elif error is not None:
                raise error
        return errors

    def forget(self) -> None:
        self.cluster.forget(self.stack)

    async def _prepare(self, content: Content) -> Desired:
        """What is wanted, told to the watches before they list, so that they can compare."""
        desired = self._desired
        if desired is None or self._digest != content.digest or desired.unknown:
            stack = self.stack
            max_age = 1.0 if desired is not None and desired.unknown else None
            served = await self.cluster.client.kinds(max_age=max_age)
            documents = self.cluster.documents.setdefault(stack.uid, KnownDocuments())
            desired = await asyncio.to_thread(self._desire, content, served, documents)
            if self._desired is not None:
                self._before |= self._desired.by_id.keys()
            self._before -= desired.by_id.keys()
            self._desired, self._digest = desired, content.digest
            self._there.clear()
            self._kinds = desired.kinds
            self._held = {}
            self.cluster.watches.want(self._kinds)  # also wakes those for kinds that were not there
            self._optional = frozenset(
                each.id
                for each in desired.wanted
                if each.mode in (ApplyMode.IGNORE, ApplyMode.IF_NOT_PRESENT)
            )
            self._mortal = tuple(w for w in desired.wanted if w.lifetime is not Lifetime.KEPT)
            runs = self.cluster.runs.setdefault(stack.uid, Runs())
            runs.keep([wanted.id for wanted in self._mortal])
            self.cluster.owned.desire(desired)
        known = {kind_of(text) for text in self.cluster.kinds_of(self.stack)}
        await self._check(known | self._kinds)
        return desired

    def _desire(self, content: Content, served: Kinds, documents: KnownDocuments) -> Desired:
        """What an artifact wants. Takes seconds for a large one: not for an event loop."""
        stack = self.stack
        chosen = select_path(content, stack.spec.source.path)
        resources = [r for r in content.resources(documents).values() if r.path in chosen]
        content.rest()
        desired = prepare(
            resources,
            owner=stack.uid,
            artifact=content.digest,
            namespaced=served.namespaced,
            namespace=stack.spec.namespace or stack.namespace,
            force_namespace=stack.spec.force_namespace,
            ignore=ignore_rules(stack),
        )
        namespaces = self.cluster.namespaces
        return desired if namespaces is None else confine(desired, namespaces)

    async def _check(self, kinds: set[GroupKind]) -> None:
        """See the kinds by the Stack's own rules of health; again where these have changed."""
        owned, watches = self.cluster.owned, self.cluster.watches
        old, new = (
            owned.checks(self.stack.uid),
            {rule.group_kind: CelCheck.of(rule) for rule in self.stack.spec.wait.checks},
        )
        other = {kind for kind in {*old, *new} if old.get(kind) != new.get(kind)}
        owned.check(self.stack.uid, new)
        again = other & kinds & watches.kinds
        await self._see(kinds)
        for kind in again:
            try:
                await watches.relist([kind])
            except StatusError as error:
                if error.status not in (403, 404):  # else there is nothing seen of it anyway
                    owned.check(self.stack.uid, old)
                    raise
            except BaseException:
                owned.check(self.stack.uid, old)
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
            blind(desired, self._broken(self._kinds), owned.mine(self.stack.uid)),
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

        Whoever may write an object may write a label and a manager's name on it. What this process
        has seen applied is ours, and what our account may delete is ours to delete.
        """
        wanted = self._desired.by_id.keys() if self._desired is not None else frozenset()
        doubtful = {a.id for a in plan.prune if a.id not in self._before and a.id not in wanted}
        if not doubtful:
            return plan
        allowed = await self._rights.over(self.cluster.writer(self.stack), doubtful)
        return without(plan, doubtful - allowed)

    async def _carry_out_waves(
        self, plan: Plan, desired: Desired, *, prune: bool
    ) -> tuple[ApplyOutcome, int | None]:
        """Carry out what is due of a plan; and the wave that the rest waits for."""
        self._held = {}
        if not prune:
            plan = replace(plan, prune=())
        if self._whole == self._digest:
            return await self._carry_out(plan), None  # a repair waits for no one
        results: list[Result] = []
        while True:
            gone, owned = self._vanished().gone, self.cluster.owned
            healths = functools.partial(_health_of, gone, owned)
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
        if any(result.id.kind == "CustomResourceDefinition" for result in outcome.results):
            self.cluster.watches.want(self._kinds)  # those that were not served are, maybe
        self._there |= {
            result.id for result in outcome.results if result.reason == IS_THERE and not result.live
        }
        return outcome


@dataclass(frozen=True, slots=True)
class Vanished:
    """Of objects that are meant to vanish: the health of those that have, and the memory."""

    gone: Mapping[ObjectId, Health]
    runs: tuple[Run, ...]


def _health_of(gone: Mapping[ObjectId, Health], owned: OwnedObjects, id: ObjectId) -> Health:
    return gone.get(id) or owned.health(id)


def _waiting(plan: Plan) -> bool:
    return any(action.reason in (CONTESTED, DELETING) for action in plan.skip)


def _applied(
    plan: Plan, outcome: ApplyOutcome, *, changed: bool, wave: int | None, runs: tuple[Run, ...]
) -> Applied:
    def count(verb: Verb, *states: ObjectState) -> int:
        return sum(r.verb is verb and r.state in states for r in outcome.results)

    unchanged = sum(r.state is ObjectState.UNCHANGED for r in outcome.results)
    return Applied(
        runs=runs,
        created=count(Verb.CREATE, ObjectState.APPLIED),
        changed=count(Verb.CHANGE, ObjectState.APPLIED),
        kept=len(plan.keep) + plan.untouched + unchanged,
        pruned=sum(r.state is ObjectState.DELETED for r in outcome.results),
        # In the same order each time, so that the status stays the same.
        errors=tuple(sorted(str(r.error or r.reason) for r in outcome.failed)),
        waiting="" if wave is None else f"the others wait until wave {wave} is healthy",
        drifted=()
        if changed
        else tuple(
            str(r.id)
            for r in outcome.results
            if r.state in (ObjectState.APPLIED, ObjectState.DELETED)
        ),
    )
