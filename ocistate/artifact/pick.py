"""A few resources out of many files, without reading the others.

A diff of two artifacts of ten thousand objects that differ in ten reads twenty documents. What is
picked must have the very digest that the inventory lists, so a guess at where a document begins
costs a second look at worst, and never gives another object.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from ocistate.artifact.inventory import InventoryEntry
from ocistate.artifact.manifests import read_resources
from ocistate.documents.reader import Budget
from ocistate.errors import ArtifactError, InvalidManifest
from ocistate.objects import ObjectId, Resource

_MARKER: Final = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_UNUSUAL: Final = re.compile(rb"^(?:\.\.\.|%)", re.MULTILINE)
_EMPTY: Final = re.compile(rb"(?:\s|\xef\xbb\xbf|#[^\n]*(?:\n|\Z))*")


def pick_resources(
    files: Mapping[str, bytes], entries: Iterable[InventoryEntry]
) -> dict[ObjectId, Resource]:
    """The resources that these entries of an inventory list.

    Raises ArtifactError where a file holds no such resource, InvalidManifest.
    """
    wanted: dict[str, dict[ObjectId, InventoryEntry]] = defaultdict(dict)
    for entry in entries:
        wanted[entry.path][entry.id] = entry
    found: dict[ObjectId, Resource] = {}
    budget = Budget()
    for path, listed in wanted.items():
        data = files.get(path, b"")
        pieces = _documents(path, data, {entry.index for entry in listed.values()})
        here = _pick(path, pieces, listed, budget)
        if len(here) < len(listed):
            here = _pick(path, [data], listed, budget)
        if len(here) < len(listed):
            missing = min(listed.keys() - here.keys())
            raise ArtifactError(
                f"{missing} in {path} is not what the artifact's inventory lists",
                hint="the artifact was put together wrongly: pack and push it again",
            )
        found |= here
    return found


def _pick(
    path: str, pieces: Iterable[bytes], listed: Mapping[ObjectId, InventoryEntry], budget: Budget
) -> dict[ObjectId, Resource]:
    found = {}
    for piece in pieces:
        try:
            for resource in read_resources(path, piece, budget):
                entry = listed.get(resource.id)
                if entry is not None and entry.digest == resource.digest:
                    found[resource.id] = resource
        except InvalidManifest:
            continue  # cut at the wrong place; read as a whole it may be valid
    return found


def _documents(path: str, data: bytes, places: set[int]) -> list[bytes]:
    """The texts of some of a YAML file's documents, by their places."""
    if path.endswith(".json") or _UNUSUAL.search(data):
        return [data]
    starts = [match.start() for match in _MARKER.finditer(data)]
    if not starts or not _EMPTY.fullmatch(data, 0, starts[0]):
        starts.insert(0, 0)
    ends = [*starts[1:], len(data)]
    return [data[starts[n] : ends[n]] for n in sorted(places) if n < len(starts)]
