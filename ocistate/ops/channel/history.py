"""Walk a channel's records back from the newest, from a store and a cache on disk.

Records are fetched by the tags of the numbers that must come next, many at a time, and are trusted
only for the digests that the chain names. So an overwritten tag shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ocistate.channel.history import MAX_RECORDS, History, Link, check_link, find_forks
from ocistate.channel.record import Record, name_tag, number_tag, parse_record
from ocistate.concurrency import each
from ocistate.errors import (
    ChannelError,
    DigestMismatch,
    InvalidRecord,
    InvalidSignature,
    NotFound,
    ProtocolError,
)
from ocistate.oci.cached import cache_folder
from ocistate.oci.mirrors import MirroredStore, ask_any
from ocistate.oci.store import Store
from ocistate.ops.channel.reader import Channel, digest_at, fetch_record, no_channel, read_newest
from ocistate.signing.envelope import parse_bundle, parse_statement

_BATCH: Final = 64
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Known:
    """A record as it was fetched: its payload, and the fingerprint of the key whose signature
    over it holds; empty when none of the keys known then signed it."""

    payload: str
    fingerprint: str
    problem: str = ""


@dataclass(slots=True)
class RecordCache:
    """One channel's records on disk, by digest: a line each, never changed, only added to."""

    path: Path
    known: dict[str, Known] = field(default_factory=dict)

    @classmethod
    def open(cls, channel: Channel, root: Path | None = None) -> RecordCache:
        """Read the cache of a channel; what cannot be read counts as missing."""
        folder = root or cache_folder("records")
        mark = hashlib.sha256(f"{channel.repository}\n{channel.name}".encode()).hexdigest()
        cache = cls(folder / f"{mark[:32]}.jsonl")
        with contextlib.suppress(OSError):
            for line in cache.path.read_bytes().splitlines():
                with contextlib.suppress(ValueError, TypeError):
                    digest, fingerprint, payload = json.loads(line)
                    cache.known[digest] = Known(payload, fingerprint)
        return cache

    def add(self, found: Iterable[tuple[str, Known]]) -> None:
        """Keep records whose signature is valid. Best effort: a full disk only costs time later."""
        lines = []
        for digest, known in found:
            if known.fingerprint and digest not in self.known:
                self.known[digest] = known
                lines.append(json.dumps([digest, known.fingerprint, known.payload]))
        if lines:
            with contextlib.suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with self.path.open("ab") as stream:
                    # One write: lines of two processes do not mix. A newline ends a torn line.
                    stream.write(("\n" + "\n".join(lines) + "\n").encode())


async def read_history(
    store: Store,
    channel: Channel,
    *,
    limit: int = MAX_RECORDS,
    cache: RecordCache | None = None,
    all_tags: bool = False,
) -> History:
    """The channel's records, newest first. Without keys in its trust nothing is verified.

    ``all_tags`` reads the tag of every number, also of records that the cache has. Raises
    NotFound when there is no such channel, StoreError.
    """
    newest = await _newest(store, channel)
    walk = _Walk(store, channel, cache or RecordCache(Path(os.devnull)))
    history = await walk.run(newest, min(limit, MAX_RECORDS))
    if cache is not None:
        cache.add(walk.fetched.items())
    if all_tags:
        await walk.read_tags([link.record for link in history.links])
    forks = find_forks(history.links, walk.tagged)
    return History(links=history.links, forks=forks, broken=history.broken, more=history.more)


async def _newest(store: Store, channel: Channel) -> str:
    """The digest of the record that the channel's name holds. Raises NotFound.

    Only a verified one may come from a mirror.
    """
    if isinstance(store, MirroredStore) and channel.trust.keys:
        return (await read_newest(store, channel)).digest
    newest = await digest_at(store, name_tag(channel.name))
    if not newest:
        raise no_channel(store.reference, channel.name)
    return newest


@dataclass(slots=True)
class _Walk:
    store: Store
    channel: Channel
    cache: RecordCache
    fetched: dict[str, Known] = field(default_factory=dict)
    tagged: dict[tuple[int, int], str] = field(default_factory=dict)
    _names: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._names = {k.key.fingerprint: k.name for k in self.channel.trust.keys}

    async def run(self, digest: str, limit: int) -> History:
        links: list[Link] = []
        while digest and len(links) < limit:
            follower = links[-1].record if links else None
            known = await self._get(digest, follower)
            if isinstance(known, str):
                return History(links=tuple(links), broken=known)
            try:
                record = parse_record(parse_statement(known.payload.encode()))
            except (InvalidSignature, InvalidRecord) as error:
                return History(links=tuple(links), broken=f"{digest}: {error.message}")
            links.append(self._link(digest, known, record, follower))
            if follower is not None and record.number >= follower.number:
                return History(links=tuple(links), broken=links[-1].problem)
            digest = record.previous
        return History(links=tuple(links), more=bool(digest))

    def _link(self, digest: str, known: Known, record: Record, follower: Record | None) -> Link:
        signer, problem = self._names.get(known.fingerprint, ""), ""
        here = (self.channel.name, self.channel.repository)
        if follower is not None:
            problem = check_link(follower, record)
        elif (record.channel, record.repository) != here:
            problem = f"it is a record of the channel {record.channel} of {record.repository}"
        if self._names and not signer:
            problem = problem or known.problem or "signed by no channel key"
        return Link(digest=digest, record=record, signer=signer, problem=problem)

    async def _get(self, digest: str, follower: Record | None) -> Known | str:
        """A record by its digest; or why it cannot be read."""
        cached = self.cache.known.get(digest)
        if cached is not None and (not self._names or cached.fingerprint in self._names):
            return cached
        if digest not in self.fetched and follower is not None and follower.sequence > 1:
            await self._ahead(follower)
        if digest not in self.fetched:
            problem = await self._fetch(digest)
            if digest not in self.fetched:
                return f"the record {digest} cannot be read: {problem}"
        return self.fetched[digest]

    async def _ahead(self, follower: Record) -> None:
        last = max(follower.sequence - _BATCH, 1)
        numbers = [(follower.epoch, n) for n in range(follower.sequence - 1, last - 1, -1)]
        await each(numbers, self._fetch, at_once=_AT_ONCE)

    async def _fetch(self, what: str | tuple[int, int]) -> str:
        """Fetch by digest or number; the problem, if there is one."""
        target = what if isinstance(what, str) else number_tag(self.channel.name, *what)
        try:
            # From any replica: it counts only where the chain names its digest.
            raw, digest = await ask_any(self.store, lambda replica: fetch_record(replica, target))
        except (NotFound, ProtocolError, DigestMismatch, ChannelError) as error:
            return error.message
        if not isinstance(what, str):
            self.tagged[what] = digest
        try:
            bundle = parse_bundle(raw)
            payload = bundle.payload.decode()
        except (InvalidSignature, UnicodeDecodeError) as error:
            return str(error)
        fingerprint = next(
            (
                trusted.key.fingerprint
                for trusted in self.channel.trust.keys
                if trusted.key.verify(bundle.signature, bundle.signed)
            ),
            "",
        )
        self.fetched[digest] = Known(payload, fingerprint)
        return ""

    async def read_tags(self, records: list[Record]) -> None:
        """Read what the tag of each number holds."""

        async def one(number: tuple[int, int]) -> None:
            tag = number_tag(self.channel.name, *number)
            self.tagged[number] = await digest_at(self.store, tag) or "nothing"

        missing = [r.number for r in records if r.number not in self.tagged]
        await each(missing, one, at_once=_AT_ONCE)
