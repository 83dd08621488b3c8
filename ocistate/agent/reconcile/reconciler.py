"""One pass for one Stack: resolve, verify, fetch, apply, prune, health, status.

The order never changes. A step that fails ends the pass and says so in the status; what was good
last is still kept equal. What is costly is done only when something changed: an unchanged pointer
under unchanged policies costs one HEAD an interval and nothing more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from ocistate.agent.contain import unexpected
from ocistate.agent.reconcile.contested import CONDITION, SETTLED, with_contested
from ocistate.agent.reconcile.context import Requeue
from ocistate.agent.reconcile.rollback import hold_back, seconds_left, was_healthy, way_back
from ocistate.agent.reconcile.source import SourceResolution, in_time
from ocistate.agent.reconcile.steady import same_trouble
from ocistate.agent.reconcile.step import as_step, now_at
from ocistate.agent.targets.base import Applied, HealthReport
from ocistate.api.status import (
    Attempt,
    Condition,
    Current,
    Drift,
    HistoryEntry,
    LastHealthy,
    RemoteTarget,
    StackStatus,
    Truth,
    rfc3339,
)
from ocistate.errors import (
    ApplyFailed,
    ArtifactError,
    ConfigError,
    DependencyCycle,
    HealthTimeout,
    InputError,
    InternalError,
    MassPrune,
    OcistateError,
    StoreError,
    TrustError,
    Unavailable,
)
from ocistate.ops.artifact.fetch import Content
from ocistate.ops.signing.verify import Verified

HEALTH_INTERVAL: Final = 10.0
"""Seconds between two looks while objects are not healthy yet: the place says when they are."""

DEPENDENCY_INTERVAL: Final = 5.0
_LONGEST_BACKOFF: Final = 60.0
_REPAIR_SECONDS: Final = 0.25
"""Between two looks at what runs while a registry is asked for what is wanted."""

_WELL: Final = ("Healthy", "Suspended")
"""What is suspended, like a CronJob, was meant to be: it is no trouble."""


@dataclass(slots=True)
class Pass(SourceResolution):
    """One pass. ``run`` returns the new status and the seconds until the next one."""

    async def run(self) -> tuple[StackStatus, float | None]:
        """Do the pass. Errors of the tree end up in the status, never with the caller."""
        self._rules = (self.stack.policy, self.services.policies())
        _, after = await self._run()
        await self._verify_running()
        self._set_running_trust_condition()
        # Only now: whoever asked for the pass waits for this, and then reads the rest.
        self.status = replace(self.status, last_handled_reconcile_at=self.stack.reconcile_at)
        return self.status, after

    async def _run(self) -> tuple[StackStatus, float | None]:
        seen_generation = self.status.observed_generation
        self.status = replace(self.status, observed_generation=self.stack.generation)
        try:
            after = await self._steps(resumed=seen_generation == self.stack.generation)
        except Requeue as requeue:
            # Nothing is tried now, so that nothing is stuck either.
            self.status = self.status.without_condition("Stalled")
            return self.status, requeue.after
        except OcistateError as error:
            after = self._failed(error)
            return self.status, after
        except Exception as error:
            after = self._failed(unexpected(f"a pass for the Stack {self.stack}", error))
            return self.status, after
        self.reconcile_state.failures, self.reconcile_state.unreachable = 0, False
        if self.status.last_attempt is not None and self.status.last_attempt.error:
            self._attempt("")
        return self.status, after

    async def _steps(self, *, resumed: bool) -> float | None:
        stack = self.stack
        if stack.suspend:
            self._condition("Ready", "Unknown", "Suspended", "reconciling is suspended")
            raise Requeue(None)
        outage: Unavailable | None = None
        try:
            self._check_dependencies()
            if self.reconcile_state.unreachable and not self._is_fresh():
                # The look may take its time, as it did before.
                await self._keep_last_good(reachable=False)
            content, trust = await self._look()
        except (Requeue, OcistateError) as error:
            known = await self._known() if isinstance(error, Unavailable) else None
            if known is None or not isinstance(error, Unavailable):
                await self._keep_last_good(reachable=not isinstance(error, Unavailable))
                raise
            outage, (content, trust) = error, known
        after = await self._make(content, trust, resumed=resumed)
        if outage is not None:
            self._served = True
            raise outage
        return after

    async def _look(self) -> tuple[Content, Verified]:
        """What is wanted; what runs is kept equal however long a registry takes to say it."""
        kept = None if self._is_fresh() else await self._kept()
        if kept is None or not await self._repair(kept):
            return await self._find()
        looking = asyncio.create_task(self._find())
        try:
            while not (await asyncio.wait({looking}, timeout=_REPAIR_SECONDS))[0]:
                if not await self._repair(kept):
                    break
            return await looking
        finally:
            looking.cancel()
            await asyncio.wait({looking})
            now_at(self._digest)

    async def _kept(self) -> Content | None:
        """What was applied last, by the spec that there is, if it is at hand and trusted."""
        status = self.status
        good = status.last_healthy if status.held_back is not None else status.current
        if good is None or self.reconcile_state.applied != (good.digest, self.stack):
            return None
        return await self._last_good(good.digest, ask=False)

    async def _repair(self, kept: Content) -> bool:
        """Put back what differs; whether all of it is as it should be, or is left as it is."""
        try:
            if not await self._must_correct(kept):
                return True
            done = await self.services.target(self.stack).apply(kept, changed=False)
        except OcistateError as error:
            self._emit_repair_failed(error)
            return False
        self.reconcile_state.unrepaired = ""
        self._emit_applied_events(done, changed=False)
        return not done.errors

    def _emit_repair_failed(self, error: OcistateError) -> None:
        """An Event, once: the same failure comes back with every pass until it is over."""
        words = str(error)
        if not same_trouble(self.reconcile_state.unrepaired, words):
            self.services.event(self.stack, "Warning", error.reason, words)
        self.reconcile_state.unrepaired = words

    async def _find(self) -> tuple[Content, Verified]:
        """What is wanted. Whatever goes wrong with it is an error of the tree: what runs is still
        looked after."""
        try:
            return await self._wanted()
        except (Requeue, OcistateError):
            raise
        except Exception as error:
            raise unexpected(f"finding what the Stack {self.stack} wants", error) from error

    async def _make(self, content: Content, trust: Verified, *, resumed: bool) -> float | None:
        """Make the place equal and see how it is; go back where that does not end well."""
        stack = self.stack
        try:
            changed = self.reconcile_state.applied != (self._digest, stack)
            if changed or await self._must_correct(content):
                current = self.status.current
                known = current is not None and current.digest == self._digest
                new = changed and not (resumed and known and self.status.is_true("Applied"))
                await self._apply(content, trust, changed=changed, new=new)
            else:
                self._set_synced_condition()
            return await self._health()
        except MassPrune:
            await self._keep_last_good()
            raise
        except (ApplyFailed, HealthTimeout) as error:
            if not self._is_late() or (last := way_back(self.status, stack, self._digest)) is None:
                raise
            return await self._go_back(content, last, error)

    async def _go_back(
        self, left: Content, last: LastHealthy, error: OcistateError
    ) -> float | None:
        """Leave what does not become healthy for the digest that was healthy last."""
        stack, bad = self.stack, left.digest
        self.status = hold_back(
            self.status,
            stack,
            bad,
            error.message,
            revision=left.inventory.revision,
            now=self.services.now(),
        )
        self.services.event(
            stack, "Warning", "RolledBack", f"{bad} back to {last.digest}: {error.message}"
        )
        await self.services.save(stack, self.status)
        self._digest, self._tag = last.digest, last.tag
        trust = self._trust_of(last.digest)
        content = await self._at_hand(last.digest)
        if trust is None or content is None:
            async with await self.services.connect_store(stack) as store:
                async with in_time(stack.source.repository):
                    await store.resolve(last.digest)
                trust = await self._verify(store, last.digest)
                content = await self._content(store)
        self._set_verified_condition(trust)
        await self._apply(content, trust, changed=True, new=True)
        return await self._health()

    def _check_dependencies(self) -> None:
        if cycle := self.services.cycle(self.stack):
            way = " → ".join("/".join(key) for key in cycle)
            raise DependencyCycle(
                f"Stack {self.stack} waits for itself: {way}",
                hint="remove one of these from spec.dependsOn",
            )
        ready = {key: self.services.is_ready(key) for key in self.stack.depends_on}
        names = [
            "/".join(key) + (", which is not there" if found is None else "")
            for key, found in ready.items()
            if not found
        ]
        if names:
            message = f"waiting for {', '.join(names)}"
            self._condition("Ready", "False", "DependencyNotReady", message)
            raise Requeue(DEPENDENCY_INTERVAL)

    async def _keep_last_good(self, *, reachable: bool = True) -> None:
        """What the pointer names now can't be had or trusted: what runs is still kept equal.

        While the registry is not ``reachable``, only its mirrors are asked.
        """
        status = self.status
        good = status.last_healthy if status.held_back is not None else status.current
        if good is None:
            return
        try:
            ask = reachable or bool(self.stack.source.mirrors)
            content = await self._last_good(good.digest, ask=ask)
        except OcistateError:
            return  # why it can't be had or trusted any more is what this pass ends with
        try:
            if content is not None and await self._must_correct(content):
                done = await self.services.target(self.stack).apply(content, changed=False)
                self._emit_applied_events(done, changed=False)
            self.reconcile_state.unrepaired = ""
            report = await self._report()
            if content is not None and report.counts:
                self._set_healthy_condition(*self._verdict(report), report, good.digest)
        except OcistateError as error:
            self._emit_repair_failed(error)

    async def _must_correct(self, content: Content) -> bool:
        if self.stack.drift == "ignore":
            self.status = replace(self.status, drift=None)
            return False
        different = await self.services.target(self.stack).drifted(content)
        drift = Drift.of(different) if self.stack.drift == "report" else None
        self.status = replace(self.status, drift=drift)
        if not different:
            applied = self.status.condition("Applied")
            if applied is not None and applied.reason == "Drifted":
                self._condition("Applied", "True", "Applied", f"{content.digest}: as it should be")
            return False
        if drift is None:
            return True
        message = f"the target differs from the artifact: {drift}"
        self._condition("Applied", "False", "Drifted", message)
        return False

    def _set_synced_condition(self) -> None:
        """What was applied as a whole is as it was: an error since then is over."""
        applied = self.status.condition("Applied")
        if applied is not None and applied.status == "False" and applied.reason != "Drifted":
            self._condition("Applied", "True", "Applied", f"{self._digest}: as it should be")

    @as_step("apply")
    async def _apply(self, content: Content, trust: Verified, *, changed: bool, new: bool) -> None:
        """Make the target equal. ``changed``: this process has not applied it as a whole yet;
        ``new``: no other one has, either."""
        stack, target = self.stack, self.services.target(self.stack)
        self._set_target()
        if new:
            self._begin()
            # Written before the first object is: whatever happens, we know where to look for them.
            kinds = tuple(sorted({*self.status.kinds, *target.kinds(content)}))
            self.status = replace(self.status, kinds=kinds)
            last = self.status.last_attempt
            if last is None or last.digest != self._digest or not last.error:
                self._attempt("applying")  # else what it failed with stands until it succeeds
            await self.services.prepare(stack)
            await self.services.save(stack, self.status)
        done = await target.apply(content, changed=new)
        self.status = replace(self.status, runs=done.runs, drift=None)
        self._emit_applied_events(done, changed=new)
        if done.errors:
            self.reconcile_state.applied = None
            raise ApplyFailed(
                f"{len(done.errors)} of {len(content.inventory.resources)} objects failed: "
                + "; ".join(done.errors[:5]),
                hint="the others are applied; these are tried again",
            )
        if done.waiting:
            self.reconcile_state.applied = None
            self._condition("Applied", "Unknown", "Progressing", f"{self._digest}: {done.waiting}")
            return
        self.reconcile_state.applied = (self._digest, stack)
        if new or done.touched or not self.status.is_true("Applied"):
            self._attempt("")
            self._condition("Applied", "True", "Applied", f"{self._digest}: {done}")
        if changed:
            self._adopt(content, trust, new=new)

    def _set_target(self) -> None:
        """Remember in which cluster the objects are, from before the first of them is there."""
        stack, before = self.stack, self.status.target
        now = None
        if stack.kubeconfig_secret:
            now = RemoteTarget(
                secret=stack.kubeconfig_secret, key=stack.kubeconfig_key, context=stack.context
            )
        if before == now:
            return
        if self.status.current is not None:
            where = before or "the agent's own cluster"
            message = (
                f"applied to {where} until now: if that is another cluster, what is there stays, "
                f"with the mark {stack.uid}; delete it, or see 'ocistate orphans'"
            )
            self.services.event(stack, "Warning", "TargetChanged", message)
        self.status = replace(self.status, target=now)

    def _begin(self) -> None:
        """Have the time run in which the digest must be applied and healthy."""
        if self.reconcile_state.trying == (self._digest, self.stack):
            return
        self.reconcile_state.trying = (self._digest, self.stack)
        last = self.status.last_attempt
        # A process before this one may have begun with it, and used some of its time.
        again = last is not None and last.error and last.digest == self._digest
        self._allow(
            last.begun
            if last is not None and again and self.reconcile_state.applied is None
            else ""
        )

    def _allow(self, since: str) -> None:
        """Allow the timeout, as far as it is not used up since then."""
        left = seconds_left(self.stack.timeout, since, self.services.now())
        self.reconcile_state.healthy_by = self.services.elapsed() + left

    def _is_late(self) -> bool:
        return (
            self.reconcile_state.healthy_by is not None
            and self.services.elapsed() >= self.reconcile_state.healthy_by
        )

    def _adopt(self, content: Content, trust: Verified, *, new: bool) -> None:
        """The content is in place: it is the current one from now on."""
        now = self.services.now()
        old = self.status.current
        same = old is not None and old.digest == self._digest
        applied_at = old.applied_at if old is not None and same else rfc3339(now)
        revision = content.inventory.revision
        current = Current(
            digest=self._digest,
            tag=self._tag,
            revision=revision,
            signed_by=trust.signers,
            applied_at=applied_at,
        )
        self.status = replace(
            self.status,
            current=self._numbered(current),
            kinds=self.services.target(self.stack).kinds(content),
        )
        history = self.status.history
        if not same or not history or history[0].digest != self._digest:
            self.status = self.status.with_history(
                HistoryEntry(
                    digest=self._digest, revision=revision, at=rfc3339(now), outcome="applied"
                )
            )
        self.services.cache(self.stack).keep_only(self._worth_keeping())
        if new:
            self._allow("")
        elif self.reconcile_state.healthy_by is None and not was_healthy(self.status, self._digest):
            self._allow(applied_at)

    @as_step("health")
    async def _health(self) -> float | None:
        report = await self._report()
        truth, reason = self._verdict(report)
        self._set_healthy_condition(truth, reason, report, self._digest)
        self._set_ready_condition(truth, reason, report)
        if self.reconcile_state.healthy_by is None:
            return self._interval()
        if not self._is_late():
            left = self.reconcile_state.healthy_by - self.services.elapsed()
            return min(HEALTH_INTERVAL, left, self._interval())
        if way_back(self.status, self.stack, self._digest) is not None:
            raise HealthTimeout(
                f"not healthy after {self.stack.timeout:g} s: {report.worst}: {report.message}"
            )
        return self._interval()

    async def _report(self) -> HealthReport:
        """How the objects are; of what does not come right by itself, with what its parts tell."""
        target = self.services.target(self.stack)
        report = await target.health()
        if report.worst in _WELL or (report.worst == "Progressing" and not self._is_late()):
            self.reconcile_state.explained = None
            return report
        if self.reconcile_state.explained is None or self.reconcile_state.explained[0] != report:
            self.reconcile_state.explained = (report, await target.explain())
        words = "; ".join(
            each for each in (report.message, self.reconcile_state.explained[1]) if each
        )
        return replace(report, message=words)

    def _verdict(self, report: HealthReport) -> tuple[Truth, str]:
        """Whether all is well, and the reason; the time runs as long as it is not."""
        if report.worst in _WELL:
            self.reconcile_state.healthy_by = None
            return "True", report.worst
        if self.reconcile_state.healthy_by is None:
            self._allow("")
        if report.worst != "Progressing":
            return "False", report.worst
        return ("False", "HealthTimeout") if self._is_late() else ("Unknown", "Progressing")

    def _set_healthy_condition(
        self, truth: Truth, reason: str, report: HealthReport, digest: str
    ) -> None:
        was = self.status.condition("Healthy")
        self.status = replace(self.status, resources=report.counts, runs=report.runs)
        self._condition("Healthy", truth, reason, report.message)
        self._set_contested_condition(report)
        if was is None or (was.status, was.reason) != (truth, reason):
            kind = "Normal" if truth != "False" else "Warning"
            self.services.event(self.stack, kind, reason, report.message or digest)

    def _set_contested_condition(self, report: HealthReport) -> None:
        was = self.status.is_true(CONDITION)
        self.status, news = with_contested(
            self.status,
            report.contested,
            now=self.services.now(),
            generation=self.stack.generation,
        )
        if news:
            self.services.event(self.stack, "Warning", CONDITION, news)
        elif was and not report.contested:
            self.services.event(self.stack, "Normal", SETTLED, "nothing is contested any more")

    def _set_ready_condition(self, truth: Truth, reason: str, report: HealthReport) -> None:
        applied = self.status.condition("Applied")
        drifted = applied is not None and applied.status == "False"
        self.status = self.status.without_condition("Stalled")
        if truth == "True" and not drifted:
            self._was_healthy()
        held = self.status.held_back
        if drifted and applied is not None:
            self._condition("Ready", "False", applied.reason, applied.message)
        elif held is not None:
            runs = f"back at {self._digest}" + (f": {report.message}" if report.message else "")
            message = f"{held.digest} is held back: {held.reason}; {runs}"
            self._condition("Ready", "False", "RolledBack", message)
            self._condition("Stalled", "True", "RolledBack", message)
        elif truth == "True":
            self._condition("Ready", "True", "Ready", f"running {self._digest}")
        else:
            self._condition("Ready", truth, reason, report.message)

    def _was_healthy(self) -> None:
        """Remember it: this is what to go back to."""
        history, last = self.status.history, self.status.last_healthy
        if history and history[0].digest == self._digest and history[0].outcome != "healthy":
            newest_entry = replace(history[0], outcome="healthy")
            self.status = replace(self.status, history=(newest_entry, *history[1:]))
        if last is None or (last.digest, last.tag) != (self._digest, self._tag):
            self.status = replace(
                self.status, last_healthy=LastHealthy(digest=self._digest, tag=self._tag)
            )
            self.services.cache(self.stack).keep_only(self._worth_keeping())

    def _failed(self, error: OcistateError) -> float:
        """Say what went wrong; the seconds until the next try."""
        self.reconcile_state.failures += 1
        self.reconcile_state.unreachable = isinstance(error, Unavailable)
        old = self.status.condition("Ready")
        words = self._words(error, old)
        self._attempt(words)
        if isinstance(error, Unavailable) and old is not None:
            # Out of reach is no verdict on what runs.
            if old.status == "True":
                message = f"{old.message.split('; ')[0]}; last look failed: {error.message}"
                if not same_trouble(old.message, message[:1024]):
                    self._condition("Ready", "True", error.reason, message)
            if old.status == "True" or self._served:
                return self._backoff()
        longest = _LONGEST_BACKOFF
        if isinstance(error, TrustError):
            self._condition("Verified", "False", error.reason, words)
        elif not isinstance(error, StoreError | ConfigError | InternalError):
            self._condition("Applied", "False", error.reason, words)
        if isinstance(error, TrustError | ArtifactError | ConfigError | InputError | MassPrune):
            # Nothing will change by itself: only another artifact, policy or spec helps.
            self._condition("Stalled", "True", error.reason, words)
            longest = self.stack.source.interval
        else:
            # What it was stuck at before is over, or not what it is stuck at now.
            self.status = self.status.without_condition("Stalled")
        self._condition("Ready", "False", error.reason, words)
        if old is None or (old.reason, old.message) != (error.reason, words[:1024]):
            self.services.event(self.stack, "Warning", error.reason, words)
        if (
            way_back(self.status, self.stack, self._digest)
            and self.reconcile_state.healthy_by is not None
        ):
            # Not later than when it is time to go back.
            left = max(self.reconcile_state.healthy_by - self.services.elapsed(), 1.0)
            return min(self._backoff(longest), left)
        return self._backoff(longest)

    def _words(self, error: OcistateError, old: Condition | None) -> str:
        """The error in the words that tell of it already, if it is the same again."""
        words, attempt = str(error), self.status.last_attempt
        known = [old.message] if old is not None and old.reason == error.reason else []
        known += [attempt.error] if attempt is not None and attempt.error else []
        return next((each for each in known if same_trouble(each, words[:1024])), words)

    def _emit_applied_events(self, done: Applied, *, changed: bool) -> None:
        if done.drifted:
            self.reconcile_state.repairs += len(done.drifted)
            names = ", ".join(done.drifted[:5])
            self.services.event(self.stack, "Normal", "DriftCorrected", f"put back: {names}")
        elif changed and done.touched:
            self.services.event(self.stack, "Normal", "Applied", f"{self._digest}: {done}")

    def _attempt(self, error: str) -> None:
        old, error = self.status.last_attempt, error[:1024]
        if error and old is not None and (old.digest, old.error) == (self._digest, error):
            return  # the same again: not worth a write each time
        at = rfc3339(self.services.now())
        same = old is not None and old.digest == self._digest and old.error
        begun = old.begun if old is not None and same else at
        attempt = Attempt(digest=self._digest, error=error, at=at, begun=begun)
        self.status = replace(self.status, last_attempt=attempt)

    def _interval(self) -> float:
        """What is left of the Stack's interval, spread so that a thousand do not move as one."""
        interval = self.stack.source.interval
        return max(interval - self._age(), 0.0) + 0.1 * interval * self.jitter()

    def _backoff(self, longest: float = _LONGEST_BACKOFF) -> float:
        longest = max(min(longest, self.stack.source.interval), 1.0)
        delay: float = min(longest, 0.5 * 2.0 ** min(self.reconcile_state.failures, 20))
        return delay * (1 + 0.2 * self.jitter())
