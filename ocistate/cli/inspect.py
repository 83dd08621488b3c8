"""``ocistate inspect``: what an artifact holds, where it came from, who signed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.options import REFERENCE, required_target, run_async, store_options
from ocistate.cli.output import emit, output_option, result
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store


@click.command("inspect")
@click.argument("reference", type=REFERENCE, metavar="REF")
@store_options
@output_option("table", "json", "yaml", "name")
def inspect_command(
    reference: Reference, connect: Callable[[Reference], Store], output: str
) -> None:
    """Show an artifact: source, revision, time, signatures, resources and images.

    Only the manifest and the config are read of an artifact made by ocistate. What it says of
    itself is as good as its signature: 'ocistate verify' tells.
    """
    facts = run_async(_inspect(connect(reference), required_target(reference, "inspect")))
    facts = {"reference": str(reference.with_digest(facts["digest"])), **facts}
    if output in ("json", "yaml"):
        emit(facts, output)
    elif output == "name":
        result(facts["reference"])
    else:
        _print(facts)


async def _inspect(store: Store, target: str) -> dict[str, Any]:
    from ocistate.steps.fetch import fetch_inventory, fetch_manifest
    from ocistate.steps.gather import gather_signatures

    async with store:
        manifest = await fetch_manifest(store, target)
        inventory = await fetch_inventory(store, manifest)
        signatures = await gather_signatures(store, manifest.descriptor.digest)
    prefix = "org.opencontainers.image."
    return {
        "digest": manifest.descriptor.digest,
        "artifactType": manifest.artifact_type or "",
        "contentDigest": inventory.content_digest,
        "layerDigest": manifest.layers[0].digest,
        "size": sum(layer.size for layer in (manifest.config, *manifest.layers)),
        "source": inventory.source,
        "revision": inventory.revision,
        "created": manifest.annotations.get(f"{prefix}created", ""),
        "annotations": dict(manifest.annotations),
        "signatures": [_signature(found.origin, found.raw, found.error) for found in signatures],
        "resources": [
            {
                "apiVersion": entry.api_version,
                "kind": entry.id.kind,
                "namespace": entry.id.namespace,
                "name": entry.id.name,
                "path": entry.path,
                "index": entry.index,
                "digest": entry.digest,
            }
            for entry in inventory.resources
        ],
        "images": [{"image": image.name, "pinned": image.pinned} for image in inventory.images],
    }


def _signature(origin: str, raw: bytes, error: str) -> dict[str, str]:
    """What a signature claims; nothing of it has been verified here."""
    from ocistate.errors import InvalidSignature
    from ocistate.signing.envelope import parse_bundle, parse_statement

    facts = {"digest": origin, "format": "bundle", "type": "", "key": "", "error": error}
    if error:
        return facts
    try:
        bundle = parse_bundle(raw)
        facts["key"] = bundle.hint
        facts["type"] = parse_statement(bundle.payload).predicate_type
    except InvalidSignature as problem:
        facts["error"] = problem.message
    return facts


def _print(facts: dict[str, Any]) -> None:
    for label, value in (
        ("Reference", facts["reference"]),
        ("Content", facts["contentDigest"]),
        ("Source", facts["source"]),
        ("Revision", facts["revision"]),
        ("Created", facts["created"]),
        ("Size", f"{facts['size'] / 1024:.1f} KiB"),
    ):
        if value:
            result(f"{label + ':':<12} {value}")
    signatures = facts["signatures"]
    result(f"{'Signatures:':<12} {len(signatures) or 'none'}")
    for signature in signatures:
        what = signature["error"] or f"{signature['type']} by key {signature['key'][:16]}"
        result(f"  {signature['digest'][:19]}  {what}")
    kinds = Counter(
        (item["namespace"] or "(no namespace)", item["kind"]) for item in facts["resources"]
    )
    result(f"{'Resources:':<12} {len(facts['resources'])}")
    for (namespace, kind), count in sorted(kinds.items()):
        result(f"  {namespace:<24} {kind:<28} {count}")
    if facts["images"]:
        result("Images:")
        for image in facts["images"]:
            result(f"  {image['image']}{'' if image['pinned'] else '  (not pinned by digest)'}")
