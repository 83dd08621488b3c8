"""``ocistate verify``: who signed an artifact, and is that enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.options import (
    REFERENCE,
    required_target,
    run_async,
    store_options,
    trust_options,
)
from ocistate.cli.output import emit, note, output_option, result
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.policy import TrustPolicy


@click.command("verify")
@click.argument("reference", type=REFERENCE, metavar="REF")
@trust_options
@click.option("-v", "--verbose", is_flag=True, help="Show what each signature is worth, and why.")
@store_options
@output_option("name", "json", "yaml")
def verify_command(
    reference: Reference,
    policies: tuple[TrustPolicy, ...],
    verbose: bool,
    connect: Callable[[Reference], Store],
    output: str,
) -> None:
    """Check that an artifact is signed by whom --key or --policy trusts.

    Prints the verified REPOSITORY@DIGEST; use that, and not the tag, from here on. Exit codes: 41
    not signed, 42 signed by nobody trusted, 43 too few signers, 44 no policy, 13 unreachable.
    """
    target = required_target(reference, "verify")
    decision = run_async(_explain(connect(reference), target, policies))
    if verbose:
        for verdict in decision["signatures"]:
            mark = "✓" if verdict["counts"] else "✗"
            note(f"{mark} {verdict['origin'][:19]} {verdict['signer'] or '?'}: {verdict['reason']}")
    if output != "name":
        emit({key: value for key, value in decision.items() if key != "error"}, output)
    if decision["error"] is not None:
        raise decision["error"]
    if not decision["verified"]:
        note(f"Not verified: the TrustPolicy {decision['policy']!r} is in mode {decision['mode']}.")
    else:
        note(f"Verified: signed by {', '.join(decision['signers'])}.")
    if output == "name":
        result(str(reference.with_digest(decision["digest"])))


async def _explain(store: Store, target: str, policies: Sequence[TrustPolicy]) -> dict[str, Any]:
    from ocistate.signing.select import select_policy
    from ocistate.steps.verify import explain

    async with store:
        digest = (await store.resolve(target)).digest
        policy = select_policy(policies, store.reference.name)
        decision = await explain(store, digest, policy)
    enforced = decision.error is not None and policy.mode == "enforce"
    return {
        "digest": digest,
        "policy": policy.name,
        "mode": policy.mode,
        "verified": decision.error is None,
        "signers": list(decision.signers),
        "signatures": [
            {
                "origin": verdict.origin,
                "counts": verdict.counts,
                "signer": verdict.signer,
                "reason": verdict.reason,
            }
            for verdict in decision.verdicts
        ],
        "error": decision.error if enforced else None,
    }
