"""``ocistate verify``: check who signed an artifact, against keys or a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, note, output_option, result, short
from ocistate.cli.common.registry import OpenRepository, source_options
from ocistate.cli.common.trust import trust_options
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.policy.model import TrustPolicy


@click.command("verify")
@click.argument("reference", type=REFERENCE, metavar="REF")
@trust_options
@click.option(
    "--attestation",
    metavar="TYPE",
    help="Check the attestations of this type instead of the signature: a URI or cosign's name.",
)
@click.option("-v", "--verbose", is_flag=True, help="Explain the verdict on each signature.")
@source_options
@output_option("name", "json", "yaml")
def verify_command(
    reference: Reference,
    policies: tuple[TrustPolicy, ...],
    attestation: str | None,
    verbose: bool,
    connect: OpenRepository,
    output: str,
) -> None:
    """Check that an artifact is signed by a signer that --key or --policy trusts.

    Prints the verified REPOSITORY@DIGEST; use that, and not the tag, from here on. Exit codes: 41
    not signed, 42 signed by no one trusted, 43 too few signers, 44 no policy, 46 no such
    attestation, 13 unreachable. With -o json the content of trusted attestations is printed too.
    """
    from ocistate.signing.envelope import SIGN_PREDICATE
    from ocistate.signing.predicates import predicate_type

    target = required_target(reference, "verify")
    kind = predicate_type(attestation) if attestation else ""
    decision = run_async(_explain(connect(reference), target, policies, kind))
    if verbose:
        for verdict in decision["signatures"]:
            mark = "✓" if verdict["counts"] else "✗"
            note(
                f"{mark} {short(verdict['origin'])} {verdict['signer'] or '?'}: {verdict['reason']}"
            )
        for demand in decision["demands"]:
            mark, got = "✓" if demand["met"] else "✗", ", ".join(demand["signers"]) or "no one"
            note(f"{mark} {demand['predicateType']} by {demand['threshold']}: {got}")
    if output != "name":
        emit({key: value for key, value in decision.items() if key != "error"}, output)
    if decision["error"] is not None:
        raise decision["error"]
    if not decision["verified"]:
        note(
            f"Not verified, and not enforced (mode {decision['mode']} of the TrustPolicy "
            f"{decision['policy']!r}): {decision['message']}"
        )
    else:
        said = (
            f"{'signed' if demand['predicateType'] == SIGN_PREDICATE else demand['predicateType']} "
            f"by {', '.join(demand['signers'])}"
            for demand in decision["demands"]
        )
        note(f"Verified: {'; '.join(said)}.")
    if output == "name":
        result(str(reference.with_digest(decision["digest"])))


async def _explain(
    store: Store, target: str, policies: Sequence[TrustPolicy], attestation: str
) -> dict[str, Any]:
    from ocistate.ops.signing.verify import explain
    from ocistate.signing.envelope import SIGN_PREDICATE
    from ocistate.signing.policy.select import select_policy

    async with store:
        digest = (await store.resolve(target)).digest
        policy = select_policy(policies, store.reference.name)
        decision = await explain(store, digest, policy, attestation=attestation)
    enforced = decision.error is not None and policy.mode == "enforce"
    return {
        "digest": digest,
        "policy": policy.name,
        "mode": policy.mode,
        "verified": decision.error is None,
        "reason": decision.error.reason if decision.error else "",
        "message": decision.error.message if decision.error else "",
        "signers": list(decision.signers),
        "demands": [
            {
                "predicateType": demand.predicate_type,
                "threshold": demand.threshold,
                "signers": list(demand.signers),
                "met": demand.met,
            }
            for demand in decision.demands
        ],
        "signatures": [
            {
                "origin": verdict.origin,
                "counts": verdict.counts,
                "signer": verdict.signer,
                "reason": verdict.reason,
            }
            for verdict in decision.verdicts
        ],
        "attestations": [
            {
                "origin": verdict.origin,
                "signer": verdict.signer,
                "predicateType": statement.predicate_type,
                "predicate": statement.predicate,
            }
            for verdict in decision.verdicts
            if (statement := verdict.statement) and statement.predicate_type != SIGN_PREDICATE
        ],
        "error": decision.error if enforced else None,
    }
