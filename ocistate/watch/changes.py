"""What happens to owned objects: the events that the store sends to its listeners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ocistate.apply.plan import Live
from ocistate.objects import ObjectId


class ChangeKind(StrEnum):
    """What happened to an owned object."""

    APPEARED = "appeared"
    DRIFTED = "drifted"
    GONE = "gone"
    HEALTH = "health"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """``by`` is who wrote last, for a drift, as far as managedFields show."""

    owner: str
    id: ObjectId
    what: ChangeKind
    by: str = ""


Listener = Callable[[ObjectChange], None]


def is_same(one: Live, other: Live) -> bool:
    """Whether nothing that concerns us differs."""
    return (
        one.fields == other.fields
        and one.marker == other.marker
        and one.uid == other.uid
        and one.deleting == other.deleting
        and one.protected == other.protected
        and one.forced == other.forced
    )


def is_seen(known: Live, applied: Live) -> bool:
    """Whether what an apply answered is known already, from the watch."""
    same = known.uid == applied.uid and known.resource_version == applied.resource_version
    return same or is_newer(known, applied.uid, applied.resource_version)


def is_newer(known: Live, uid: str, version: str) -> bool:
    """Whether what is known is a later state of the same object than that version of it.

    Versions of built-in kinds and CRDs are numbers that grow; of others nothing is assumed.
    """
    first = known.resource_version
    return known.uid == uid and first.isdigit() and version.isdigit() and int(first) > int(version)
