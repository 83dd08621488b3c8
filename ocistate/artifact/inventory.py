"""The inventory: what an artifact holds, resource by resource, in its config blob.

Two of them show what changed from one digest to the next, without a layer and a cluster.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from sys import intern
from typing import Any, Final

from ocistate.canonical import DIGEST_PATTERN, canonical_json, parse_json
from ocistate.errors import ArtifactError
from ocistate.objects import ObjectId, Resource, group_of

ARTIFACT_TYPE: Final = "application/vnd.ocistate.artifact.v1"
CONFIG_TYPE: Final = "application/vnd.ocistate.config.v1+json"
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """One resource as the inventory lists it; the fields of Resource without the object."""

    id: ObjectId
    api_version: str
    digest: str
    path: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Image:
    """A container image named in a pod template, and whether it is pinned by digest."""

    name: str
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What an artifact holds. ``source`` and ``revision`` are empty when they are not known."""

    content_digest: str
    source: str
    revision: str
    resources: tuple[InventoryEntry, ...]
    images: tuple[Image, ...]

    def to_json(self) -> bytes:
        """The config blob's bytes: canonical JSON."""
        return canonical_json(
            {
                "schemaVersion": SCHEMA_VERSION,
                "contentDigest": self.content_digest,
                "source": self.source,
                "revision": self.revision,
                "resources": [_entry_dict(entry) for entry in self.resources],
                "images": [{"image": i.name, "pinned": i.pinned} for i in self.images],
            }
        )


def is_clean(text: str) -> bool:
    """Whether a text can be shown on a terminal and written as UTF-8."""
    return text.isprintable() or all(unicodedata.category(c) not in ("Cc", "Cs") for c in text)


def entry_of(resource: Resource) -> InventoryEntry:
    """A resource without its object."""
    return InventoryEntry(
        id=resource.id,
        api_version=resource.api_version,
        digest=resource.digest,
        path=resource.path,
        index=resource.index,
    )


def sort_entries(entries: Iterable[InventoryEntry]) -> tuple[InventoryEntry, ...]:
    """In the order of the inventory: by identity."""
    return tuple(sorted(entries, key=lambda entry: entry.id))


def parse_inventory(raw: bytes) -> Inventory:
    """Read a config blob. Raises ArtifactError naming the field that is wrong."""
    try:
        value = parse_json(raw)
    except ValueError as error:
        raise ArtifactError(f"config: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ArtifactError("config: not an object")
    version = value.get("schemaVersion")
    if version != SCHEMA_VERSION or not isinstance(version, int):
        raise ArtifactError(
            f"config: schemaVersion is {version!r}, this ocistate reads {SCHEMA_VERSION}",
            hint="upgrade ocistate to read artifacts made by a newer one",
        )
    content_digest = _text(value, "contentDigest", "config")
    if not DIGEST_PATTERN.fullmatch(content_digest):
        raise ArtifactError(f"config: contentDigest is {content_digest!r}")
    resources = tuple(
        _parse_entry(item, f"config: resources[{place}]")
        for place, item in enumerate(_list(value, "resources"))
    )
    if len({entry.id for entry in resources}) != len(resources):
        raise ArtifactError("config: the same resource is listed twice")
    return Inventory(
        content_digest=content_digest,
        source=_text(value, "source", "config"),
        revision=_text(value, "revision", "config"),
        resources=resources,
        images=tuple(
            _parse_image(item, f"config: images[{place}]")
            for place, item in enumerate(_list(value, "images"))
        ),
    )


def _entry_dict(entry: InventoryEntry) -> dict[str, Any]:
    value: dict[str, Any] = {
        "apiVersion": entry.api_version,
        "kind": entry.id.kind,
        "name": entry.id.name,
        "path": entry.path,
        "index": entry.index,
        "digest": entry.digest,
    }
    if entry.id.namespace:
        value["namespace"] = entry.id.namespace
    return value


def _parse_entry(value: Any, where: str) -> InventoryEntry:
    if not isinstance(value, dict):
        raise ArtifactError(f"{where}: not an object")
    digest = _text(value, "digest", where)
    index = value.get("index")
    api_version = _text(value, "apiVersion", where)
    if not DIGEST_PATTERN.fullmatch(digest):
        raise ArtifactError(f"{where}.digest is {digest!r}")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise ArtifactError(f"{where}.index is {index!r}")
    # What many entries, or an entry and its resource, have in common is kept once.
    return InventoryEntry(
        id=ObjectId(
            intern(group_of(api_version)),
            intern(_text(value, "kind", where)),
            intern(_text(value, "namespace", where)) if "namespace" in value else "",
            _text(value, "name", where),
        ),
        api_version=intern(api_version),
        digest=intern(digest),
        path=intern(_text(value, "path", where)),
        index=index,
    )


def _parse_image(value: Any, where: str) -> Image:
    if not isinstance(value, dict) or not isinstance(value.get("pinned"), bool):
        raise ArtifactError(f"{where}: not an image")
    return Image(name=_text(value, "image", where), pinned=value["pinned"])


def _text(value: dict[str, Any], key: str, where: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise ArtifactError(f"{where}: {key} is not text")
    if not is_clean(text):
        raise ArtifactError(f"{where}: {key} has control characters")
    return text


def _list(value: dict[str, Any], key: str) -> list[Any]:
    items = value.get(key)
    if not isinstance(items, list):
        raise ArtifactError(f"config: {key} is not a list")
    return items
