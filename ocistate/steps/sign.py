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
    build_statement,
    pae,
)
from ocistate.signing.keys import Signer

_CONTENT: Final = "dev.sigstore.bundle.content"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"
_CREATED: Final = "org.opencontainers.image.created"


async def sign_artifact(
    store: Store,
    subject: Descriptor,
    signer: Signer,
    *,
    predicate_type: str = SIGN_PREDICATE,
    predicate: Any = None,
    now: datetime | None = None,
) -> Descriptor:
    """Sign an artifact by its digest; the signature's own descriptor is returned.

    With another predicate type it is an attestation. Raises InputError when it is too large to be
    read again.
    """
    payload = build_statement(
        subject.digest, predicate_type, {} if predicate is None else predicate
    )
    # In a thread, since a signer may be a command that waits for a device or a service.
    signature = await asyncio.to_thread(signer.sign, pae(PAYLOAD_TYPE, payload))
    bundle = build_bundle(payload, signature, signer.public_key.fingerprint)
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise InputError(
            f"the attestation has {len(bundle)} bytes, and no reader takes more than "
            f"{MAX_BUNDLE_BYTES}",
            hint="attest a summary, and a digest of the whole",
        )
    layer = describe(bundle, BUNDLE_TYPE)
    manifest = build_manifest(
        artifact_type=BUNDLE_TYPE,
        config=EMPTY_CONFIG,
        layers=(layer,),
        subject=subject,
        annotations={
            _CONTENT: "dsse-envelope",
            _PREDICATE: predicate_type,
            _CREATED: (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    )
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(layer, bundle)
    return await store.push_manifest(manifest)
