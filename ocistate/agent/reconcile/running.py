"""Whether what runs is still trusted: said in the status, apart from what the pointer names now.

A key that is revoked tears nothing down. But whoever looks at a Stack must see that it runs what
no one vouches for any more, also while a newer artifact is refused for another reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ocistate.api.status import StackStatus, Truth
from ocistate.errors import OcistateError
from ocistate.ops.signing.verify import Verified

REASON = "RunsUnverified"
"""Of the event that tells of it."""

UNKNOWN = "could not be verified under the policies that there are now"


@dataclass(frozen=True, slots=True)
class RunningTrust:
    """What the policies make of the digest that runs: trusted, refused, or not looked at yet."""

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
        return UNKNOWN if self.trust is None else self.trust.summary


def with_running_trust(
    status: StackStatus, standing: RunningTrust, *, now: datetime, generation: int, newer: bool
) -> tuple[StackStatus, str]:
    """The status with what is thought of the running digest, and what is news of it, or nothing.

    ``newer``: the condition tells of what the pointer names, as it was verified a moment ago.
    """
    current = status.current
    if current is None:
        return status, ""
    truth, message = standing.truth, standing.message[:1024]
    new = replace(status, current=replace(current, verified=truth, verification=message))
    unknown = standing.trust is None and standing.refusal is None
    if unknown and not newer and new.is_true("Verified"):
        new = new.with_condition(
            "Verified", "Unknown", "NotVerifiedYet", UNKNOWN, now=now, generation=generation
        )
    news = truth == "False" and current.verified != "False"
    return new, f"{current.digest} runs unverified: {message}" if news else ""
