"""A repository with mirrors: what has a digest may come from any of them, all else from the first.

Whatever names itself by a digest is as good from anywhere, since it is checked. A pointer is not:
who can move a mirror's tag could hand out an old artifact, so tags are the first repository's
alone. Writing goes to the first. A pointer that proves itself, as a signed channel record does, is
read by ``ask_replicas``, and one that leads to what is proven anyway by ``ask_any``.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, Self, TypeVar

from ocistate.canonical import DIGEST_PATTERN
from ocistate.errors import Conflict, OcistateError, StoreError, TrustError, Unavailable
from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.oci.source import BlobSource
from ocistate.oci.store import Store
from ocistate.reference import Reference

T = TypeVar("T")
E = TypeVar("E", bound=OcistateError)

_DOWN_SECONDS: Final = 30.0
"""How long a store that could not be reached is asked last."""
_OF_A_DIGEST: Final = re.compile(r"sha256-[0-9a-f]{64}(\..*)?")
"""Tags made from a digest hold what refers to it, which is checked against that digest."""


async def ask_replicas(store: Store, ask: Callable[[Store], Awaitable[T]]) -> list[T]:
    """What the first repository answers; where that is no good, what each of the others does.

    ``ask`` checks what it gets: an answer is no good when it raises. Raises the first one's
    StoreError or TrustError when none has a good one.
    """
    if not isinstance(store, MirroredStore):
        return [await ask(store)]
    return await store.ask_each(ask)


async def ask_any(store: Store, ask: Callable[[Store], Awaitable[T]]) -> T:
    """What the first repository or mirror answers that can, those out of reach asked last.

    For what counts only by a digest that is known already. Raises StoreError when none can.
    """
    return await (store.ask_any(ask) if isinstance(store, MirroredStore) else ask(store))


class MirroredStore:
    """One repository and its mirrors, as one store."""

    def __init__(
        self, stores: Sequence[Store], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stores = tuple(stores)
        self._first = self.stores[0]
        self._clock = clock
        self._down: dict[int, float] = {}

    @property
    def reference(self) -> Reference:
        return self._first.reference

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        for store in self.stores:
            await store.close()

    # What has a digest: from any

    async def resolve(self, target: str) -> Descriptor:
        if not _proves_itself(target):
            return await self._first.resolve(target)
        return await self.ask_any(lambda store: store.resolve(target))

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        if not _proves_itself(target):
            return await self._first.fetch_manifest(target)
        return await self.ask_any(lambda store: store.fetch_manifest(target))

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        return await self.ask_any(lambda store: store.fetch_blob(descriptor, limit=limit))

    async def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """When a store fails on the way, the next one must begin with the very same bytes."""
        given, hasher = 0, hashlib.sha256()
        errors: list[StoreError] = []
        for store in self._in_order():
            again, skipped = hashlib.sha256(), 0
            try:
                async for piece in store.stream_blob(descriptor):
                    known = piece[: given - skipped]
                    if known:
                        again.update(known)
                        skipped += len(known)
                        if skipped == given and again.digest() != hasher.digest():
                            raise errors[0]  # what was given out already was wrong
                    rest = piece[len(known) :]
                    if rest:
                        hasher.update(rest)
                        given += len(rest)
                        skipped += len(rest)
                        yield rest
                return
            except StoreError as error:
                self._note(store, error)
                errors.append(error)
        raise _all_failed(errors)

    async def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """From the first that knows of any: each is checked to refer to the digest."""
        errors: list[StoreError] = []
        for store in self._in_order():
            try:
                found = await store.referrers(digest, artifact_type)
            except StoreError as error:
                self._note(store, error)
                errors.append(error)
                continue
            if found:
                return found
        if len(errors) == len(self.stores):
            raise _all_failed(errors)
        return []

    async def ask_each(self, ask: Callable[[Store], Awaitable[T]]) -> list[T]:
        """As ``ask_replicas``."""
        found: list[T] = []
        errors: list[StoreError | TrustError] = []
        for store in self.stores:
            try:
                found.append(await ask(store))
            except (StoreError, TrustError) as error:
                self._note(store, error)
                errors.append(error)
            if store is self._first and found:
                break
        if not found:
            raise _all_failed(errors)
        return found

    # Everything else: the first

    async def tags(self) -> list[str]:
        return await self._first.tags()

    async def has_blob(self, descriptor: Descriptor) -> bool:
        return await self._first.has_blob(descriptor)

    async def push_blob(self, descriptor: Descriptor, source: BlobSource) -> bool:
        return await self._first.push_blob(descriptor, source)

    async def mount_blob(self, descriptor: Descriptor, origin: Reference) -> bool:
        return await self._first.mount_blob(descriptor, origin)

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        return await self._first.push_manifest(manifest, tag)

    async def delete(self, target: str) -> None:
        await self._first.delete(target)

    async def sweep(self) -> int:
        return await self._first.sweep()

    def _in_order(self) -> Iterator[Store]:
        """The stores in the order given, those that were out of reach a moment ago last."""
        now = self._clock()
        down = {place for place, until in self._down.items() if now < until}
        yield from (store for place, store in enumerate(self.stores) if place not in down)
        yield from (self.stores[place] for place in sorted(down))

    def _note(self, store: Store, error: OcistateError) -> None:
        if isinstance(error, Unavailable):
            self._down[self.stores.index(store)] = self._clock() + _DOWN_SECONDS

    async def ask_any(self, ask: Callable[[Store], Awaitable[T]]) -> T:
        """As ``ask_any``."""
        errors: list[StoreError] = []
        for store in self._in_order():
            try:
                return await ask(store)
            except Conflict:
                raise
            except StoreError as error:
                self._note(store, error)
                errors.append(error)
        raise _all_failed(errors)


def _all_failed(errors: Sequence[E]) -> E:
    """The first trouble, in its own class, with the others named."""
    first, *others = errors
    also = "; ".join(error.message for error in others)
    return type(first)(f"{first.message}; the others: {also}", hint=first.hint)


def _proves_itself(target: str) -> bool:
    return bool(DIGEST_PATTERN.fullmatch(target) or _OF_A_DIGEST.fullmatch(target))
