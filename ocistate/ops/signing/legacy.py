"""Write a signature in cosign's older format: one more layer of what ``sha256-<hex>.sig`` names."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ocistate.backoff import settle_time
from ocistate.canonical import canonical_json
from ocistate.errors import Conflict, InvalidSignature, NotFound, ProtocolError, UsageError
from ocistate.oci.model import Descriptor, Manifest, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.oci.tags import legacy_tag
from ocistate.ops.signing.gather import gather_signatures
from ocistate.signing.envelope import SIGN_PREDICATE
from ocistate.signing.found import FoundSignature, open_signature
from ocistate.signing.keys import PublicKey, Signer
from ocistate.signing.simple import SIMPLE_TYPE, build_payload, signature_annotation

_CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
_NEVER: Final = "0001-01-01T00:00:00Z"
_TRIES: Final = 40


async def sign_legacy(store: Store, subject: Descriptor, signer: Signer) -> bool:
    """Sign an artifact by its digest; False when this key's signature is there already.

    Signatures of others stay. There is no compare-and-swap of a tag, so it is read again after
    writing, and written again when another writer got in between. Raises Conflict when that goes
    on, UsageError for a layout, since the payload names a repository on a registry.
    """
    if store.reference.scheme != "oci":
        raise UsageError(
            f"{store.reference} is not in a registry, which the legacy format names",
            hint="sign with --format bundle, or sign it in the registry",
        )
    found = await gather_signatures(store, subject.digest, legacy=True)
    if any(
        f.format == "simple" and is_signed_by(f, signer.public_key, subject.digest) for f in found
    ):
        return False
    payload = build_payload(store.reference.name, subject.digest)
    signature = await asyncio.to_thread(signer.sign, payload)
    layer = replace(
        describe(payload, SIMPLE_TYPE), annotations=dict(signature_annotation(signature))
    )
    await store.push_blob(layer, payload)
    tag = legacy_tag(subject.digest)
    slowest = 0.0
    for _ in range(_TRIES):
        begun = time.monotonic()
        held = await _held(store, tag)
        if held is not None and layer in held.layers:
            return True
        layers = (*(held.layers if held else ()), layer)
        config = _config(layers)
        manifest = build_manifest(
            config=describe(config, _CONFIG_TYPE),
            layers=layers,
            annotations=held.annotations if held else {},
        )
        await store.push_blob(manifest.config, config)
        await store.push_manifest(manifest, tag)
        slowest = max(slowest, time.monotonic() - begun)
        await asyncio.sleep(settle_time(slowest, random.random()))  # noqa: S311
    raise Conflict(
        f"other writers kept removing the signature from {store.reference}:{tag}",
        hint="try again, with fewer writers at the same time",
    )


async def lacks_bundle(store: Store, digest: str, key: PublicKey) -> bool:
    """Whether others' bundles refer to an artifact, and none with a signature by this key.

    cosign and Flux look at the bundles alone where there are any: a signature in the older format
    would not be seen.
    """
    found = await gather_signatures(store, digest)
    return bool(found) and not any(is_signed_by(item, key, digest) for item in found)


def is_signed_by(found: FoundSignature, key: PublicKey, digest: str) -> bool:
    """Whether this is a signature of the artifact, and no attestation, by the key."""
    if found.error:
        return False
    try:
        signature = open_signature(found)
        if not key.verify(signature.signature, signature.signed):
            return False
        statement = signature.statement()
    except InvalidSignature:
        return False
    return statement.digests == (digest,) and statement.predicate_type == SIGN_PREDICATE


async def _held(store: Store, tag: str) -> Manifest | None:
    try:
        held = await store.fetch_manifest(tag)
    except NotFound:
        return None
    if not isinstance(held, Manifest):
        raise ProtocolError(
            f"{store.reference}:{tag} is an index, where signatures should be",
            hint="delete that tag, or sign with --format bundle",
        )
    return held


def _config(layers: Sequence[Descriptor]) -> bytes:
    """The image configuration that cosign appends to: each layer is its own content."""
    return canonical_json(
        {
            "architecture": "",
            "config": {},
            "created": _NEVER,
            "history": [{"created": _NEVER} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
