"""Gather an artifact's signatures and attestations from the store, in every format they come in.

Bundles are referrers of the artifact. The older formats lie under tags made from its digest, which
anyone who may push can fill with another artifact's: only the signed payload is evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ocistate.concurrency import each, together
from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, ProtocolError
from ocistate.oci.model import Descriptor, Manifest
from ocistate.oci.store import Store
from ocistate.oci.tags import legacy_tag
from ocistate.signing.envelope import BUNDLE_TYPE, ENVELOPE_TYPE, MAX_BUNDLE_BYTES
from ocistate.signing.found import FoundSignature, SignatureFormat
from ocistate.signing.simple import MAX_PAYLOAD_BYTES, SIMPLE_TYPE

MAX_SIGNATURES: Final = 512
"""How many signatures of one artifact are read; more than these are reported as an error."""

MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
"""How many bytes are read in all, the smallest first: large ones must not exhaust memory."""

_EMBEDDED: Final = 16 * 1024
"""A bundle embedded in its manifest is kept up to this size; it saves a request."""
_AT_ONCE: Final = 8
_CREATED: Final = "org.opencontainers.image.created"
_BROKEN: Final = (NotFound, DigestMismatch, ProtocolError, LimitExceeded)
_OLDER: Final[tuple[tuple[str, str, SignatureFormat, int], ...]] = (
    (".sig", SIMPLE_TYPE, "simple", MAX_PAYLOAD_BYTES),
    (".att", ENVELOPE_TYPE, "dsse", MAX_BUNDLE_BYTES),
)


@dataclass(frozen=True, slots=True)
class _Lead:
    """A signature that was found, and the blob its bytes are in; None where it has an error."""

    found: FoundSignature
    blob: Descriptor | None = None
    limit: int = 0


async def gather_signatures(
    store: Store, digest: str, *, legacy: bool = False
) -> list[FoundSignature]:
    """All signatures and attestations of an artifact, bounded in number and size.

    With ``legacy`` those in the older formats too. One that cannot be read is returned with its
    error: junk beside a good signature must not hide it. A registry that is out of reach raises
    Unavailable or Unauthorized.
    """
    looks = [_bundles(store, digest)]
    if legacy:
        looks += [
            _older(store, legacy_tag(digest, suffix), media_type, format_, limit)
            for suffix, media_type, format_, limit in _OLDER
        ]
    leads = [lead for found in await together(looks) for lead in found]
    return await _read(store, leads)


async def _bundles(store: Store, digest: str) -> list[_Lead]:
    """The bundles that refer to an artifact, the newest first."""
    listed = await store.referrers(digest, BUNDLE_TYPE)

    def created(descriptor: Descriptor) -> str:
        return descriptor.annotations.get(_CREATED, "")

    newest = sorted(listed, key=created, reverse=True)[:MAX_SIGNATURES]
    leads = await each(newest, lambda item: _bundle(store, digest, item), at_once=_AT_ONCE)
    if len(listed) > MAX_SIGNATURES:
        leads.append(_Lead(_too_many(digest, len(listed))))
    return leads


async def _bundle(store: Store, digest: str, descriptor: Descriptor) -> _Lead:
    found = FoundSignature(origin=descriptor.digest)
    try:
        manifest = await store.fetch_manifest(descriptor.digest)
    except _BROKEN as error:
        return _Lead(replace(found, error=error.message))
    if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
        return _Lead(replace(found, error="is not a manifest with one layer"))
    if manifest.subject is None or manifest.subject.digest != digest:
        return _Lead(replace(found, error="is listed, but refers to something else"))
    # Of what the manifest says only this is kept: it may be large, and there may be many.
    annotations = {_CREATED: manifest.annotations.get(_CREATED, "")[:64]}
    layer = manifest.layers[0]
    blob = Descriptor(
        media_type=BUNDLE_TYPE,
        digest=layer.digest,
        size=layer.size,
        data=layer.data if layer.size <= _EMBEDDED else b"",
    )
    return _Lead(replace(found, annotations=annotations), blob, MAX_BUNDLE_BYTES)


async def _older(
    store: Store, tag: str, media_type: str, format_: SignatureFormat, limit: int
) -> list[_Lead]:
    """The layers of the manifest at a tag, one signature each; the newest come last in it."""
    found = FoundSignature(origin=tag, format=format_)
    try:
        manifest = await store.fetch_manifest(tag)
    except NotFound:
        return []
    except _BROKEN as error:
        return [_Lead(replace(found, error=error.message))]
    if not isinstance(manifest, Manifest):
        return [_Lead(replace(found, error="is an index, not a manifest"))]
    leads = []
    for place, layer in list(enumerate(manifest.layers))[-MAX_SIGNATURES:]:
        one = replace(found, origin=f"{tag}[{place}]", annotations=layer.annotations)
        if layer.media_type == media_type:
            leads.append(_Lead(one, layer, limit))
        else:
            leads.append(_Lead(replace(one, error=f"is a layer of the type {layer.media_type}")))
    if len(manifest.layers) > MAX_SIGNATURES:
        leads.append(_Lead(replace(_too_many(tag, len(manifest.layers)), format=format_)))
    return leads


async def _read(store: Store, leads: Sequence[_Lead]) -> list[FoundSignature]:
    """The leads with their bytes, as many as fit into MAX_TOTAL_BYTES."""
    fitting: set[int] = set()
    total = 0
    for place in sorted(range(len(leads)), key=lambda place: _size(leads[place])):
        total += _size(leads[place])
        if total <= MAX_TOTAL_BYTES:
            fitting.add(place)

    async def one(numbered: tuple[int, _Lead]) -> FoundSignature:
        place, lead = numbered
        if lead.blob is None:
            return lead.found
        if place not in fitting:
            message = f"is not read: there are more than {MAX_TOTAL_BYTES} bytes of signatures"
            return replace(lead.found, error=message)
        try:
            raw = await store.fetch_blob(lead.blob, limit=lead.limit)
        except _BROKEN as error:
            return replace(lead.found, error=error.message)
        return replace(lead.found, raw=raw)

    return await each(enumerate(leads), one, at_once=_AT_ONCE)


def _size(lead: _Lead) -> int:
    return lead.blob.size if lead.blob and lead.blob.size <= lead.limit else 0


def _too_many(origin: str, count: int) -> FoundSignature:
    return FoundSignature(
        origin=origin, error=f"there are {count} signatures, and only {MAX_SIGNATURES} were read"
    )
