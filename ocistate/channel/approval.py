"""An approval: a signed statement that one digest may go into one channel. Pure.

It is an attestation of the artifact, so that it is stored, listed and copied as one; its predicate
names the channel, the repository and the digest once more, so that it approves nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ocistate.channel.trust import CLOCK_SKEW
from ocistate.times import format_time, parse_signed_time

PREDICATE: Final = "https://ocistate.dev/approval/v1"

_REQUIRED: Final = ("channel", "repository", "digest", "reason", "at")
MAX_TEXT: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What an approver states. ``repository`` is named as channels' records name it."""

    channel: str
    repository: str
    digest: str
    reason: str
    at: datetime
    expires: datetime | None = None

    def predicate(self) -> dict[str, Any]:
        """What is signed."""
        value: dict[str, Any] = {
            "channel": self.channel,
            "repository": self.repository,
            "digest": self.digest,
            "reason": self.reason,
            "at": format_time(self.at),
        }
        if self.expires is not None:
            value["expires"] = format_time(self.expires)
        return value


def parse_approval(predicate: Any) -> Approval:
    """Read a predicate whose signature holds. Raises ValueError: a sentence's end.

    A field that is not known is refused: it may limit what the approval is for.
    """
    if not isinstance(predicate, Mapping):
        raise ValueError("is no object")
    texts: dict[str, str] = {}
    for name in (*_REQUIRED, "expires"):
        value = predicate.get(name)
        if value is None and name == "expires":
            continue
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise ValueError(f"has no text as its {name}")
        texts[name] = value
    if unknown := sorted(str(key) for key in predicate.keys() - {*_REQUIRED, "expires"}):
        raise ValueError(f"has the unknown field {unknown[0][:40]!r}")
    try:
        at = parse_signed_time(texts["at"])
        expires = parse_signed_time(texts["expires"]) if "expires" in texts else None
    except ValueError as error:
        raise ValueError(f"has a wrong time: {error}") from None
    return Approval(
        channel=texts["channel"],
        repository=texts["repository"],
        digest=texts["digest"],
        reason=texts["reason"],
        at=at,
        expires=expires,
    )


def why_not(predicate: Any, *, channel: str, repository: str, digest: str, now: datetime) -> str:
    """Why an approval does not count for this move, as a sentence's end; empty when it does."""
    try:
        approval = parse_approval(predicate)
    except ValueError as error:
        return str(error)
    if (approval.channel, approval.repository) != (channel, repository):
        return f"is for the channel {approval.channel} of {approval.repository}"
    if approval.digest != digest:
        return f"is for {approval.digest}"
    if approval.at > now + CLOCK_SKEW:
        return f"is from the future: {format_time(approval.at)}"
    if approval.expires is not None and approval.expires <= now:
        return f"expired at {format_time(approval.expires)}"
    return ""
