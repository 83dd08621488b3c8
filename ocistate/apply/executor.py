"""Carry out a plan: staged server-side apply, then pruning.

    outcome = await apply(client, plan, on_result=show)
    if error := outcome.error(): raise error

Objects of one wave and stage go together, ``concurrency`` at a time. Every object has its own
result: one that is refused does not stop the others, except those that need it (objects in its
namespace, objects of its kind) and later waves. Nothing is pruned when anything failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import groupby

from ocistate.apply.definitions import established
from ocistate.apply.desired.prepare import DesiredObject, defined_kind
from ocistate.apply.options import Options
from ocistate.apply.plan import Action, Plan, Verb
from ocistate.apply.result import ApplyOutcome, ObjectState, Result, result_of
from ocistate.apply.writer import ObjectWriter
from ocistate.concurrency import together
from ocistate.errors import ApplyFailed, ClusterError, ClusterUnavailable, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.kube.refusals import explained
from ocistate.kube.stages import ApplyStage
from ocistate.objects import GroupKind, ObjectId


async def apply(client: KubeClient, plan: Plan, options: Options | None = None) -> ApplyOutcome:
    """Carry out ``plan`` and return the result of every object that was not simply kept.

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
        self.writer = ObjectWriter(client, plan.owner, options)
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
            self._report(result_of(action, state, error=action.error))
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
                    self._report(
                        result_of(action, ObjectState.SKIPPED, reason=self.stopped.message)
                    )
                    continue
                try:
                    result = await work(action)
                except ClusterUnavailable as error:
                    self.stopped = error
                    result = result_of(action, ObjectState.FAILED, error=error)
                except ClusterError as error:
                    result = result_of(action, ObjectState.FAILED, error=_with_hint(error))
                self._report(result)

        await together(worker() for _ in range(self.options.concurrency))

    def _report(self, result: Result) -> None:
        self.results.append(result)
        # Only what is not there at all takes others along: a Namespace that another Stack owns, or
        # that could not be changed, still holds objects.
        new = result.verb is Verb.CREATE and result.id not in self.writer.there
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
            return result_of(
                action, ObjectState.SKIPPED, reason="its Namespace could not be applied"
            )
        if GroupKind(wanted.id.group, wanted.id.kind) in self.missing_kinds:
            return result_of(
                action,
                ObjectState.SKIPPED,
                reason="its CustomResourceDefinition could not be applied",
            )
        if self.options.dry_run and (reason := self._too_early(wanted)):
            return result_of(action, ObjectState.SKIPPED, reason=reason)
        barred, new = self.options.barred, action.live is None
        if (refusal := barred.refusal(wanted.id, new=new)) is not None:
            return result_of(action, ObjectState.FAILED, error=refusal)
        try:
            result = await self.writer.write(action, wanted)
        except ClusterError as error:
            with_hint = _with_hint(error)
            barred.refused(wanted.id, with_hint, new=new)
            raise with_hint from None
        barred.written(wanted.id, new=new)
        return result

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
        if self.stopped is not None:
            return
        options = self.options
        found = established(self.client, list(waiting), sleep=options.sleep, clock=options.clock)
        try:
            async with aclosing(found):
                async for id, trouble in found:
                    if trouble:
                        error = ClusterError(trouble)
                        self._report(result_of(waiting[id], ObjectState.FAILED, error=error))
        except ClusterUnavailable as error:
            self.stopped = error

    # Pruning

    async def _prune(self) -> None:
        why = ""
        if self.stopped is not None:
            why = f"not pruned: {self.stopped.message}"
        elif any(result.state is ObjectState.FAILED for result in self.results):
            why = "not pruned, because other objects failed: what replaces it may be missing"
        if why:
            for action in self.plan.prune:
                self._report(result_of(action, ObjectState.SKIPPED, reason=why))
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


def _with_hint(error: ClusterError) -> ClusterError:
    return explained(error) if isinstance(error, StatusError) else error


def _defined_kind(wanted: DesiredObject) -> GroupKind:
    return defined_kind(wanted.resource.object.get("spec")) or GroupKind("", "")
