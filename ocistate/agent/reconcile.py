"""One pass for one Stack: resolve, verify, fetch, apply, prune, health, status.

The order never changes. A step that fails ends the pass and says so in the status; what was good
last is still kept equal. What is costly is done only when something changed: an unchanged pointer
under unchanged policies costs one HEAD an interval and nothing more.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from ocistate.agent.api import Stack
from ocistate.agent.cache import ContentCache
from ocistate.agent.running import REASON, Standing, say_running
from ocistate.agent.status import Attempt, Current, HistoryEntry, Status, Truth, rfc3339
from ocistate.agent.target import Applied, HealthReport, Target
from ocistate.errors import (
    ApplyFailed,
    ArtifactError,
    ConfigError,
    InputError,
    OcistateError,
    StoreError,
    TrustError,
    Unavailable,
)
from ocistate.oci.store import Store
from ocistate.signing.policy import TrustPolicy
from ocistate.steps.fetch import Content
from ocistate.steps.verify import Verified, verify_artifact

HEALTH_INTERVAL: Final = 1.0
"""Seconds between two looks while objects are not healthy yet."""

DEPENDENCY_INTERVAL: Final = 5.0
LOOK_SECONDS: Final = 10.0
_LONGEST_BACKOFF: Final = 60.0

_WELL: Final = ("Healthy", "Suspended")
"""What is suspended, like a CronJob, was meant to be: it is no trouble."""


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
    refused: tuple[str, str, OcistateError] | None = None
    """The policies' fingerprint, and the digest that they refused last, and why."""
    applied: tuple[str, Stack] | None = None
    """(digest, spec) that this process has applied as a whole."""
    content: Content | None = None
    looked: tuple[Stack, str, datetime] | None = None
    """The spec, the digest its pointer named, and when: it holds for an interval."""
    healthy_by: datetime | None = None
    """When objects that are not healthy yet are late; None while all are."""
    failures: int = 0


class Halt(Exception):
    """Ends a pass early without an error. ``after``: seconds to the next pass."""

    def __init__(self, after: float | None) -> None:
        super().__init__()
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
    _mark: str = ""

    async def run(self) -> tuple[Status, float | None]:
        """Do the pass. Errors of the tree end up in the status, never with the caller."""
        self._mark = self._policy_mark()
        _, after = await self._run()
        self._say_running()
        return self.status, after

    async def _run(self) -> tuple[Status, float | None]:
        seen_generation = self.status.observed_generation
        self.status = replace(
            self.status,
            observed_generation=self.stack.generation,
            last_handled_reconcile_at=self.stack.reconcile_at,
        )
        try:
            after = await self._steps(resumed=seen_generation == self.stack.generation)
        except Halt as halt:
            return self.status, halt.after
        except OcistateError as error:
            after = self._failed(error)
            return self.status, after
        self.memo.failures = 0
        if self.status.last_attempt is not None and self.status.last_attempt.error:
            self._attempt("")
        return self.status, after

    async def _steps(self, *, resumed: bool) -> float | None:
        stack = self.stack
        if stack.suspend:
            self._condition("Ready", "Unknown", "Suspended", "reconciling is suspended")
            raise Halt(None)
        try:
            self._check_dependencies()
            content, trust = await self._wanted()
        except (Halt, OcistateError):
            await self._keep_last_good()
            raise
        changed = self.memo.applied != (self._digest, stack)
        if changed or await self._must_correct(content):
            current = self.status.current
            known = current is not None and current.digest == self._digest
            new = changed and not (resumed and known and self.status.is_true("Applied"))
            await self._apply(content, trust, changed=changed, new=new)
        return await self._health()

    def _check_dependencies(self) -> None:
        missing = [key for key in self.stack.depends_on if not self.services.is_ready(key)]
        if missing:
            names = ", ".join("/".join(key) for key in missing)
            self._condition("Ready", "False", "DependencyNotReady", f"waiting for {names}")
            raise Halt(DEPENDENCY_INTERVAL)

    async def _wanted(self) -> tuple[Content, Verified]:
        """What the pointer names, verified: as it was seen within the interval, or anew."""
        looked, content = self.memo.looked, self.memo.content
        if looked is not None and looked[0] == self.stack and self._is_fresh():
            trust = self._trust_of(looked[1])
            if trust is not None and content is not None and content.digest == looked[1]:
                self._digest = looked[1]
                return content, trust
        self.memo.looked = None
        current = self.status.current
        if self.memo.failures and current is not None and self._trust_of(current.digest):
            await self._keep_last_good()  # the look may take its time, as it did before
        async with await self.services.connect_store(self.stack) as store:
            self._digest = await self._resolve(store)
            at = self.services.now()
            trust = await self._verify(store, self._digest)
            self._say_verified(trust)
            content = await self._content(store)
        self.memo.looked = (self.stack, self._digest, at)
        return content, trust

    def _is_fresh(self) -> bool:
        return self._age() < self.stack.source.interval

    def _age(self) -> float:
        """Seconds since the last look; for ever, when there is none or the clock went back."""
        if self.memo.looked is None:
            return math.inf
        age = (self.services.now() - self.memo.looked[2]).total_seconds()
        return age if age >= 0 else math.inf

    async def _resolve(self, store: Store) -> str:
        source = self.stack.source
        try:
            # The store is patient; but as long as it waits, nobody looks after what runs.
            async with asyncio.timeout(LOOK_SECONDS):
                return (await store.resolve(source.pointer)).digest
        except TimeoutError:
            raise Unavailable(
                f"{source.repository} did not answer within {LOOK_SECONDS:g} s",
                hint="is the registry up, and reachable from here?",
            ) from None

    async def _verify(self, store: Store, digest: str) -> Verified:
        trust = self._trust_of(digest)
        if trust is None:
            try:
                trust = await verify_artifact(
                    store, digest, self.services.policies(), policy_name=self.stack.policy or None
                )
            except (TrustError, ConfigError) as error:
                self.memo.refused = (self._mark, digest, error)
                raise
            current = self.status.current.digest if self.status.current else ""
            self.memo.trusted = {
                known: outcome for known, outcome in self.memo.trusted.items() if known == current
            } | {digest: (self._mark, trust)}
        return trust

    def _say_verified(self, trust: Verified) -> None:
        if trust.mode == "off":
            self._condition("Verified", "Unknown", "VerificationOff", trust.summary)
        elif not trust.satisfied:
            self._condition("Verified", "False", "NotEnforced", trust.summary)
        else:
            self._condition("Verified", "True", "Verified", trust.summary)

    def _say_running(self) -> None:
        """Say whether what runs is trusted by the policies that there are now."""
        if self.status.current is None:
            return
        digest, refused = self.status.current.digest, self.memo.refused
        trust, refusal = self._trust_of(digest), None
        if trust is None and refused is not None and refused[:2] == (self._mark, digest):
            refusal = refused[2]
        self.status, news = say_running(
            self.status,
            Standing(trust, refusal),
            now=self.services.now(),
            generation=self.stack.generation,
        )
        if news:
            self.services.event(self.stack, "Warning", REASON, news)

    def _trust_of(self, digest: str) -> Verified | None:
        """The outcome of an earlier verification, if the policies are still the same."""
        mark, trust = self.memo.trusted.get(digest, ("", None))
        return trust if mark == self._mark else None

    async def _keep_last_good(self) -> None:
        """What the pointer names now can't be had or trusted: what runs is still kept equal."""
        current = self.status.current
        if current is None:
            return
        try:
            content = await self._last_good(current.digest)
        except (OcistateError, TimeoutError):
            return  # why it can't be had or trusted any more is what this pass ends with
        try:
            if content is not None and await self._must_correct(content):
                done = await self.services.target(self.stack).apply(content, changed=False)
                self._tell(done, changed=False)
        except OcistateError as error:
            self.services.event(self.stack, "Warning", error.reason, str(error))

    async def _last_good(self, digest: str) -> Content | None:
        if self._trust_of(digest) is None:
            if digest == self._digest:
                return None  # it has just failed
            async with (
                asyncio.timeout(LOOK_SECONDS),
                await self.services.connect_store(self.stack) as store,
            ):
                await self._verify(store, digest)
        if self.memo.content is not None and self.memo.content.digest == digest:
            return self.memo.content
        content = await self.services.cache(self.stack).load(digest)
        self.memo.content = content or self.memo.content
        return content

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
            applied = self.status.condition("Applied")
            if applied is not None and applied.reason == "Drifted":
                self._condition("Applied", "True", "Applied", f"{content.digest}: as it should be")
            return False
        if self.stack.drift == "correct":
            return True
        self._condition("Applied", "False", "Drifted", "the target differs from the artifact")
        return False

    async def _apply(self, content: Content, trust: Verified, *, changed: bool, new: bool) -> None:
        """Make the target equal. ``changed``: this process has not applied it as a whole yet;
        ``new``: no other one has, either."""
        stack, target = self.stack, self.services.target(self.stack)
        if new:
            # Written before the first object is: whatever happens, we know where to look for them.
            kinds = tuple(sorted({*self.status.kinds, *target.kinds(content)}))
            self.status = replace(self.status, kinds=kinds)
            self._attempt("applying")
            await self.services.prepare(stack)
            await self.services.save(stack, self.status)
        done = await target.apply(content, changed=new)
        self._tell(done, changed=new)
        if done.errors:
            self.memo.applied = None
            raise ApplyFailed(
                f"{len(done.errors)} of {len(content.inventory.resources)} objects failed: "
                + "; ".join(done.errors[:5]),
                hint="the others are applied; these are tried again",
            )
        self.memo.applied = (self._digest, stack)
        if new or done.touched or not self.status.is_true("Applied"):
            self._attempt("")
            self._condition("Applied", "True", "Applied", f"{self._digest}: {done}")
        if changed:
            self._adopt(content, trust)

    def _adopt(self, content: Content, trust: Verified) -> None:
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
            signed_by=trust.signers,
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
        if report.worst in _WELL:
            self.memo.healthy_by = None
            self._set_health("True", report.worst, report)
            return self._interval()
        if report.worst != "Progressing":
            self._set_health("False", report.worst, report)
            return self._interval()
        now = self.services.now()
        if self.memo.healthy_by is None:
            self.memo.healthy_by = now + timedelta(seconds=self.stack.timeout)
        if now > self.memo.healthy_by:
            self._set_health("False", "HealthTimeout", report)
            return self._interval()
        self._set_health("Unknown", "Progressing", report)
        return min(HEALTH_INTERVAL, self._interval())

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
        if isinstance(error, Unavailable) and old is not None and old.status == "True":
            # Out of reach is no verdict on what runs.
            message = f"{old.message.split('; ')[0]}; last look failed: {error.message}"
            self._condition("Ready", "True", error.reason, message)
            return self._backoff()
        longest = _LONGEST_BACKOFF
        if isinstance(error, TrustError):
            self._condition("Verified", "False", error.reason, str(error))
        elif not isinstance(error, StoreError | ConfigError):
            self._condition("Applied", "False", error.reason, str(error))
        if isinstance(error, TrustError | ArtifactError | ConfigError | InputError):
            # Nothing will change by itself: only another artifact, policy or spec helps.
            self._condition("Stalled", "True", error.reason, str(error))
            longest = self.stack.source.interval
        self._condition("Ready", "False", error.reason, str(error))
        if old is None or (old.reason, old.message) != (error.reason, str(error)[:1024]):
            self.services.event(self.stack, "Warning", error.reason, str(error))
        return self._backoff(longest)

    def _tell(self, done: Applied, *, changed: bool) -> None:
        if done.drifted:
            names = ", ".join(done.drifted[:5])
            self.services.event(self.stack, "Normal", "DriftCorrected", f"put back: {names}")
        elif changed and done.touched:
            self.services.event(self.stack, "Normal", "Applied", f"{self._digest}: {done}")

    def _attempt(self, error: str) -> None:
        old, error = self.status.last_attempt, error[:1024]
        if error and old is not None and (old.digest, old.error) == (self._digest, error):
            return  # the same again: not worth a write each time
        at = rfc3339(self.services.now())
        attempt = Attempt(digest=self._digest, error=error, at=at)
        self.status = replace(self.status, last_attempt=attempt)

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
        """What is left of the Stack's interval, spread so that a thousand do not move as one."""
        interval = self.stack.source.interval
        return max(interval - self._age(), 0.0) + 0.1 * interval * self.jitter()

    def _backoff(self, longest: float = _LONGEST_BACKOFF) -> float:
        longest = max(min(longest, self.stack.source.interval), 1.0)
        delay: float = min(longest, 0.5 * 2.0 ** min(self.memo.failures, 20))
        return delay * (1 + 0.2 * self.jitter())
