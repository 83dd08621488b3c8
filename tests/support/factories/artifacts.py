"""Small artifacts for tests of stores: what is in them does not matter."""

from __future__ import annotations

from collections.abc import Mapping

from ocistate.oci.model import EMPTY_CONFIG, Descriptor, Manifest, build_manifest, describe
from ocistate.oci.store import Store

TYPE = "application/vnd.example.thing"


async def put(
    store: Store,
    content: bytes,
    *tags: str,
    kind: str = TYPE,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """An artifact of one layer, pushed by its digest and then under each tag."""
    layer = describe(content, kind)
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(layer, content)
    manifest = build_manifest(
        config=EMPTY_CONFIG,
        layers=(layer,),
        artifact_type=kind,
        subject=subject,
        annotations=annotations or {},
    )
    await store.push_manifest(manifest)
    for tag in tags:
        await store.push_manifest(manifest, tag)
    return manifest
