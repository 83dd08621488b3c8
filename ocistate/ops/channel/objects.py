"""One object over a channel's releases: when it changed, and what it was.

Inventories show in which releases an object differs; layers are fetched only for releases whose
fields are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocistate.artifact.diff import ChangeType
from ocistate.artifact.inventory import Inventory, InventoryEntry
from ocistate.artifact.pick import pick_resources
from ocistate.channel.history import Link
from ocistate.concurrency import each
from ocistate.errors import InputError, NotFound, OcistateError, StoreError
from ocistate.objects import ObjectId
from ocistate.oci.store import Fetcher
from ocistate.ops.artifact.fetch import fetch_content, fetch_inventory, fetch_manifest
from ocistate.ops.channel.reader import repository_of

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectName:
    """An object as given by a user: ``Deployment/shop/api``, ``Deployment.apps/shop/api``,
    ``Namespace/shop``. Parts that are left out match anything."""

    kind: str
    name: str
    group: str | None = None
    namespace: str | None = None

    def fits(self, id: ObjectId) -> bool:
        """Whether it matches this object; the kind is case-insensitive."""
        return (
            self.kind.lower() == id.kind.lower()
            and self.name == id.name
            and self.group in (None, id.group)
            and self.namespace in (None, id.namespace)
        )

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group is not None else self.kind
        return "/".join(part for part in (kind, self.namespace, self.name) if part)


def parse_object_name(text: str) -> ObjectName:
    """Read an object's name. Raises InputError."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise InputError(
            f"{text!r} is not the name of an object",
            hint="write KIND/NAME or KIND/NAMESPACE/NAME, such as Deployment/shop/api",
        )
    kind, dot, group = parts[0].partition(".")
    namespace = parts[1] if len(parts) == 3 else None
    return ObjectName(kind=kind, group=group if dot else None, namespace=namespace, name=parts[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRelease:
    """A release as one repository sees it: its link, the digest it pins there, its inventory.

    ``inventory`` is None when the artifact cannot be read, and ``problem`` says why.
    """

    link: Link
    digest: str
    inventory: Inventory | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChange:
    """A release that changed an object, and the release before it that has another state."""

    release: ObjectRelease
    change: ChangeType
    before: InventoryEntry | None
    after: InventoryEntry | None
    earlier: ObjectRelease | None


async def read_releases(store: Fetcher, links: Iterable[Link]) -> list[ObjectRelease]:
    """The releases of some links, in their order; each artifact is read once.

    An artifact that is gone makes a release without inventory; a registry that cannot be reached
    raises StoreError.
    """
    place = repository_of(store.reference)
    digests = {link.record.subjects.get(place, "") for link in links} - {""}

    async def one(digest: str) -> tuple[str, tuple[Inventory | None, str]]:
        try:
            manifest = await fetch_manifest(store, digest)
            return digest, (await fetch_inventory(store, manifest), "")
        except NotFound as error:
            return digest, (None, f"the artifact is gone: {error.message}")
        except StoreError:
            raise
        except OcistateError as error:
            return digest, (None, error.message)

    found = dict(await each(sorted(digests), one, at_once=_AT_ONCE))
    releases = []
    for link in links:
        digest = link.record.subjects.get(place, "")
        inventory, problem = found.get(digest, (None, f"it does not name {place}"))
        releases.append(
            ObjectRelease(link=link, digest=digest, inventory=inventory, problem=problem)
        )
    return releases


def find_object(releases: Sequence[ObjectRelease], name: ObjectName) -> ObjectId:
    """The one object of a name in any of the releases. Raises InputError when none or several."""
    ids = {
        entry.id
        for release in releases
        if release.inventory is not None
        for entry in release.inventory.resources
        if name.fits(entry.id)
    }
    if not ids:
        raise InputError(
            f"no release has {name}", hint="'ocistate inspect REF' shows an artifact's objects"
        )
    if len(ids) > 1:
        raise InputError(
            f"{name} may be {', '.join(str(id) for id in sorted(ids))}",
            hint="name its group (KIND.GROUP) and namespace",
        )
    return ids.pop()


def object_changes(releases: Sequence[ObjectRelease], id: ObjectId) -> list[ReleaseChange]:
    """The releases, newest first as given, that changed an object; unreadable ones are passed
    over."""
    readable = [release for release in releases if release.inventory is not None]
    changes = []
    for place, release in enumerate(readable):
        earlier = readable[place + 1] if place + 1 < len(readable) else None
        after, before = entry_in(release, id), entry_in(earlier, id)
        if (after.digest if after else "") == (before.digest if before else ""):
            continue
        change: ChangeType = (
            "added" if before is None else "removed" if after is None else "changed"
        )
        changes.append(
            ReleaseChange(
                release=release, change=change, before=before, after=after, earlier=earlier
            )
        )
    return changes


async def read_object(
    store: Fetcher, release: ObjectRelease | None, id: ObjectId
) -> dict[str, Any]:
    """An object as a release has it; empty when the release does not. Raises StoreError."""
    entry = entry_in(release, id)
    if release is None or entry is None:
        return {}
    content = await fetch_content(store, await fetch_manifest(store, release.digest))
    return pick_resources(content.files, [entry])[id].object


def entry_in(release: ObjectRelease | None, id: ObjectId) -> InventoryEntry | None:
    """How a release's inventory lists an object."""
    if release is None or release.inventory is None:
        return None
    return next((entry for entry in release.inventory.resources if entry.id == id), None)
