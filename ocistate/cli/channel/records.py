"""How a channel's record is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocistate.channel.record import Record


def record_row(record: Record, digest: str, signer: str) -> dict[str, Any]:
    """A record as the plain values that ``-o json`` prints."""
    from ocistate.channel.rings import write_rollout
    from ocistate.times import format_time

    rollout = record.rollout
    return {
        "channel": record.channel,
        "repository": record.repository,
        "epoch": record.epoch,
        "sequence": record.sequence,
        "record": digest,
        "previous": record.previous,
        "issuedAt": format_time(record.issued_at),
        "expires": format_time(record.expires) if record.expires else "",
        "hold": record.hold,
        "reason": record.reason,
        "source": record.source,
        "actor": record.actor,
        "signer": signer,
        "rollout": write_rollout(rollout, format_time(rollout.opened_at)) if rollout else None,
        "subjects": [
            {
                "repository": place,
                "digest": pinned,
                "source": record.artifacts[place].source if place in record.artifacts else "",
                "revision": record.artifacts[place].revision if place in record.artifacts else "",
            }
            for place, pinned in sorted(record.subjects.items())
        ],
    }
