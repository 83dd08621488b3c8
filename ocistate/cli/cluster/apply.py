"""``ocistate apply``: verify an artifact and make a cluster equal to it, once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.differences import field_rows, print_fields
from ocistate.cli.common.options import (
    REFERENCE,
    OpenRepository,
    required_target,
    run_async,
    source_options,
    trust_options,
)
from ocistate.cli.common.output import emit, note, note_unlisted, output_option, result
from ocistate.errors import MassPrune
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.apply.result import Result
    from ocistate.oci.store import Store
    from ocistate.signing.policy.model import TrustPolicy

_SIGNS = {"create": "+", "change": "~", "prune": "-", "refuse": "!", "skip": "·"}


@click.command("apply")
@click.argument("reference", type=REFERENCE, metavar="REF")
@trust_options
@click.option("-n", "--namespace", help="For objects that name none; the context's by default.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The kubeconfig to use.")
@click.option("--context", help="The kubeconfig's context to use.")
@click.option("--name", default="", help="Tells two releases from one repository apart.")
@click.option("--prune/--no-prune", default=True, help="Remove what the artifact has no more.")
@click.option(
    "--max-prune",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Do nothing when more than this share of the objects would be removed.",
)
@click.option("--wait/--no-wait", default=True, help="Wait until everything is healthy.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait for health.")
@click.option("--dry-run", is_flag=True, help="Show the plan; the API server checks it all.")
@source_options
@output_option("table", "json", "yaml")
def apply_command(
    reference: Reference,
    policies: tuple[TrustPolicy, ...],
    connect: OpenRepository,
    output: str,
    **options: Any,
) -> None:
    """Verify an artifact, then make a cluster equal to it, once.

    Prints the plan, what became of it, and waits for health. Objects that an earlier apply of the
    same repository left behind are pruned.
    """
    target = required_target(reference, "apply")
    facts = run_async(_apply(connect(reference), target, policies, output=output, **options))
    error = facts.pop("failure", None)
    if output != "table":
        emit(facts, output)
    if error is not None:
        raise error


async def _apply(
    store: Store,
    target: str,
    policies: tuple[TrustPolicy, ...],
    *,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
    name: str,
    prune: bool,
    max_prune: int,
    wait: bool,
    timeout: float,
    dry_run: bool,
    output: str,
) -> dict[str, Any]:
    from ocistate.apply.plan import guard_prune
    from ocistate.health.vanishing import REMOVED
    from ocistate.kube.client import KubeClient
    from ocistate.kube.discovery import kind_text
    from ocistate.ops.artifact.fetch import fetch_content, fetch_manifest
    from ocistate.ops.cluster.apply import carry_out, owner_of, plan_apply, wait_applied
    from ocistate.ops.cluster.live import field_changes
    from ocistate.ops.signing.verify import verify_artifact

    async with KubeClient.open(kubeconfig, context) as client, store:
        asking = asyncio.create_task(client.kinds())  # answered while the registry is asked
        try:
            digest = (await store.resolve(target)).digest
            trust = await verify_artifact(store, digest, policies)
            note(f"{store.reference}@{digest}: {trust.summary}")
            content = await fetch_content(store, await fetch_manifest(store, digest))
            await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        facts: dict[str, Any] = {
            "digest": digest,
            "signers": list(trust.signers),
            "verified": trust.satisfied,
            "mode": trust.mode,
            "dryRun": dry_run,
        }
        results: list[dict[str, Any]] = []

        def show(done: Result) -> None:
            error = str(done.error) if done.error else ""
            row: dict[str, Any] = {
                "object": str(done.id),
                "verb": done.verb,
                "state": done.state,
                "error": error,
                "overruled": list(done.overruled),
            }
            if done.preview is not None:
                row["fields"] = field_rows(field_changes(done.preview))
            results.append(row)
            if output == "table":
                sign = _SIGNS.get(done.verb, " ")
                why = error or (done.reason if done.state == "skipped" else "")
                if done.overruled:
                    why = f"admission overrules {', '.join(done.overruled)}"
                result(f"{sign} {done.id} {done.state}" + (f": {why}" if why else ""))
                print_fields(row.get("fields", ()))

        into = namespace or client.access.namespace
        owner = owner_of(store.reference.name, into, name)
        planned = await plan_apply(client, content, owner=owner, namespace=into, prune=prune)
        note_unlisted(planned.unlisted)
        counts = {verb.value: count for verb, count in planned.plan.counts().items()}
        note("Plan: " + ", ".join(f"{count} to {verb}" for verb, count in counts.items() if count))
        try:
            guard_prune(planned.plan, percent=max_prune, hint="allow it with --max-prune 100")
        except MassPrune as much:
            if not dry_run:
                raise
            note(f"Without --dry-run this would end here: {much}")
        outcome = await carry_out(
            client, planned, dry_run=dry_run, on_result=show, wave_timeout=timeout if wait else None
        )
        unlisted = [kind_text(kind) for kind in planned.unlisted]
        facts |= {"plan": counts, "results": results, "healthy": None, "unlisted": unlisted}
        if error := outcome.error():
            return facts | {"failure": error}
        if dry_run:
            note("Dry run: nothing was changed.")
            return facts
        if wait:
            note(f"Waiting for health, up to {timeout:g} s")
            waited = await wait_applied(client, planned, timeout)
            facts |= {"healthy": waited.ok, "seconds": round(waited.seconds, 3)}
            for id, health in waited.healths.items():
                if health.message == REMOVED:
                    note(f"{id} {REMOVED}: the next apply runs it again")
            if late := waited.error():
                return facts | {"failure": late}
            note(f"Healthy after {waited.seconds:.1f} s.")
    return facts
