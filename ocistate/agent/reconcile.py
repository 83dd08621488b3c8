"""One pass for one Stack: resolve, verify, fetch, apply, prune, health, status.

The order never changes. A step that fails ends the pass, says so in the status, and leaves what is
running as it is. What is costly is done only when something changed: an unchanged pointer under
unchanged policies costs one HEAD and nothing more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from ocistate.agent.api import Stack
from ocistate.agent.cache import ContentCache
from ocistate.agent.status import Attempt, Current, HistoryEntry, Status, Truth, rfc3339
from ocistate.agent.target import Applied, HealthReport, Target
from ocistate.errors import (
    ApplyFailed,
    ArtifactError,
    ConfigError,
    InputError,
    NotFound,
    OcistateError,
    StoreError,
    TrustError,
    Unauthorized,
)
from ocistate.oci.store import Store
from ocistate.signing.policy import TrustPolicy
from ocistate.steps.fetch import Content
from ocistate.steps.verify import Verified, verify_artifact

HEALTH_INTERVAL: Final = 1.0
"""Seconds between two looks while objects are not healthy yet."""

DEPENDENCY_INTERVAL: Final = 5.0


class Services(Protocol):
    """What a pass needs from outside."""

    async def connect_store(self, stack: Stack) -> Store:
        """The Stack's repository, with its credentials."""
        ...

    async def prepare(self, stack: Stack) -> None:
        """Called before the first object is written: from now on a deletion has to ask us."""
        ...

    def policies(self) -> tuple[TrustPolicy, ...]:
        """All trust policies known now."""
        ...

    def target(self, stack: Stack) -> Target:
        """The Stack's place; the same one in every pass."""
        ...

    def cache(self, stack: Stack) -> ContentCache:
        """The Stack's contents on disk."""
        ...

    def is_ready(self, key: tuple[str, str]) -> bool:
        """Whether another Stack is there and Ready."""
        ...

    def now(self) -> datetime:
        """The clock."""
        ...

    async def save(self, stack: Stack, status: Status) -> None:
        """Keep the status, before the pass goes on."""
        ...

    def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Tell the user: ``kind`` is Normal or Warning."""
        ...


@dataclass(slots=True)
class Memo:
    """What a process remembers of a Stack between two passes; losing it costs work, not truth."""

    trusted: dict[str, tuple[str, Verified]] = field(default_factory=dict)
    """By digest: the fingerprint of the policies it was verified under, and the outcome."""
    applied: tuple[str, Stack] | None = None
    """(digest, spec) that this process has applied as a whole."""
    content: Content | None = None
    healthy_by: datetime | None = None
    failures: int = 0


class Halt(Exception):
    """Ends a pass early with a status that is no error. ``after``: seconds to the next pass."""

    def __init__(self, status: Status, after: float | None) -> None:
        super().__init__()
        self.status = status
        self.after = after


@dataclass(slots=True)
class Pass:
    """One pass. ``run`` returns the new status and the seconds until the next one."""

    stack: Stack
    status: Status
    memo: Memo
    services: Services
    jitter: Callable[[], float]
    _digest: str = ""

    async def run(self) -> tuple[Status, float | None]:
        """Do the pass. Errors of the tree end up in the status, never with the caller."""
        self.status = replace(
            self.status,
            observed_generation=self.stack.generation,
            last_handled_reconcile_at=self.stack.reconcile_at,
        )
        try:
            after = await self._steps()
        except Halt as halt:
            return halt.status, halt.after
        except OcistateError as error:
            result = self._failed(error)
            await self._keep_last_good()
            return self.status, result
        self.memo.failures = 0
        return self.status, after

    async def _steps(self) -> float | None:
        stack = self.stack
        if stack.suspend:
            self._condition("Ready", "Unknown", "Suspended", "reconciling is suspended")
            raise Halt(self.status, None)
        self._check_dependencies()
        async with await self.services.connect_store(stack) as store:
            self._digest = await self._resolve(store)
            trust = await self._verify(store)
            content = await self._content(store)
        changed = self.memo.applied != (self._digest, stack)
        if changed or await self._must_correct(content):
            await self._apply(content, trust, changed=changed)
        return await self._health()

    def _check_dependencies(self) -> None:
        missing = [key for key in self.stack.depends_on if not self.services.is_ready(key)]
        if missing:
            names = ", ".join("/".join(key) for key in missing)
            self._condition("Ready", "False", "DependencyNotReady", f"waiting for {names}")
            raise Halt(self.status, DEPENDENCY_INTERVAL)

    async def _resolve(self, store: Store) -> str:
        source = self.stack.source
        return (await store.resolve(source.digest or source.tag)).digest

    async def _verify(self, store: Store) -> Verified:
        trust = self._trust_of(self._digest)
        if trust is None:
            trust = await verify_artifact(
                store,
                self._digest,
                self.services.policies(),
                policy_name=self.stack.policy or None,
            )
            current = self.status.current.digest if self.status.current else ""
            self.memo.trusted = {
                digest: known for digest, known in self.memo.trusted.items() if digest == current
            } | {self._digest: (self._policy_mark(), trust)}
        if trust.mode == "off":
            self._condition("Verified", "Unknown", "VerificationOff", trust.summary)
        elif not trust.satisfied:
            self._condition("Verified", "False", "NotEnforced", trust.summary)
        else:
            self._condition("Verified", "True", "Verified", trust.summary)
        return trust

    def _trust_of(self, digest: str) -> Verified | None:
        """The outcome of an earlier verification, if the policies are still the same."""
        mark, trust = self.memo.trusted.get(digest, ("", None))
        return trust if mark == self._policy_mark() else None

    async def _keep_last_good(self) -> None:
        """What the pointer names now can't be had or trusted: what runs is still kept equal."""
        current = self.status.current
        if current is None or self._trust_of(current.digest) is None:
            return
        content = self.memo.content
        if content is None or content.digest != current.digest:
            content = await self.services.cache(self.stack).load(current.digest)
        try:
            if content is not None and await self._must_correct(content):
                done = await self.services.target(self.stack).apply(content, changed=False)
                self._tell(done, changed=False)
        except OcistateError as error:
            self.services.event(self.stack, "Warning", error.reason, str(error))

    def _policy_mark(self) -> str:
        policies = sorted(repr(policy) for policy in self.services.policies())
        return hashlib.sha256("\n".join([self.stack.policy, *policies]).encode()).hexdigest()

    async def _content(self, store: Store) -> Content:
        if self.memo.content is not None and self.memo.content.digest == self._digest:
            return self.memo.content
        cache = self.services.cache(self.stack)
        content = await cache.load(self._digest) or await cache.fetch(store, self._digest)
        self.memo.content = content
        return content

    async def _must_correct(self, content: Content) -> bool:
        if self.stack.drift == "ignore":
            return False
        if not await self.services.target(self.stack).drifted(content):
            return False
        if self.stack.drift == "correct":
            return True
        self._condition("Applied", "False", "Drifted", "the target differs from the artifact")
        return False

    async def _apply(self, content: Content, trust: Verified | None, *, changed: bool) -> None:
        stack, target = self.stack, self.services.target(self.stack)
        kinds = tuple(sorted({*self.status.kinds, *target.kinds(content)}))
        if changed:
            # Written before the first object is: whatever happens, we know where to look for them.
            self.status = replace(self.status, kinds=kinds)
            self._attempt("applying")
            await self.services.prepare(stack)
            await self.services.save(stack, self.status)
        done = await target.apply(content, changed=changed)
        self._tell(done, changed=changed)
        if done.errors:
            self.memo.applied = None
            raise ApplyFailed(
                f"{len(done.errors)} of {len(content.inventory.resources)} objects failed: "
                + "; ".join(done.errors[:5]),
                hint="the others are applied; these are tried again",
            )
        self.memo.applied = (self._digest, stack)
        self._attempt("")
        self._condition("Applied", "True", "Applied", f"{self._digest}: {done}")
        if changed:
            self._adopt(content, trust)

    def _adopt(self, content: Content, trust: Verified | None) -> None:
        """The content is in place: it is the current one from now on."""
        now = self.services.now()
        old = self.status.current
        same = old is not None and old.digest == self._digest
        applied_at = old.applied_at if old is not None and same else rfc3339(now)
        revision = content.inventory.revision
        current = Current(
            digest=self._digest,
            tag=self.stack.source.tag,
            revision=revision,
            signed_by=trust.signers if trust is not None else (),
            applied_at=applied_at,
        )
        self.status = replace(
            self.status, current=current, kinds=self.services.target(self.stack).kinds(content)
        )
        if not same:
            self.status = self.status.with_history(
                HistoryEntry(
                    digest=self._digest, revision=revision, at=applied_at, outcome="applied"
                )
            )
        self.services.cache(self.stack).keep_only({self._digest})
        self.memo.healthy_by = now + timedelta(seconds=self.stack.timeout)

    async def _health(self) -> float | None:
        report = await self.services.target(self.stack).health()
        self.status = replace(self.status, resources=report.counts)
        now = self.services.now()
        waiting = report.worst == "Progressing"
        late = waiting and self.memo.healthy_by is not None and now > self.memo.healthy_by
        if report.worst == "Healthy":
            self._set_health("True", "Healthy", report)
        elif late:
            self._set_health("False", "HealthTimeout", report)
        else:
            self._set_health("Unknown" if waiting else "False", report.worst, report)
        interval = self.stack.source.interval
        return min(HEALTH_INTERVAL, interval) if waiting and not late else self._interval()

    def _set_health(self, truth: Truth, reason: str, report: HealthReport) -> None:
        was = self.status.condition("Healthy")
        self._condition("Healthy", truth, reason, report.message)
        applied = self.status.condition("Applied")
        drifted = applied is not None and applied.status == "False"
        if drifted and applied is not None:
            self._condition("Ready", "False", applied.reason, applied.message)
        elif truth == "True":
            self._condition("Ready", "True", "Ready", f"running {self._digest}")
            self.status = self._outcome("healthy")
        else:
            self._condition("Ready", truth, reason, report.message)
        self.status = self.status.without_condition("Stalled")
        if was is None or (was.status, was.reason) != (truth, reason):
            kind = "Normal" if truth != "False" else "Warning"
            self.services.event(self.stack, kind, reason, report.message or self._digest)

    def _outcome(self, outcome: str) -> Status:
        history = self.status.history
        if not history or history[0].outcome == outcome:
            return self.status
        return replace(self.status, history=(replace(history[0], outcome=outcome), *history[1:]))

    def _failed(self, error: OcistateError) -> float:
        """Say what went wrong; the seconds until the next try."""
        self.memo.failures += 1
        old = self.status.condition("Ready")
        self._attempt(str(error))
        unreachable = isinstance(error, StoreError) and not isinstance(
            error, NotFound | Unauthorized
        )
        if unreachable and old is not None and old.status == "True":
            # Out of reach is no verdict on what runs.
            message = f"{old.message.split('; ')[0]}; last look failed: {error.message}"
            self._condition("Ready", "True", error.reason, message)
            return self._backoff()
        if isinstance(error, TrustError):
            self._condition("Verified", "False", error.reason, str(error))
        elif not isinstance(error, StoreError | ConfigError):
            self._condition("Applied", "False", error.reason, str(error))
        if isinstance(error, TrustError | ArtifactError | ConfigError | InputError):
            # Nothing will change by itself: only another artifact, policy or spec helps.
            self._condition("Stalled", "True", error.reason, str(error))
        self._condition("Ready", "False", error.reason, str(error))
        if old is None or (old.reason, old.message) != (error.reason, str(error)[:1024]):
            self.services.event(self.stack, "Warning", error.reason, str(error))
        return self._backoff()

    def _tell(self, done: Applied, *, changed: bool) -> None:
        if done.drifted:
            names = ", ".join(done.drifted[:5])
            self.services.event(self.stack, "Normal", "DriftCorrected", f"put back: {names}")
        elif changed and done.touched:
            self.services.event(self.stack, "Normal", "Applied", f"{self._digest}: {done}")

    def _attempt(self, error: str) -> None:
        at = rfc3339(self.services.now())
        self.status = replace(
            self.status, last_attempt=Attempt(digest=self._digest, error=error[:1024], at=at)
        )

    def _condition(self, type_: str, truth: Truth, reason: str, message: str) -> None:
        self.status = self.status.with_condition(
            type_,
            truth,
            reason,
            message,
            now=self.services.now(),
            generation=self.stack.generation,
        )

    def _interval(self) -> float:
        """The Stack's interval, spread a little so that a thousand of them do not move as one."""
        return self.stack.source.interval * (1 + 0.1 * self.jitter())

    def _backoff(self) -> float:
        longest = max(self.stack.source.interval, 1.0)
        delay: float = min(longest, 0.5 * 2.0 ** min(self.memo.failures, 20))
        return delay * (1 + 0.2 * self.jitter())
