"""Reading what an ``index.json`` lists, whether its blobs lie in a folder or in a tar.

Image spec 1.1, "Image Layout". Tags are the ``org.opencontainers.image.ref.name`` annotations of
the index; what refers to an artifact is found by reading what the index lists, and the indexes
in it.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from ocistate.canonical import DIGEST_PATTERN, canonical_json, digest_of, parse_json
from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, ProtocolError
from ocistate.oci.model import (
    INDEX,
    INDEX_TYPES,
    Descriptor,
    Index,
    Manifest,
    parse_index,
    parse_manifest,
)
from ocistate.oci.store import MAX_MANIFEST_BYTES
from ocistate.reference import TAG_PATTERN, Reference

REF_NAME: Final = "org.opencontainers.image.ref.name"
LAYOUT_FILE: Final = canonical_json({"imageLayoutVersion": "1.0.0"})
MAX_INDEX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry of an index.json: its JSON as it was read, and what of it counts here."""

    value: Mapping[str, Any]
    descriptor: Descriptor
    tag: str | None

    def tagged(self, tag: str | None) -> IndexEntry:
        """The same entry under another tag or none; its other fields are kept."""
        notes = {key: text for key, text in self.descriptor.annotations.items() if key != REF_NAME}
        if tag:
            notes[REF_NAME] = tag
        value = {key: item for key, item in self.value.items() if key != "annotations"}
        if notes:
            value["annotations"] = notes
        return IndexEntry(value, replace(self.descriptor, annotations=notes), tag)


class IndexListing:
    """An index.json, read once: its entries, found by tag and by digest."""

    __slots__ = ("_by_digest", "_by_tag", "_document", "entries")

    def __init__(self, document: Mapping[str, Any], entries: Iterable[IndexEntry]) -> None:
        self._document = document
        self.entries = tuple(entries)
        self._by_tag = {entry.tag: entry for entry in reversed(self.entries) if entry.tag}
        self._by_digest = {entry.descriptor.digest: entry for entry in reversed(self.entries)}

    @classmethod
    def empty(cls) -> IndexListing:
        """The listing of a layout that holds nothing yet."""
        return cls({"schemaVersion": 2, "mediaType": INDEX}, ())

    @classmethod
    def parse(cls, raw: bytes) -> IndexListing:
        """Read an index.json. Raises ProtocolError."""
        index = parse_index(raw)
        values = parse_json(raw)
        entries = [
            IndexEntry(value, descriptor, _tag(descriptor))
            for value, descriptor in zip(values["manifests"], index.manifests, strict=True)
        ]
        return cls({key: item for key, item in values.items() if key != "manifests"}, entries)

    def find(self, target: str) -> IndexEntry | None:
        """What a tag or a digest names."""
        where = self._by_digest if DIGEST_PATTERN.fullmatch(target) else self._by_tag
        return where.get(target)

    @property
    def tags(self) -> list[str]:
        """All tags, sorted."""
        return sorted(self._by_tag)

    def with_entry(self, descriptor: Descriptor, tag: str | None) -> IndexListing:
        """With one more entry, or the same where it is listed already.

        A tag is taken from whatever has it; an untagged entry gives way to the tagged one, as other
        tools write it.
        """
        known = self._by_digest.get(descriptor.digest)
        if known is not None and tag is None:
            return self
        if tag and (held := self._by_tag.get(tag)) is not None:
            if held.descriptor.digest == descriptor.digest:
                return self
            entries = list(self.without(tag).entries)
        else:
            entries = list(self.entries)
        entry = known or IndexEntry(descriptor.to_dict(), descriptor, None)
        kept = [e for e in entries if e.descriptor.digest != descriptor.digest or e.tag is not None]
        return IndexListing(self._document, [*kept, entry.tagged(tag)])

    def without(self, target: str) -> IndexListing:
        """Without a tag, whose manifest stays; or without a digest and all its tags."""
        if DIGEST_PATTERN.fullmatch(target):
            kept = [entry for entry in self.entries if entry.descriptor.digest != target]
            return IndexListing(self._document, kept)
        kept = [entry for entry in self.entries if entry.tag != target]
        gone = self._by_tag.get(target)
        if gone is not None and all(e.descriptor.digest != gone.descriptor.digest for e in kept):
            kept.append(gone.tagged(None))
        return IndexListing(self._document, kept)

    def to_bytes(self) -> bytes:
        """The index.json: the same entries make the same bytes."""
        entries = sorted(self.entries, key=lambda e: (e.tag or "", e.descriptor.digest))
        return canonical_json({**self._document, "manifests": [entry.value for entry in entries]})


class IndexedStore(ABC):
    """The reading half of a layout's folder and of an archive."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference.base
        self._referring: dict[str, tuple[str, Descriptor] | None] = {}
        self._indexes: dict[str, tuple[Descriptor, ...]] = {}
        self._scanned: tuple[IndexListing, Mapping[str, Sequence[Descriptor]]] | None = None

    async def mount_blob(self, descriptor: Descriptor, origin: Reference) -> bool:
        return False  # there are no other repositories beside this one

    @property
    def reference(self) -> Reference:
        return self._reference

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def _listing(self) -> IndexListing:
        """The index as it is now. Raises StoreError."""

    @abstractmethod
    def _read_small(self, digest: str, limit: int) -> bytes:
        """A blob of at most ``limit`` bytes, unchecked. Raises NotFound, LimitExceeded."""

    @abstractmethod
    def _read_pieces(self, digest: str) -> AsyncIterator[bytes]:
        """A blob in pieces, unchecked. Raises NotFound."""

    async def resolve(self, target: str) -> Descriptor:
        return self._find(target)

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        return self._load(self._find(target))

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        if descriptor.size > limit:
            raise LimitExceeded(
                f"{descriptor.digest} in {self._reference} has {descriptor.size} bytes, "
                f"more than the {limit} that are read of such a thing"
            )
        if descriptor.data:
            return descriptor.data
        return b"".join([piece async for piece in self.stream_blob(descriptor)])

    async def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        hasher = hashlib.sha256()
        left = descriptor.size
        held = b""
        async for piece in self._read_pieces(descriptor.digest):
            left -= len(piece)
            if left < 0:
                break
            hasher.update(piece)
            # The last piece is held back until the digest is known to be right.
            if held:
                yield held
            held = piece
        if left or f"sha256:{hasher.hexdigest()}" != descriptor.digest:
            raise self._damaged(descriptor.digest)
        if held:
            yield held

    async def tags(self) -> list[str]:
        return self._listing().tags

    async def untagged(self) -> list[Descriptor]:
        """What is listed without a tag, on its own: no part of an index that is listed, not about
        anything that is, and not so new that its writer may be about to tag it."""
        listing = self._listing()
        entries = [entry.descriptor for entry in listing.entries]
        parts = {item.digest for entry in entries for item in self._all_members(entry)}
        about = {
            item.digest
            for subject, items in self._scan().items()
            if listing.find(subject) is not None or subject in parts
            for item in items
        }
        tagged = {entry.descriptor.digest for entry in listing.entries if entry.tag}
        return [
            item
            for item in entries
            if item.digest not in tagged | parts | about and self._is_settled(item.digest)
        ]

    def _all_members(self, listed: Descriptor) -> list[Descriptor]:
        """What an index lists, and what the indexes in it do."""
        found: dict[str, Descriptor] = {}
        waiting = [listed]
        while waiting:
            item = waiting.pop()
            if item.media_type in INDEX_TYPES:
                new = [m for m in self._members(item) if m.digest not in found]
                found |= {m.digest: m for m in new}
                waiting += new
        return list(found.values())

    def _is_settled(self, digest: str) -> bool:
        """Whether a manifest was not written just now."""
        return True

    async def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        return [
            item
            for item in self._scan().get(digest, ())
            if artifact_type is None or item.artifact_type == artifact_type
        ]

    def _scan(self) -> Mapping[str, Sequence[Descriptor]]:
        """By subject, what refers to it; made again when the index has changed."""
        listing = self._listing()
        if self._scanned is not None and self._scanned[0] is listing:
            return self._scanned[1]
        found: dict[str, list[Descriptor]] = {}
        seen: set[str] = set()
        whole = True
        waiting = [entry.descriptor for entry in listing.entries]
        while waiting:
            item = waiting.pop()
            if item.digest in seen:
                continue
            seen.add(item.digest)
            if item.media_type in INDEX_TYPES:
                waiting += self._members(item)
            try:
                refers = self._refers(item)
            except NotFound:
                whole = False  # a copy that was cut short, or is of one platform
                continue
            if refers is not None:
                found.setdefault(refers[0], []).append(refers[1])
        self._scanned = (listing, found) if whole else None
        return found

    def _refers(self, listed: Descriptor) -> tuple[str, Descriptor] | None:
        """What a manifest refers to, and how it is then listed: read once, it can't change."""
        if listed.digest not in self._referring:
            try:
                manifest = self._load(listed)
            except ProtocolError:
                self._referring[listed.digest] = None  # listed, but nothing that could refer
            else:
                item = replace(manifest.descriptor, annotations=manifest.annotations)
                subject = manifest.subject
                self._referring[listed.digest] = (subject.digest, item) if subject else None
        return self._referring[listed.digest]

    def _reachable(self) -> set[str]:
        """The digests of all that is listed, and of all that it needs."""
        found: set[str] = set()
        waiting = [entry.descriptor for entry in self._listing().entries]
        while waiting:
            item = waiting.pop()
            if item.digest in found:
                continue
            found.add(item.digest)
            try:
                manifest = self._load(item)
            except NotFound:
                continue
            if isinstance(manifest, Index):
                waiting += manifest.manifests
            else:
                found |= {blob.digest for blob in (manifest.config, *manifest.layers)}
        return found

    def _find(self, target: str) -> Descriptor:
        entry = self._listing().find(target)
        if entry is not None:
            return entry.tagged(None).descriptor
        if DIGEST_PATTERN.fullmatch(target):
            nested = self._nested(target)
            if nested is not None:
                return nested
        raise NotFound(
            f"{self._reference} has no {target}", hint="'ocistate ls' shows the tags there are"
        )

    def _nested(self, digest: str) -> Descriptor | None:
        """What is listed in an index of the layout, but not in its own."""
        waiting = [entry.descriptor for entry in self._listing().entries]
        seen = set()
        while waiting:
            item = waiting.pop()
            if item.digest == digest:
                with contextlib.suppress(NotFound):
                    self._load(item)
                    return item
            if item.media_type in INDEX_TYPES and item.digest not in seen:
                seen.add(item.digest)
                waiting += self._members(item)
        return None

    def _members(self, listed: Descriptor) -> tuple[Descriptor, ...]:
        """What an index lists; nothing when it is not whole here."""
        if listed.digest not in self._indexes:
            try:
                index = self._load(listed)
            except NotFound:
                return ()
            assert isinstance(index, Index)
            self._indexes[listed.digest] = index.manifests
        return self._indexes[listed.digest]

    def _load(self, descriptor: Descriptor) -> Manifest | Index:
        raw = self._read_small(descriptor.digest, MAX_MANIFEST_BYTES)
        if digest_of(raw) != descriptor.digest:
            raise self._damaged(descriptor.digest)
        if descriptor.media_type in INDEX_TYPES:
            return parse_index(raw, descriptor.media_type)
        return parse_manifest(raw, descriptor.media_type)

    def _damaged(self, digest: str) -> DigestMismatch:
        return DigestMismatch(
            f"the blob {digest} of {self._reference} does not match its name",
            hint="it is damaged or was tampered with: copy the artifact again",
        )

    def _absent(self, digest: str) -> NotFound:
        return NotFound(f"{self._reference} has no blob {digest}")


def _tag(entry: Descriptor) -> str | None:
    """skopeo and oras write the tag; others write ``name:tag``, of which the tag counts."""
    name = entry.annotations.get(REF_NAME, "").rpartition(":")[2]
    return name if TAG_PATTERN.fullmatch(name) else None
