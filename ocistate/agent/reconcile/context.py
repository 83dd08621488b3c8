"""What a pass needs from outside, and what is remembered from one pass to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ocistate.agent.reconcile.cache import ContentCache
from ocistate.agent.reconcile.channel import Pointed
from ocistate.agent.targets.base import HealthReport, Target
from ocistate.api.stack import Stack
from ocistate.api.status import (
    StackStatus,
)
from ocistate.channel.rings import Cluster
from ocistate.errors import (
    OcistateError,
)
from ocistate.objects import StackKey
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import Content
from ocistate.ops.signing.verify import Verified
from ocistate.signing.policy.model import TrustPolicy

TrustInputs = tuple[str, tuple[TrustPolicy, ...]]
"""What decides whether a digest is trusted: the policy that the Stack names, and all there are."""


class Services(Protocol):
    """What a pass needs from outside."""

    @property
    def cluster(self) -> Cluster:
        """The cluster that this agent is of: it says to which ring of a rollout it belongs."""
        ...

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

    def is_ready(self, key: StackKey) -> bool | None:
        """Whether another Stack is Ready; None when there is none of that name."""
        ...

    def cycle(self, stack: Stack) -> tuple[StackKey, ...]:
        """The Stacks through which a Stack depends on itself; empty when it does not."""
        ...

    def now(self) -> datetime:
        """The clock, as people set it."""
        ...

    def elapsed(self) -> float:
        """Seconds since some moment, whatever happens to the clock."""
        ...

    async def save(self, stack: Stack, status: StackStatus) -> None:
        """Keep the status, before the pass goes on."""
        ...

    def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Tell the user: ``kind`` is Normal or Warning."""
        ...


@dataclass(slots=True)
class ReconcileState:
    """What a process remembers of a Stack between two passes; losing it costs work, not truth."""

    trusted: dict[str, tuple[TrustInputs, Verified]] = field(default_factory=dict)
    """By digest: what it was verified under, and the outcome."""
    refused: tuple[TrustInputs, str, OcistateError] | None = None
    """What the digest was refused under that was refused last, and why."""
    applied: tuple[str, Stack] | None = None
    """(digest, spec) that this process has applied as a whole."""
    content: Content | None = None
    unkept: str = ""
    """The digest of which there is no copy on disk, since there was no room for it."""
    unrepaired: str = ""
    """Why what runs could not be put back at the last try."""
    pointed: Pointed | None = None
    """What the channel named, and the record that says so."""
    looked: tuple[Stack, str, float] | None = None
    """The spec, the digest its pointer named, and when: it holds for an interval."""
    tag: str = ""
    """The tag that named it."""
    resolve_again: bool = False
    """Somebody says that the registry has something new: what was seen does not hold."""
    repairs: int = 0
    """How many objects have been put back."""
    trying: tuple[str, Stack] | None = None
    """(digest, spec) that is being applied."""
    healthy_by: float | None = None
    """When what is not applied and healthy yet is late; None while all is well."""
    explained: tuple[HealthReport, str] | None = None
    """Trouble, and what was found out about it."""
    failures: int = 0
    unreachable: bool = False
    """Whether the last pass failed because the registry did not answer."""


class Requeue(Exception):
    """Ends a pass early without an error. ``after``: seconds to the next pass."""

    def __init__(self, after: float | None) -> None:
        super().__init__()
        self.after = after
