"""What a pass needs from outside, and what it knows so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from ocistate.agent.reconcile.cache import ContentCache
from ocistate.agent.reconcile.fold import fold
from ocistate.agent.reconcile.outcome import Found, Outcome
from ocistate.agent.reconcile.state import ReconcileState, TrustInputs
from ocistate.agent.targets.base import Target
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.channel.rings import Cluster
from ocistate.objects import StackKey
from ocistate.oci.store import Store
from ocistate.signing.policy.model import TrustPolicy


class Services(Protocol):
    """What a pass needs from outside."""

    @property
    def cluster(self) -> Cluster:
        """The cluster of this agent: it decides to which ring of a rollout the agent belongs."""
        ...

    async def connect_store(self, stack: Stack) -> Store:
        """The Stack's repository, with its credentials."""
        ...

    async def prepare(self, stack: Stack) -> None:
        """Called before the first object is written: from now on a deletion has to wait for us."""
        ...

    def policies(self) -> tuple[TrustPolicy, ...]:
        """All current trust policies."""
        ...

    def target(self, stack: Stack) -> Target:
        """The Stack's target; the same one in every pass."""
        ...

    def cache(self, stack: Stack) -> ContentCache:
        """The Stack's artifacts on disk."""
        ...

    def is_ready(self, key: StackKey) -> bool | None:
        """Whether another Stack is Ready; None when there is none of that name."""
        ...

    def cycle(self, stack: Stack) -> tuple[StackKey, ...]:
        """The Stacks through which a Stack depends on itself; empty when it does not."""
        ...

    def now(self) -> datetime:
        """The wall clock."""
        ...

    def elapsed(self) -> float:
        """A monotonic clock, in seconds."""
        ...

    async def save(self, stack: Stack, status: StackStatus) -> None:
        """Write the status before the pass continues."""
        ...

    def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Emit an Event; ``kind`` is Normal or Warning."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one pass works with; it does not change during the pass."""

    stack: Stack
    services: Services
    trust: TrustInputs
    requests: int = 0
    """How often a look at the registry was asked for, beside the interval."""
    jitter: Callable[[], float]

    def is_fresh(self, state: ReconcileState) -> bool:
        """Whether the last look at the registry still counts."""
        if self.requests != state.answered:
            return False
        return state.age(self.services.elapsed()) < self.stack.spec.source.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a pass knows so far."""

    status: StackStatus
    state: ReconcileState
    digest: str = ""
    """What is to run; empty before that is known."""
    tag: str = ""
    """The tag that named it."""
    verified: bool = False
    """Whether this pass has verified it, and the condition is about that."""

    @property
    def last_good(self) -> str:
        """The digest to keep equal while a newer one cannot be had; empty without one."""
        status = self.status
        good = status.last_healthy if status.held_back is not None else status.current
        return good.digest if good is not None else ""


def advance(inputs: Inputs, progress: Progress, outcome: Outcome | Found) -> Progress:
    """Fold an outcome into what the pass knows, and emit its Events."""
    status, events = fold(progress.status, outcome, stack=inputs.stack, now=inputs.services.now())
    for event in events:
        inputs.services.event(inputs.stack, event.kind, str(event.reason), event.message)
    return replace(progress, status=status)


def worth_keeping(status: StackStatus) -> set[str]:
    """What may be gone back to, or be repaired without the registry."""
    known = (status.current, status.last_healthy)
    return {each.digest for each in known if each is not None}
