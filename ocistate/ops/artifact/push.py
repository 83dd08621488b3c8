"""Push a packed artifact into a store, unless it is there already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ocistate.artifact.pack import Packed
from ocistate.errors import NotFound
from ocistate.oci.model import Descriptor, Manifest
from ocistate.oci.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did. ``unchanged`` are the tags that held the same content already."""

    descriptor: Descriptor
    tags: tuple[str, ...]
    unchanged: tuple[str, ...]


async def push_artifact(
    store: Store,
    packed: Packed,
    tags: Sequence[str],
    *,
    before: Callable[[Descriptor, bool], Awaitable[None]] | None = None,
) -> Pushed:
    """Store the blobs, the manifest by digest, then move the tags.

    A tag that holds the same content and metadata is left alone, whatever zlib made the bytes: its
    artifact is then the one returned. A push cut short leaves every tag where it was. ``before``
    is called ahead of the tags with the artifact, and whether a tag held it already.
    """
    held = {tag: await _held(store, tag) for tag in tags}
    same = next((m for m in held.values() if m is not None and _same(m, packed.manifest)), None)
    manifest = same or packed.manifest
    if same is None:
        await store.push_blob(manifest.config, packed.config)
        await store.push_blob(manifest.layers[0], packed.layer)
        await store.push_manifest(manifest)
    if before is not None:
        await before(manifest.descriptor, same is not None)
    digest = manifest.descriptor.digest
    unchanged = tuple(t for t, m in held.items() if m is not None and m.descriptor.digest == digest)
    for tag in tags:
        if tag not in unchanged:
            await store.push_manifest(manifest, tag)
    return Pushed(descriptor=manifest.descriptor, tags=tuple(tags), unchanged=unchanged)


async def _held(store: Store, tag: str) -> Manifest | None:
    try:
        found = await store.fetch_manifest(tag)
    except NotFound:
        return None
    return found if isinstance(found, Manifest) else None


def _same(held: Manifest, packed: Manifest) -> bool:
    """Whether two artifacts say the same; the config holds the digest of the content."""
    return (
        held.artifact_type == packed.artifact_type
        and held.config.digest == packed.config.digest
        and dict(held.annotations) == dict(packed.annotations)
    )
