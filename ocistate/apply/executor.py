"""Carry out a plan: staged server-side apply, then pruning.

    outcome = await apply(client, plan, on_result=show)
    if error := outcome.error(): raise error

Objects of one wave and stage go together, ``concurrency`` at a time. Every object has its own
result: one that is refused does not stop the others, except those that need it (objects in its
namespace, objects of its kind) and later waves. Nothing is pruned when anything failed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

from ocistate.apply.barred import Barred
from ocistate.apply.desired.prepare import ApplyMode, DesiredObject, body, defined_kind
from ocistate.apply.fields.migration import has_former_manager, leave_fields, make_room, take_over
from ocistate.apply.fields.mutation import read_answer
from ocistate.apply.live import live_of
from ocistate.apply.plan import Action, Live, Plan, Verb
from ocistate.apply.preview import preview
from ocistate.apply.prune import Prune
from ocistate.apply.result import ApplyOutcome, ObjectState, Result
from ocistate.apply.send import send
from ocistate.concurrency import together
from ocistate.errors import ApplyFailed, ClusterError, ClusterUnavailable, OcistateError
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import Kinds
from ocistate.kube.errors import StatusError
from ocistate.kube.refusals import explained, is_exclusive, is_immutable, is_passing
from ocistate.kube.stages import ApplyStage
from ocistate.objects import GroupKind, ObjectId

IS_THERE: Final = "is there: ocistate.dev/apply is ifnotpresent"
RECREATED: Final = "would be deleted and created again"
_ATTEMPTS: Final = 6
_PATIENCE: Final = 300.0
"""Seconds that all objects together may spend waiting for another try: a webhook that is down for
thousands of them must not keep the rest waiting for the better part of an hour."""
_ESTABLISHED_TIMEOUT: Final = 60.0
_GONE_TIMEOUT: Final = 120.0

StageGate = Callable[[Sequence[ObjectId]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to apply.

    ``force`` takes fields from other managers. ``takeover`` makes fields of an object's former
    tool ours. ``gate`` is awaited between waves with the ids of the wave before; what it raises
    stops the later waves. ``barred`` is what could not be written before. ``sleep``, ``clock`` and
    ``rng`` are passed in by tests.
    """

    concurrency: int = 16
    dry_run: bool = False
    force: bool = True
    takeover: bool = True
    gate: StageGate | None = None
    prune: Prune = field(default_factory=Prune)
    barred: Barred = field(default_factory=Barred)
    on_result: Callable[[Result], None] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    rng: Callable[[], float] = random.random


async def apply(client: KubeClient, plan: Plan, options: Options | None = None) -> ApplyOutcome:
    """Carry out ``plan`` and return what became of every object that was not simply kept.

    Raises only what concerns no single object: ConfigError for credentials. A cluster that cannot
    be reached any more makes the rest fail at once, each with that reason.
    """
    return await _Run(client, plan, options or Options()).run()


class _Run:
    """One apply under way."""

    def __init__(self, client: KubeClient, plan: Plan, options: Options) -> None:
        self.client = client
        self.plan = plan
        self.options = options
        self.results: list[Result] = []
        self.stopped: OcistateError | None = None
        self.patience = _PATIENCE
        self.there: set[ObjectId] = set()
        self.missing_namespaces: set[str] = set()
        self.missing_kinds: set[GroupKind] = set()
        self.defines = {
            action.id: _defined_kind(action.wanted)
            for action in plan.write
            if action.wanted is not None and action.id.kind == "CustomResourceDefinition"
        }
        new = [action.id for action in plan.write if action.verb is Verb.CREATE]
        self.new_namespaces = {id.name for id in new if id.kind == "Namespace" and not id.group}
        self.new_kinds = {self.defines[id] for id in new if id in self.defines}

    async def run(self) -> ApplyOutcome:
        for action in (*self.plan.refuse, *self.plan.skip):
            state = ObjectState.FAILED if action.verb is Verb.REFUSE else ObjectState.SKIPPED
            self._report(_result(action, state, error=action.error))
        await self._write()
        if self.plan.prune:
            await self._prune()
        return ApplyOutcome(results=tuple(self.results))

    async def _write(self) -> None:
        before: list[ObjectId] = []
        for wave, actions in groupby(self.plan.write, key=lambda action: action.order[0]):
            of_wave = list(actions)
            if before and self.stopped is None:
                await self._between_waves(before, wave)
            for (_, stage), staged in groupby(of_wave, key=lambda action: action.order):
                at_once = list(staged)
                await self._all(at_once, self._one)
                if stage == ApplyStage.DEFINITIONS and not self.options.dry_run:
                    await self._established(at_once)
            before = [action.id for action in of_wave]

    async def _between_waves(self, ids: Sequence[ObjectId], wave: int) -> None:
        if any(result.state is ObjectState.FAILED for result in self.results):
            self.stopped = ApplyFailed(f"wave {wave} was not begun: an earlier wave failed")
        elif self.options.gate is not None and not self.options.dry_run:
            try:
                await self.options.gate(ids)
            except OcistateError as error:
                self.stopped = ApplyFailed(f"wave {wave} was not begun: {error.message}")

    async def _all(
        self, actions: Iterable[Action], work: Callable[[Action], Awaitable[Result]]
    ) -> None:
        """Work on all actions, ``concurrency`` at a time, reporting each as it is done."""
        queue = iter(actions)

        async def worker() -> None:
            for action in queue:
                if self.stopped is not None:
                    self._report(_result(action, ObjectState.SKIPPED, reason=self.stopped.message))
                    continue
                try:
                    result = await work(action)
                except ClusterUnavailable as error:
                    self.stopped = error
                    result = _result(action, ObjectState.FAILED, error=error)
                except ClusterError as error:
                    result = _result(action, ObjectState.FAILED, error=_with_hint(error))
                self._report(result)

        await together(worker() for _ in range(self.options.concurrency))

    def _report(self, result: Result) -> None:
        self.results.append(result)
        # Only what is not there at all takes others along: a Namespace that another Stack owns, or
        # that could not be changed, still holds objects.
        new = result.verb is Verb.CREATE and result.id not in self.there
        if result.state is ObjectState.FAILED and new:
            if result.id.kind == "Namespace" and not result.id.group:
                self.missing_namespaces.add(result.id.name)
            elif result.id in self.defines:
                self.missing_kinds.add(self.defines[result.id])
        if self.options.on_result is not None:
            self.options.on_result(result)

    # One object

    async def _one(self, action: Action) -> Result:
        wanted = action.wanted
        assert wanted is not None
        if wanted.id.namespace in self.missing_namespaces:
            return _result(action, ObjectState.SKIPPED, reason="its Namespace could not be applied")
        if GroupKind(wanted.id.group, wanted.id.kind) in self.missing_kinds:
            return _result(
                action,
                ObjectState.SKIPPED,
                reason="its CustomResourceDefinition could not be applied",
            )
        if self.options.dry_run and (reason := self._too_early(wanted)):
            return _result(action, ObjectState.SKIPPED, reason=reason)
        barred, new = self.options.barred, action.live is None
        if (refusal := barred.refusal(wanted.id, new=new)) is not None:
            return _result(action, ObjectState.FAILED, error=refusal)
        try:
            result = await self._put(action, wanted)
        except ClusterError as error:
            told = _with_hint(error)
            barred.refused(wanted.id, told, new=new)
            raise told from None
        barred.written(wanted.id, new=new)
        return result

    async def _put(self, action: Action, wanted: DesiredObject) -> Result:
        adopted = action.live is not None and action.live.adopted
        if action.live is None and wanted.stage <= ApplyStage.DEFINITIONS:
            adopted = await self.client.get(wanted.id, metadata_only=True) is not None
            if adopted:
                self.there.add(wanted.id)
        if wanted.pointers and action.live is not None and not self.options.dry_run:
            await leave_fields(self.client, wanted, _version(wanted))
        obj = body(wanted, self.plan.owner, adopted=adopted)
        if wanted.mode is ApplyMode.IF_NOT_PRESENT and action.live is None:
            return await self._create(action, obj)
        return await self._apply(action, wanted, obj)

    async def _apply(self, action: Action, wanted: DesiredObject, obj: dict[str, Any]) -> Result:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if self.options.dry_run:
                    return await self._preview(action, wanted, obj)
                metadata, others = await self._send(wanted, obj)
                if self.options.takeover and has_former_manager(metadata):
                    await take_over(self.client, wanted.id, version=_version(wanted))
                    metadata, others = await self._send(wanted, obj)
                return replace(_written(action, metadata), overruled=others)
            except StatusError as error:
                if wanted.mode is ApplyMode.RECREATE and await self._helps(obj, error):
                    return await self._recreate(action, wanted, obj)
                if attempt == _ATTEMPTS or self.patience <= 0 or not is_passing(error):
                    raise
            await self._pause(attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(
        self, wanted: DesiredObject, obj: dict[str, Any]
    ) -> tuple[codec.Metadata, tuple[str, ...]]:
        """The metadata of what the server made of it, and the fields that it stored otherwise."""
        try:
            sent, data = await send(self.client, obj, force=self.options.force)
        except StatusError as error:
            if not self.options.force or not await make_room(
                self.client,
                wanted.id,
                obj,
                error,
                takeover=self.options.takeover,
                version=_version(wanted),
            ):
                raise
            sent, data = await send(self.client, obj)
        return read_answer(sent, data)

    async def _preview(self, action: Action, wanted: DesiredObject, obj: dict[str, Any]) -> Result:
        found = await preview(
            self.client,
            wanted.id,
            obj,
            force=self.options.force,
            takeover=self.options.takeover,
            version=_version(wanted),
            ignored=wanted.pointers,
        )
        state = ObjectState.APPLIED if found.changes else ObjectState.UNCHANGED
        return replace(_result(action, state), overruled=found.overruled, preview=found)

    async def _create(self, action: Action, obj: dict[str, Any]) -> Result:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                live = await self.client.create(obj, dry_run=self.options.dry_run)
                return _written(action, codec.decode_as(codec.PARTIAL, codec.encode(live)).metadata)
            except StatusError as error:
                if error.code == "AlreadyExists":
                    return _result(action, ObjectState.SKIPPED, reason=IS_THERE)
                if attempt == _ATTEMPTS or self.patience <= 0 or not is_passing(error):
                    raise
            await self._pause(attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _helps(self, obj: Mapping[str, Any], error: StatusError) -> bool:
        """Whether an object that was refused would be accepted if there were none yet."""
        if is_immutable(error) or not is_exclusive(error):
            return is_immutable(error)
        # It may be wrong by itself: nothing is deleted for that.
        metadata = {**obj["metadata"], "name": f"{obj['metadata']['name'][:240]}-new"}
        try:
            await self.client.create({**obj, "metadata": metadata}, dry_run=True)
        except StatusError as refusal:
            return refusal.status != 422
        return True

    async def _recreate(self, action: Action, wanted: DesiredObject, obj: dict[str, Any]) -> Result:
        """Delete the object, wait until it is gone, create it again."""
        if self.options.dry_run:
            return _result(action, ObjectState.APPLIED, reason=RECREATED)
        live = await self.client.get(wanted.id, metadata_only=True)
        if live is not None:
            uid = live["metadata"]["uid"]
            await self.client.delete(wanted.id, uid=uid)
            deadline = self.options.clock() + _GONE_TIMEOUT
            pause = 0.05
            while live is not None and live["metadata"]["uid"] == uid:
                if self.options.clock() > deadline:
                    held = ", ".join(live["metadata"].get("finalizers") or ()) or "nothing we see"
                    raise ClusterError(
                        f"recreate {wanted.id}: still there after {_GONE_TIMEOUT:.0f} s, held by "
                        f"{held}",
                        hint="look at the controller that should remove the finalizer",
                    )
                await self.options.sleep(pause)
                pause = min(pause * 2, 1.0)
                live = await self.client.get(wanted.id, metadata_only=True)
        result = await self._apply(action, replace(wanted, mode=ApplyMode.APPLY), obj)
        return replace(result, reason="deleted and created again")

    async def _pause(self, attempt: int) -> None:
        pause = 0.2 * 2**attempt * (0.5 + self.options.rng())
        self.patience -= pause
        await self.options.sleep(pause)

    # Between stages

    def _too_early(self, wanted: DesiredObject) -> str:
        """Why a dry run cannot ask the server about this object yet."""
        if wanted.id.namespace in self.new_namespaces:
            return "not checked: its Namespace is not there yet"
        if GroupKind(wanted.id.group, wanted.id.kind) in self.new_kinds:
            return "not checked: its CustomResourceDefinition is not there yet"
        return ""

    async def _established(self, actions: Sequence[Action]) -> None:
        """Wait until the API server serves the kinds of the CRDs just applied."""
        waiting = {
            action.id: action
            for action in actions
            if action.id in self.defines and self.defines[action.id] not in self.missing_kinds
        }
        deadline = self.options.clock() + _ESTABLISHED_TIMEOUT
        pause = 0.02
        while waiting and self.stopped is None:
            try:
                crds = {id: await self.client.get(id) for id in waiting}
                # Discovery follows some moments after a CRD says Established.
                kinds = await self.client.kinds(max_age=0.0)
            except ClusterUnavailable as error:
                self.stopped = error
                return
            for id, crd in crds.items():
                trouble = _definition_trouble(id, crd, kinds)
                if trouble is None and self.options.clock() > deadline:
                    trouble = f"{id}: not established within {_ESTABLISHED_TIMEOUT:.0f} s"
                if trouble is not None:
                    action = waiting.pop(id)
                    if trouble:
                        self._report(
                            _result(action, ObjectState.FAILED, error=ClusterError(trouble))
                        )
            if waiting:
                await self.options.sleep(pause)
                pause = min(pause * 2, 0.5)

    # Pruning

    async def _prune(self) -> None:
        why = ""
        if self.stopped is not None:
            why = f"not pruned: {self.stopped.message}"
        elif any(result.state is ObjectState.FAILED for result in self.results):
            why = "not pruned, because other objects failed: what replaces it may be missing"
        if why:
            for action in self.plan.prune:
                self._report(_result(action, ObjectState.SKIPPED, reason=why))
            return
        for _, group in groupby(self.plan.prune, key=lambda action: action.order):
            at_once = list(group)
            begun = len(self.results)
            await self._all(
                at_once,
                lambda action: self.options.prune.one(
                    self.client, action, self.plan.owner, dry_run=self.options.dry_run
                ),
            )
            if self.stopped is None and not self.options.dry_run:
                deleted = [
                    result
                    for result in self.results[begun:]
                    if result.state is ObjectState.DELETED and result.live is not None
                ]
                await self.options.prune.wait_gone(
                    self.client,
                    deleted,
                    last=at_once[-1] is self.plan.prune[-1],
                    sleep=self.options.sleep,
                    clock=self.options.clock,
                )


def _result(
    action: Action,
    state: ObjectState,
    *,
    reason: str = "",
    error: OcistateError | None = None,
    live: Live | None = None,
) -> Result:
    return Result(
        id=action.id,
        verb=action.verb,
        state=state,
        reason=reason or (error.message if error is not None else action.reason),
        error=error,
        live=live,
    )


def _written(action: Action, metadata: codec.Metadata) -> Result:
    # What the server answers is what it made of all we sent: as intact as it can be, even where
    # an admission webhook changed a part of it.
    live = live_of(metadata)
    if live is not None:
        live = replace(live, intact=True)
    before = action.live
    same = before is not None and before.resource_version == metadata.resourceVersion
    return _result(action, ObjectState.UNCHANGED if same else ObjectState.APPLIED, live=live)


def _with_hint(error: ClusterError) -> ClusterError:
    return explained(error) if isinstance(error, StatusError) else error


def _version(wanted: DesiredObject) -> str:
    return wanted.resource.api_version.rpartition("/")[2]


def _defined_kind(wanted: DesiredObject) -> GroupKind:
    return defined_kind(wanted.resource.object.get("spec")) or GroupKind("", "")


def _definition_trouble(id: ObjectId, crd: dict[str, Any] | None, kinds: Kinds) -> str | None:
    """None: a CRD's kind is not served yet. Empty: it is. Else: why it will not be."""
    if crd is None:
        return f"{id} was deleted while it was being applied"
    conditions = {each["type"]: each for each in (crd.get("status") or {}).get("conditions") or ()}
    if conditions.get("NamesAccepted", {}).get("status") == "False":
        return f"{id}: its names are not accepted: {conditions['NamesAccepted'].get('message')}"
    if conditions.get("Established", {}).get("status") != "True":
        return None
    spec = crd["spec"]
    served = set(kinds.versions(spec["group"], spec["names"]["kind"]))
    return (
        "" if {each["name"] for each in spec["versions"] if each.get("served")} <= served else None
    )
