"""``ocistate apply``: verify an artifact and make a cluster equal to it, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.cluster import ClusterOptions, cluster_options_with
from ocistate.cli.common.differences import field_rows, print_fields
from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, note, note_unlisted, output_option, result
from ocistate.cli.common.registry import OpenRepository, source_options
from ocistate.cli.common.trust import trust_options
from ocistate.errors import MassPrune, OcistateError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.apply.plan import Plan
    from ocistate.apply.result import Result
    from ocistate.kube.client import KubeClient
    from ocistate.oci.store import Store
    from ocistate.ops.artifact.fetch import Content
    from ocistate.ops.cluster.apply import Planned
    from ocistate.ops.signing.verify import Verified
    from ocistate.signing.policy.model import TrustPolicy

_SIGNS = {"create": "+", "change": "~", "prune": "-", "refuse": "!", "skip": "·"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ApplyOptions:
    """What is applied how, as given by the options."""

    name: str
    prune: bool
    max_prune: int
    wait: bool
    timeout: float
    dry_run: bool


@click.command("apply")
@click.argument("reference", type=REFERENCE, metavar="REF")
@trust_options
@cluster_options_with("Namespace of objects that name none; the context's by default.")
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
@click.option("--dry-run", is_flag=True, help="Show the plan, checked by the API server.")
@source_options
@output_option("table", "json", "yaml")
def apply_command(
    reference: Reference,
    policies: tuple[TrustPolicy, ...],
    where: ClusterOptions,
    connect: OpenRepository,
    output: str,
    **options: Any,
) -> None:
    """Verify an artifact, then make a cluster equal to it, once.

    Prints the plan and its results, and waits for health. Objects that an earlier apply of the same
    repository left behind are pruned.
    """
    target = required_target(reference, "apply")
    run = _ApplyRun(where=where, options=_ApplyOptions(**options), shows=output == "table")
    error = run_async(run.apply(connect(reference), target, policies))
    if output != "table":
        emit(run.facts, output)
    if error is not None:
        raise error


@dataclass(slots=True, kw_only=True)
class _ApplyRun:
    """One apply; ``facts`` is what ``-o json`` prints, ``shows`` prints results as they come."""

    where: ClusterOptions
    options: _ApplyOptions
    shows: bool
    facts: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)

    async def apply(
        self, store: Store, target: str, policies: tuple[TrustPolicy, ...]
    ) -> OcistateError | None:
        """Verify, plan, apply and wait; the error that objects had, if any."""
        from ocistate.ops.cluster.apply import owner_of, plan_apply

        async with self.where.open() as (client, namespace), store:
            content, trust = await _verified_content(client, store, target, policies)
            self.facts |= {
                "digest": content.digest,
                "signers": list(trust.signers),
                "verified": trust.satisfied,
                "mode": trust.mode,
                "dryRun": self.options.dry_run,
            }
            owner = owner_of(store.reference.name, namespace, self.options.name)
            planned = await plan_apply(
                client, content, owner=owner, namespace=namespace, prune=self.options.prune
            )
            note_unlisted(planned.unlisted)
            self._guard(planned.plan)
            return await self._carry_out(client, planned)

    def _guard(self, plan: Plan) -> None:
        """Show the plan's counts. Raises MassPrune, but not in a dry run."""
        from ocistate.apply.plan import guard_prune

        counts = {verb.value: count for verb, count in plan.counts().items()}
        note("Plan: " + ", ".join(f"{count} to {verb}" for verb, count in counts.items() if count))
        self.facts["plan"] = counts
        try:
            guard_prune(plan, percent=self.options.max_prune, hint="allow it with --max-prune 100")
        except MassPrune as error:
            if not self.options.dry_run:
                raise
            note(f"Without --dry-run this would end here: {error}")

    async def _carry_out(self, client: KubeClient, planned: Planned) -> OcistateError | None:
        from ocistate.kube.discovery import kind_text
        from ocistate.ops.cluster.apply import carry_out

        wait, timeout = self.options.wait, self.options.timeout
        outcome = await carry_out(
            client,
            planned,
            dry_run=self.options.dry_run,
            on_result=self._on_result,
            wave_timeout=timeout if wait else None,
        )
        unlisted = [kind_text(kind) for kind in planned.unlisted]
        self.facts |= {"results": self.results, "healthy": None, "unlisted": unlisted}
        if error := outcome.error():
            return error
        if self.options.dry_run:
            note("Dry run: nothing was changed.")
        elif wait:
            return await self._wait(client, planned)
        return None

    async def _wait(self, client: KubeClient, planned: Planned) -> OcistateError | None:
        from ocistate.health.vanishing import REMOVED
        from ocistate.ops.cluster.apply import wait_applied

        note(f"Waiting for health, up to {self.options.timeout:g} s")
        waited = await wait_applied(client, planned, self.options.timeout)
        self.facts |= {"healthy": waited.ok, "seconds": round(waited.seconds, 3)}
        for id, health in waited.healths.items():
            if health.message == REMOVED:
                note(f"{id} {REMOVED}: the next apply runs it again")
        if error := waited.error():
            return error
        note(f"Healthy after {waited.seconds:.1f} s.")
        return None

    def _on_result(self, done: Result) -> None:
        row = result_row(done)
        self.results.append(row)
        if self.shows:
            result(result_line(done))
            print_fields(row.get("fields", ()))


def result_row(done: Result) -> dict[str, Any]:
    """An object's result as the plain values that ``-o json`` prints."""
    from ocistate.ops.cluster.live import field_changes

    row: dict[str, Any] = {
        "object": str(done.id),
        "verb": done.verb,
        "state": done.state,
        "error": str(done.error) if done.error else "",
        "overruled": list(done.overruled),
    }
    if done.preview is not None:
        row["fields"] = field_rows(field_changes(done.preview))
    return row


def result_line(done: Result) -> str:
    """An object's result as a line for people."""
    why = str(done.error) if done.error else done.reason if done.state == "skipped" else ""
    if done.overruled:
        why = f"admission overrules {', '.join(done.overruled)}"
    sign = _SIGNS.get(done.verb, " ")
    return f"{sign} {done.id} {done.state}" + (f": {why}" if why else "")


async def _verified_content(
    client: KubeClient, store: Store, target: str, policies: tuple[TrustPolicy, ...]
) -> tuple[Content, Verified]:
    from ocistate.ops.artifact.fetch import fetch_content, fetch_manifest
    from ocistate.ops.signing.verify import verify_artifact

    discovery = asyncio.create_task(client.kinds())  # while the registry is asked
    try:
        digest = (await store.resolve(target)).digest
        trust = await verify_artifact(store, digest, policies)
        note(f"{store.reference}@{digest}: {trust.summary}")
        content = await fetch_content(store, await fetch_manifest(store, digest))
        await discovery
    finally:
        discovery.cancel()
        await asyncio.gather(discovery, return_exceptions=True)
    return content, trust
