"""``ocistate inspect``: what an artifact holds, where it came from, who signed it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, output_option, result, short
from ocistate.cli.common.registry import OpenRepository, source_options
from ocistate.cli.common.trust import optional_trust_options
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.decide import Verdict
    from ocistate.signing.found import FoundSignature
    from ocistate.signing.policy.model import TrustPolicy


@click.command("inspect")
@click.argument("reference", type=REFERENCE, metavar="REF")
@optional_trust_options
@source_options
@output_option("table", "json", "yaml", "name")
def inspect_command(
    reference: Reference,
    policies: tuple[TrustPolicy, ...],
    connect: OpenRepository,
    output: str,
) -> None:
    """Show an artifact: source, revision, time, signatures, resources and images.

    Of an artifact made by ocistate only the manifest and the config are read. With --key or
    --policy each signature and attestation is checked; 'ocistate verify' decides whether they
    satisfy the policy.
    """
    facts = run_async(_inspect(connect(reference), required_target(reference, "inspect"), policies))
    facts = {"reference": str(reference.with_digest(facts["digest"])), **facts}
    if output in ("json", "yaml"):
        emit(facts, output)
    elif output == "name":
        result(facts["reference"])
    else:
        _print(facts, checked=bool(policies))


async def _inspect(store: Store, target: str, policies: Sequence[TrustPolicy]) -> dict[str, Any]:
    from ocistate.ops.artifact.fetch import fetch_inventory, fetch_manifest
    from ocistate.ops.signing.gather import gather_signatures
    from ocistate.signing.policy.select import select_policy

    policy = select_policy(policies, store.reference.name) if policies else None
    async with store:
        manifest = await fetch_manifest(store, target)
        digest = manifest.descriptor.digest
        inventory = await fetch_inventory(store, manifest)
        found = await gather_signatures(store, digest, legacy=True)
    # In a thread, since identities may be checked, which takes long.
    signatures = await asyncio.to_thread(_signatures, found, digest, policy)
    prefix = "org.opencontainers.image."
    return {
        "digest": digest,
        "artifactType": manifest.artifact_type or "",
        "contentDigest": inventory.content_digest,
        "layerDigest": manifest.layers[0].digest,
        "size": sum(layer.size for layer in (manifest.config, *manifest.layers)),
        "source": inventory.source,
        "revision": inventory.revision,
        "created": manifest.annotations.get(f"{prefix}created", ""),
        "annotations": dict(manifest.annotations),
        "signatures": signatures,
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


def _signatures(
    found: Sequence[FoundSignature], digest: str, policy: TrustPolicy | None
) -> list[dict[str, Any]]:
    """Each signature and attestation: what it claims, and what the policy makes of it."""
    from ocistate.signing.claims import read_claims

    claims = [read_claims(item, digest) for item in found]
    verdicts = _verdicts(found, [claim.predicate_type for claim in claims], digest, policy)
    return [
        {
            "origin": item.origin,
            "kind": claim.kind,
            "format": "legacy" if item.legacy else "bundle",
            "type": claim.predicate_type,
            "signer": verdict.signer if verdict else "",
            "key": claim.key,
            "identity": claim.identity,
            "created": claim.created,
            # False only where that is certain: a stranger's signature may well hold.
            "holds": False if claim.fault else True if verdict and verdict.statement else None,
            "reason": claim.fault or (verdict.reason if verdict else "not checked"),
        }
        for item, claim, verdict in zip(found, claims, verdicts, strict=True)
    ]


def _verdicts(
    found: Sequence[FoundSignature], types: Sequence[str], digest: str, policy: TrustPolicy | None
) -> list[Verdict | None]:
    """The policy's verdict on each, asked for what it claims to be."""
    if policy is None:
        return [None] * len(found)
    from ocistate.signing.decide import decide
    from ocistate.signing.envelope import SIGN_PREDICATE

    verdicts: list[Verdict | None] = [None] * len(found)
    for kind in dict.fromkeys(types):
        places = [place for place, other in enumerate(types) if other == kind]
        asked = "" if kind in ("", SIGN_PREDICATE) else kind
        decision = decide(policy, digest, [found[place] for place in places], attestation=asked)
        for place, verdict in zip(places, decision.verdicts, strict=True):
            verdicts[place] = verdict
    return verdicts


def _line(item: dict[str, Any]) -> str:
    mark = {True: "✓", False: "✗", None: "?"}[item["holds"]]
    who = item["signer"] or item["identity"] or (f"key {item['key'][:12]}" if item["key"] else "")
    what = item["type"] if item["kind"] == "attestation" else ""
    told = "" if item["holds"] or item["reason"] == "not checked" else item["reason"]
    parts = (short(item["origin"]), item["format"], what, who, item["created"], told)
    return f"{mark} {'  '.join(part for part in parts if part)}"


def _print(facts: dict[str, Any], *, checked: bool) -> None:
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
    found = facts["signatures"]
    for label, kinds in (("Signatures", ("signature", "")), ("Attestations", ("attestation",))):
        listed = [item for item in found if item["kind"] in kinds]
        if listed or label == "Signatures":
            result(f"{label + ':':<12} {len(listed) or 'none'}")
        for item in listed:
            result(f"  {_line(item)}")
    if found and not checked:
        result("  ? is not checked: give --key or --policy")
    counts = Counter(
        (item["namespace"] or "(no namespace)", item["kind"]) for item in facts["resources"]
    )
    result(f"{'Resources:':<12} {len(facts['resources'])}")
    for (namespace, kind), count in sorted(counts.items()):
        result(f"  {namespace:<24} {kind:<28} {count}")
    if facts["images"]:
        result("Images:")
        for image in facts["images"]:
            result(f"  {image['image']}{'' if image['pinned'] else '  (not pinned by digest)'}")
