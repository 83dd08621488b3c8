"""Gather an artifact's signatures and attestations from the store, in every format they come in.

Bundles are referrers of the artifact. The older formats lie under tags made from its digest, which
anyone who may push can fill with another artifact's: only the signed payload tells what is signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, ProtocolError
from ocistate.oci.model import Descriptor, Manifest
from ocistate.oci.store import Store
from ocistate.oci.tags import legacy_tag
from ocistate.signing.envelope import BUNDLE_TYPE, ENVELOPE_TYPE, MAX_BUNDLE_BYTES
from ocistate.signing.found import Format, Found
from ocistate.signing.simple import MAX_PAYLOAD_BYTES, SIMPLE_TYPE

MAX_SIGNATURES: Final = 512
"""How many signatures of one artifact are read; a listing that has more is said to have more."""

_AT_ONCE: Final = 8
_BROKEN: Final = (NotFound, DigestMismatch, ProtocolError, LimitExceeded)
_OLDER: Final[tuple[tuple[str, str, Format, int], ...]] = (
    (".sig", SIMPLE_TYPE, "simple", MAX_PAYLOAD_BYTES),
    (".att", ENVELOPE_TYPE, "dsse", MAX_BUNDLE_BYTES),
)


async def gather_signatures(store: Store, digest: str, *, legacy: bool = False) -> list[Found]:
    """All signatures and attestations of an artifact, bounded in number and size.

    With ``legacy`` those in the older formats too. One that cannot be read is returned with its
    error: junk beside a good signature must not hide it. A registry that is out of reach raises
    Unavailable or Unauthorized.
    """
    listed = await store.referrers(digest, BUNDLE_TYPE)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(descriptor: Descriptor) -> Found:
        async with gate:
            return await _bundle(store, digest, descriptor)

    found = list(await asyncio.gather(*(one(item) for item in _newest(listed))))
    if len(listed) > MAX_SIGNATURES:
        found.append(_too_many(digest, len(listed)))
    if legacy:
        for suffix, media_type, format_, limit in _OLDER:
            found += await _older(store, legacy_tag(digest, suffix), media_type, format_, limit)
    return found


def _newest(listed: Sequence[Descriptor]) -> list[Descriptor]:
    def created(descriptor: Descriptor) -> str:
        return descriptor.annotations.get("org.opencontainers.image.created", "")

    return sorted(listed, key=created, reverse=True)[:MAX_SIGNATURES]


async def _bundle(store: Store, digest: str, descriptor: Descriptor) -> Found:
    try:
        manifest = await store.fetch_manifest(descriptor.digest)
        if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
            return Found(origin=descriptor.digest, error="is not a manifest with one layer")
        if manifest.subject is None or manifest.subject.digest != digest:
            return Found(origin=descriptor.digest, error="is listed, but refers to something else")
        raw = await store.fetch_blob(manifest.layers[0], limit=MAX_BUNDLE_BYTES)
    except _BROKEN as error:
        return Found(origin=descriptor.digest, error=error.message)
    return Found(origin=descriptor.digest, raw=raw, annotations=manifest.annotations)


async def _older(
    store: Store, tag: str, media_type: str, format_: Format, limit: int
) -> list[Found]:
    """The layers of the manifest at a tag, one signature each; the newest come last in it."""
    try:
        manifest = await store.fetch_manifest(tag)
    except NotFound:
        return []
    except _BROKEN as error:
        return [Found(origin=tag, format=format_, error=error.message)]
    if not isinstance(manifest, Manifest):
        return [Found(origin=tag, format=format_, error="is an index, not a manifest")]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(place: int, layer: Descriptor) -> Found:
        found = Found(origin=f"{tag}[{place}]", format=format_, annotations=layer.annotations)
        if layer.media_type != media_type:
            return replace(found, error=f"is a layer of the type {layer.media_type}")
        try:
            async with gate:
                raw = await store.fetch_blob(layer, limit=limit)
        except _BROKEN as error:
            return replace(found, error=error.message)
        return replace(found, raw=raw)

    newest = list(enumerate(manifest.layers))[-MAX_SIGNATURES:]
    found = list(await asyncio.gather(*(one(place, layer) for place, layer in newest)))
    if len(manifest.layers) > MAX_SIGNATURES:
        found.append(replace(_too_many(tag, len(manifest.layers)), format=format_))
    return found


def _too_many(origin: str, count: int) -> Found:
    return Found(
        origin=origin, error=f"there are {count} signatures, and only {MAX_SIGNATURES} were read"
    )
