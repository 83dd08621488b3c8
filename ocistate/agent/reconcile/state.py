"""What the agent remembers of a Stack between two passes. Losing it costs work, never correctness.

    state = state.resolved(record).verified(digest, inputs, trust, keep={digest})

Nothing changes in place: each transition returns a new state.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ocistate.agent.reconcile.channel import Pointed
from ocistate.agent.targets.base import HealthReport
from ocistate.api.stack import Stack
from ocistate.errors import OcistateError, Unavailable
from ocistate.ops.artifact.fetch import Content
from ocistate.ops.signing.verify import Verified
from ocistate.signing.policy.model import TrustPolicy


class TrustInputs(NamedTuple):
    """What decides about trust: the policy that the Stack names, and all there are."""

    policy: str
    policies: tuple[TrustPolicy, ...]


class RolloutKey(NamedTuple):
    """A digest under a spec."""

    digest: str
    stack: Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the pointer named, under which spec, and when: it counts for an interval."""

    stack: Stack
    digest: str
    tag: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a digest is not trusted, and under which policies."""

    digest: str
    inputs: TrustInputs
    error: OcistateError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileState:
    """All that is remembered between two passes of one process."""

    trusted: Mapping[str, tuple[TrustInputs, Verified]] = field(default_factory=dict)
    """By digest: what it was verified under, and the result."""
    refusal: Refusal | None = None
    """The last one."""
    complete: RolloutKey | None = None
    """What this process has applied as a whole."""
    content: Content | None = None
    """The artifact in memory."""
    uncached: str = ""
    """The digest without a copy on disk, for lack of room."""
    record: Pointed | None = None
    """The channel's record that was accepted last."""
    look: Look | None = None
    answered: int = 0
    """How many requests to look at the registry were answered by a look."""
    repairs: int = 0
    """How many objects were put back."""
    unrepaired: str = ""
    """Why what runs could not be put back at the last try."""
    attempt: RolloutKey | None = None
    """What is being applied."""
    healthy_by: float | None = None
    """When what is not applied and healthy yet is late; None while all is healthy."""
    explanation: tuple[HealthReport, str] | None = None
    """A report that is not healthy, and the cause that was found for it."""
    failures: int = 0
    """How many passes in a row failed."""
    unreachable: bool = False
    """Whether the last pass failed because the registry did not answer."""

    # What a pass asks

    def trust_of(self, digest: str, inputs: TrustInputs) -> Verified | None:
        """The result of an earlier verification, if the policies are still the same."""
        known, trust = self.trusted.get(digest, (None, None))
        return trust if known == inputs else None

    def refusal_of(self, digest: str, inputs: TrustInputs) -> OcistateError | None:
        """Why a digest was refused under these policies, if that was the last refusal."""
        found = self.refusal
        if found is None or (found.digest, found.inputs) != (digest, inputs):
            return None
        return found.error

    def is_complete(self, digest: str, stack: Stack) -> bool:
        """Whether this process has applied the digest as a whole, under this spec."""
        return self.complete == (digest, stack)

    def is_late(self, elapsed: float) -> bool:
        """Whether the time to become healthy is over."""
        return self.healthy_by is not None and elapsed >= self.healthy_by

    def age(self, elapsed: float) -> float:
        """Seconds since the last look at the registry; infinite without one."""
        return math.inf if self.look is None else elapsed - self.look.at

    # Transitions of a source

    def asking(self, requests: int) -> ReconcileState:
        """The registry is asked now, which answers all requests so far."""
        return replace(self, answered=requests)

    def resolved(self, record: Pointed | None) -> ReconcileState:
        """The pointer names something; what it named before does not count any more."""
        return replace(self, record=record or self.record, look=None)

    def found(self, look: Look) -> ReconcileState:
        """What the pointer names is verified and fetched: it counts for an interval."""
        return replace(self, look=look)

    def verified(
        self, digest: str, inputs: TrustInputs, trust: Verified, *, keep: Collection[str]
    ) -> ReconcileState:
        """A digest is trusted. Of the results before, those of ``keep`` are kept."""
        known = {each: result for each, result in self.trusted.items() if each in keep}
        return replace(self, trusted=known | {digest: (inputs, trust)})

    def refused(self, digest: str, inputs: TrustInputs, error: OcistateError) -> ReconcileState:
        """A digest is not trusted."""
        return replace(self, refusal=Refusal(digest=digest, inputs=inputs, error=error))

    def loaded(self, content: Content) -> ReconcileState:
        """An artifact was read from its copy on disk."""
        return replace(self, content=content)

    def fetched(self, content: Content, *, cached: bool) -> ReconcileState:
        """An artifact was fetched; ``cached``: there is a copy on disk."""
        return replace(self, content=content, uncached="" if cached else content.digest)

    # Transitions of a rollout

    def began(self, digest: str, stack: Stack, *, healthy_by: float) -> ReconcileState:
        """A digest is applied now, and its time runs; once for each digest and spec."""
        if self.attempt == (digest, stack):
            return self
        return replace(self, attempt=RolloutKey(digest, stack), healthy_by=healthy_by)

    def applied(self, digest: str, stack: Stack) -> ReconcileState:
        """A digest is applied as a whole."""
        return replace(self, complete=RolloutKey(digest, stack))

    def incomplete(self) -> ReconcileState:
        """Objects failed, or are to be applied later."""
        return replace(self, complete=None)

    def repaired(self, count: int) -> ReconcileState:
        """The target was put back, and so many objects with it."""
        return replace(self, repairs=self.repairs + count, unrepaired="")

    def not_repaired(self, message: str) -> ReconcileState:
        """The target could not be compared or put back."""
        return replace(self, unrepaired=message)

    def kept_equal(self, beside: ReconcileState) -> ReconcileState:
        """Repairs were made beside this pass, which ``beside`` counts."""
        return replace(self, repairs=beside.repairs, unrepaired=beside.unrepaired)

    def allowed(self, healthy_by: float) -> ReconcileState:
        """Objects may take until then to become healthy."""
        return replace(self, healthy_by=healthy_by)

    def healthy(self) -> ReconcileState:
        """All objects are healthy."""
        return replace(self, healthy_by=None, explanation=None)

    def unhealthy(self, healthy_by: float) -> ReconcileState:
        """Objects are not healthy: their time runs from the first moment that they are not."""
        return self if self.healthy_by is not None else replace(self, healthy_by=healthy_by)

    def explained(self, report: HealthReport, cause: str) -> ReconcileState:
        """The cause of a report was looked up."""
        return replace(self, explanation=(report, cause))

    def unexplained(self) -> ReconcileState:
        """There is nothing to look up."""
        return replace(self, explanation=None)

    # Transitions of a pass

    def failed(self, error: OcistateError) -> ReconcileState:
        """A pass ended with an error."""
        unreachable = isinstance(error, Unavailable)
        return replace(self, failures=self.failures + 1, unreachable=unreachable)

    def succeeded(self) -> ReconcileState:
        """A pass ended without an error."""
        return replace(self, failures=0, unreachable=False)

    def forgotten(self) -> ReconcileState:
        """What was applied does not count any more: the next pass applies all of it again."""
        return replace(self, complete=None)
