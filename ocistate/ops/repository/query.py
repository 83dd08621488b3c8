"""Find objects in many artifacts: by their inventories first, by their layers only where needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from ocistate.artifact.diff import mask_secret
from ocistate.artifact.images import images_of
from ocistate.artifact.inventory import Inventory, InventoryEntry
from ocistate.artifact.pick import pick_resources
from ocistate.concurrency import each
from ocistate.errors import (
    ChannelError,
    NotFound,
    OcistateError,
    ProtocolError,
    StoreError,
    TrustError,
)
from ocistate.objects import ObjectId, Resource
from ocistate.oci.cached import CachedFetcher
from ocistate.oci.store import Fetcher, Store
from ocistate.oci.tags import names_artifact
from ocistate.ops.artifact.fetch import fetch_content, fetch_inventory, fetch_manifest
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.releases import find_record

_AT_ONCE: Final = 8
_MAX_STEPS: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for. What is empty fits everything; globs are shell patterns.

    ``kinds`` are ``Kind`` or ``Kind.group``; ``image`` is a glob over an image's whole name,
    or over it without tag and digest; ``where`` is a CEL expression over ``object``.
    """

    kinds: tuple[str, ...] = ()
    namespace: str = ""
    name: str = ""
    image: str = ""
    where: str = ""

    def fits(self, id: ObjectId) -> bool:
        """Whether an object may be meant, by its identity alone."""
        kind = id.kind.lower()
        names = {kind, f"{kind}.{id.group}" if id.group else kind}
        return (
            (not self.kinds or any(wanted.lower() in names for wanted in self.kinds))
            and fnmatchcase(id.namespace, self.namespace or "*")
            and fnmatchcase(id.name, self.name or "*")
        )

    def fits_image(self, image: str) -> bool:
        """Whether an image is meant."""
        bare = image.partition("@")[0]
        head, slash, last = bare.rpartition("/")
        names = {image, bare, f"{head}{slash}{last.partition(':')[0]}"}
        return any(fnmatchcase(name, self.image) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactLocation:
    """Where an artifact was found: the pointers (channel with number, or tag) that name it."""

    repository: str
    pointers: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An object that fits, and its images that fit where images were asked for."""

    location: ArtifactLocation
    entry: InventoryEntry
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """What was found, how many artifacts were looked at, and what could not be."""

    hits: tuple[Hit, ...]
    artifacts: int
    problems: tuple[str, ...]


async def locations_of_channels(
    store: Store, channels: Iterable[Channel]
) -> tuple[list[ArtifactLocation], list[str]]:
    """What channels name now, one place a digest, and why some could not be followed.

    A channel with keys in its trust is only believed when one of them signed its record.
    """
    found: dict[str, list[str]] = {}
    problems = []
    for channel in channels:
        try:
            record = await find_record(store, channel)
            digest = record.digest_of(channel.repository)
        except (TrustError, ChannelError, ProtocolError, NotFound) as error:
            problems.append(f"{store.reference}, {channel.name}: {error.message}")
            continue
        found.setdefault(digest, []).append(str(record))
    return _places(store, found), problems


async def locations_of_tags(store: Store, glob: str) -> list[ArtifactLocation]:
    """What the tags of a glob name now, one place a digest; records and signatures are left out."""
    found: dict[str, list[str]] = {}
    for tag in await store.tags():
        if fnmatchcase(tag, glob) and names_artifact(tag):
            with contextlib.suppress(NotFound):  # it went meanwhile
                found.setdefault((await store.resolve(tag)).digest, []).append(f":{tag}")
    return _places(store, found)


async def search(store: Store, locations: Sequence[ArtifactLocation], query: Query) -> QueryResult:
    """Look into artifacts of one repository. Raises StoreError when it cannot be reached."""
    fetcher = CachedFetcher.of(store)

    async def one(location: ArtifactLocation) -> tuple[list[Hit], str]:
        at = f"{location.repository}, {', '.join(location.pointers)}"
        try:
            return await _search(fetcher, location, query), ""
        except NotFound as error:
            return [], f"{at}: {error.message}"
        except StoreError:
            raise
        except OcistateError as error:
            return [], f"{at}: {error.message}"

    answers = await each(locations, one, at_once=_AT_ONCE)
    return QueryResult(
        hits=tuple(hit for hits, _ in answers for hit in hits),
        artifacts=len(locations),
        problems=tuple(problem for _, problem in answers if problem),
    )


async def _search(fetcher: Fetcher, location: ArtifactLocation, query: Query) -> list[Hit]:
    manifest = await fetch_manifest(fetcher, location.digest)
    inventory = await fetch_inventory(fetcher, manifest)
    entries = _candidates(inventory, query)
    if not entries or not (query.image or query.where):
        return [Hit(location=location, entry=entry) for entry in entries]
    content = await fetch_content(fetcher, manifest)
    picked = pick_resources(content.files, entries)
    return await asyncio.to_thread(_judge, location, entries, picked, query)


def _candidates(inventory: Inventory, query: Query) -> list[InventoryEntry]:
    if query.image and not any(query.fits_image(image.name) for image in inventory.images):
        return []
    return [entry for entry in inventory.resources if query.fits(entry.id)]


def _judge(
    location: ArtifactLocation,
    entries: Sequence[InventoryEntry],
    picked: dict[ObjectId, Resource],
    query: Query,
) -> list[Hit]:
    hits = []
    for entry in entries:
        obj = picked[entry.id].object
        images: tuple[str, ...] = ()
        if query.image:
            names = dict.fromkeys(image.name for image in images_of(obj))
            images = tuple(name for name in names if query.fits_image(name))
            if not images:
                continue
        if query.where and not _is_where(query.where, obj):
            continue
        hits.append(Hit(location=location, entry=entry, images=images))
    return hits


def _is_where(expression: str, obj: Any) -> bool:
    from ocistate.cel import EvaluationError, cel_value, is_true

    try:
        # What a Secret holds must not be guessed by asking.
        return is_true(expression, {"object": cel_value(mask_secret(obj))}, steps=_MAX_STEPS)
    except EvaluationError:
        return False  # a field that this object does not have


def _places(store: Store, found: Mapping[str, Sequence[str]]) -> list[ArtifactLocation]:
    return [
        ArtifactLocation(repository=str(store.reference), pointers=tuple(pointers), digest=digest)
        for digest, pointers in found.items()
    ]
