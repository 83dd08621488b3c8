"""What the phases of a pass return: plain values, folded into the status by `fold`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ocistate.agent.reconcile.channel import Pointed
from ocistate.agent.targets.base import Applied, HealthReport
from ocistate.api.status import LastHealthy, Truth
from ocistate.errors import OcistateError
from ocistate.ops.artifact.fetch import Content
from ocistate.ops.signing.verify import Verified

NOT_VERIFIED: Final = "could not be verified under the current policies"


@dataclass(frozen=True, slots=True)
class RunningTrust:
    """What the policies make of the digest that runs: trusted, refused, or not known yet."""

    trust: Verified | None = None
    refusal: OcistateError | None = None

    @property
    def truth(self) -> Truth:
        if self.refusal is not None:
            return "False"
        if self.trust is None or self.trust.mode == "off":
            return "Unknown"
        return "True" if self.trust.satisfied else "False"

    @property
    def message(self) -> str:
        if self.refusal is not None:
            return f"{self.refusal.reason}: {self.refusal.message}"
        return NOT_VERIFIED if self.trust is None else self.trust.summary


@dataclass(frozen=True, slots=True)
class Suspended:
    """Reconciliation is suspended: nothing is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Other Stacks must be ready first."""

    dependencies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What the pointer names now: a digest, by a tag or by a channel's record."""

    digest: str
    tag: str = ""
    record: Pointed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is to run: what the pointer names, or, while that is held back, what was healthy."""

    digest: str
    tag: str
    held_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The policies let an artifact run."""

    trust: Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An artifact is in memory. ``trouble``: why there is no copy on disk, if that is news."""

    content: Content
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An artifact to run, trusted and in memory. ``trouble`` as in Fetched."""

    content: Content
    trust: Verified
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How the target differs from an artifact."""

    digest: str
    different: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """Objects were put back outside of a rollout."""

    applied: Applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """The target is equal to the artifact, and was before."""

    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """An artifact is about to be applied. ``kinds``: those that it has objects of; None when it
    was applied before and is only repaired."""

    digest: str
    kinds: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """An artifact was applied. ``changed``: this process had not applied it as a whole before;
    ``new``: no other one had, either."""

    digest: str
    tag: str
    applied: Applied
    revision: str
    kinds: tuple[str, ...]
    signers: tuple[str, ...]
    record: Pointed | None
    changed: bool
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """How the objects are. ``wanted``: it is what is to run, so that `Ready` depends on it."""

    digest: str
    tag: str
    report: HealthReport
    truth: Truth
    reason: str
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A digest that did not become healthy in time is left for the last healthy one."""

    digest: str
    revision: str
    back_to: LastHealthy
    error: OcistateError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningVerified:
    """What the current policies say about what runs. ``newer``: the condition `Verified` is about
    what the pointer names, as it was verified in this pass."""

    standing: RunningTrust
    newer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A phase failed. ``served``: what runs was looked after all the same."""

    error: OcistateError
    digest: str = ""
    served: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A pass came to its end."""

    digest: str


Outcome = (
    Suspended
    | Waiting
    | Resolved
    | Chosen
    | Verification
    | Fetched
    | Compared
    | Repaired
    | Unchanged
    | Began
    | Executed
    | Observed
    | RolledBack
    | RunningVerified
    | Failed
    | Done
)
"""All that changes a status."""

End = Suspended | Waiting | Failed | Done
"""How a pass ends."""
