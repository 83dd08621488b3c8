"""Write a signature of an artifact into its store, as a referrer in the sigstore bundle format."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from ocistate.errors import InputError
from ocistate.oci.model import EMPTY_CONFIG, Descriptor, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.signing.envelope import (
    BUNDLE_TYPE,
    MAX_BUNDLE_BYTES,
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    build_bundle,
    build_named_statement,
    build_statement,
    pae,
)
from ocistate.signing.identity import IdentitySigner
from ocistate.signing.keys import Signer
from ocistate.times import format_time

_CONTENT: Final = "dev.sigstore.bundle.content"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"
_CREATED: Final = "org.opencontainers.image.created"


async def sign_artifact(
    store: Store,
    subject: Descriptor,
    signer: Signer | IdentitySigner,
    *,
    predicate_type: str = SIGN_PREDICATE,
    predicate: Any = None,
    now: datetime | None = None,
) -> Descriptor:
    """Sign an artifact by its digest; the signature's own descriptor is returned.

    With another predicate type it is an attestation. Raises InputError when it is too large to be
    read again.
    """
    # In a thread, since a signer may wait for a device or a service.
    bundle = await asyncio.to_thread(
        _bundle, signer, subject.digest, predicate_type, {} if predicate is None else predicate
    )
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise InputError(
            f"the attestation has {len(bundle)} bytes, and no verifier accepts more than "
            f"{MAX_BUNDLE_BYTES}",
            hint="attest a summary, and a digest of the whole",
        )
    layer = describe(bundle, BUNDLE_TYPE, embed=True)  # saves each reader a request
    manifest = build_manifest(
        artifact_type=BUNDLE_TYPE,
        config=EMPTY_CONFIG,
        layers=(layer,),
        subject=subject,
        annotations={
            _CONTENT: "dsse-envelope",
            _PREDICATE: predicate_type,
            _CREATED: format_time(now or datetime.now(UTC)),
        },
    )
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(layer, bundle)
    return await store.push_manifest(manifest)


def _bundle(
    signer: Signer | IdentitySigner, digest: str, predicate_type: str, predicate: Any
) -> bytes:
    if isinstance(signer, IdentitySigner):
        # sigstore's verifiers require a name; the digest adds no information.
        named = ((digest, digest),)
        return signer.bundle(build_named_statement(named, predicate_type, predicate))
    payload = build_statement(digest, predicate_type, predicate)
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    return build_bundle(payload, signature, signer.public_key.fingerprint)
