"""``ocistate gc``: remove old artifacts that nothing needs any more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.consent import Consent, consent_options
from ocistate.cli.common.options import REFERENCE, run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import UsageError
from ocistate.reference import Reference
from ocistate.times import format_time

if TYPE_CHECKING:
    from ocistate.ops.repository.gc import CleanupPlan, Removal
    from ocistate.ops.repository.retention import RetentionDecision, RetentionRules

_UNITS = {"h": 1, "d": 24, "w": 168}


class Age(click.ParamType[timedelta]):
    """A time span in hours, days or weeks."""

    name = "age"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,5})([hdw])", value)
        if match is None:
            self.fail(f"{value!r} is not a time span: write 36h, 30d or 8w", param, ctx)
        return timedelta(hours=int(match[1]) * _UNITS[match[2]])


@click.command("gc")
@click.argument("reference", type=REFERENCE, metavar="REPOSITORY")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the N newest artifacts.")
@click.option(
    "--keep-for", type=Age(), metavar="AGE", help="Keep artifacts younger than this: 36h, 30d, 8w."
)
@click.option(
    "--keep-tag",
    "keep_tags",
    multiple=True,
    metavar="PATTERN",
    help="Keep artifacts with such a tag: a glob or a version range; repeatable.",
)
@click.option(
    "--undated",
    type=click.Choice(["keep", "oldest"]),
    default="keep",
    show_default=True,
    help="Artifacts without a creation time: keep them, or treat them as the oldest.",
)
@click.option(
    "--untagged",
    is_flag=True,
    help="Remove untagged artifacts too (layouts and archives only).",
)
@consent_options
@store_options
@output_option("table", "json", "yaml", "name")
def gc_command(
    reference: Reference,
    keep: int | None,
    keep_for: timedelta | None,
    keep_tags: tuple[str, ...],
    undated: str,
    untagged: bool,
    consent: Consent,
    connect: OpenRepository,
    output: str,
) -> None:
    """Remove a repository's old artifacts, with the signatures and all else that refers to them.

    It keeps the newest (--keep) and recent artifacts (--keep-for), everything that a channel
    record names, tags matching --keep-tag, what those depend on, artifacts without a creation time
    (--undated) and untagged ones (--untagged). A tag that clusters follow, such as 'prod', is not
    special: protect it with --keep-tag.
    """
    from ocistate.ops.repository.retention import RetentionRules

    if keep is None and keep_for is None:
        raise UsageError("nothing to keep given", hint="give --keep N, --keep-for 30d or both")
    if reference.target is not None:
        raise UsageError(f"{reference} names one artifact", hint="name the repository only")
    if untagged and reference.scheme == "oci":
        raise UsageError(
            "--untagged does not work on a registry, which lists tags only",
            hint="use the registry's garbage collection; --untagged is for layouts and archives",
        )
    consent.check_terminal()
    rules = RetentionRules(
        keep=keep or 1,
        keep_for=keep_for,
        keep_tags=keep_tags,
        undated_oldest=undated == "oldest",
        untagged=untagged,
    )
    plan, removals, freed = run_async(_gc(connect, reference, rules, consent, output))
    if output in ("json", "yaml"):
        emit(_facts(reference, plan, removals, consent.dry_run, freed), output)
    elif output == "name":
        for removal in removals:
            result(str(reference.with_digest(removal.decision.artifact.digest)))
    elif consent.dry_run:
        note(f"Would remove {len(removals)} of {len(plan.decisions)} artifacts.")
    else:
        freed_text = f", {freed / 1024**2:.1f} MiB" if freed else ""
        note(f"Removed {len(removals)} of {len(plan.decisions)} artifacts{freed_text}.")


async def _gc(
    connect: OpenRepository,
    reference: Reference,
    rules: RetentionRules,
    consent: Consent,
    output: str,
) -> tuple[CleanupPlan, Sequence[Removal], int]:
    from ocistate.ops.repository.gc import plan_gc, plan_removals, remove

    async with connect(reference) as store:
        plan = await plan_gc(store, rules, datetime.now(UTC))
        if output == "table":
            _print(plan.decisions)
        if not plan.doomed or consent.dry_run:
            return plan, await plan_removals(store, plan), 0
        if consent.must_ask:
            consent.confirm(f"Remove {len(plan.doomed)} of {len(plan.decisions)} artifacts?")
            # While we waited, someone may have promoted one of them, or pushed it again.
            agreed = {decision.artifact.digest for decision in plan.doomed}
            plan = await plan_gc(store, rules, datetime.now(UTC))
            removals = [
                removal
                for removal in await plan_removals(store, plan)
                if removal.decision.artifact.digest in agreed
            ]
        else:
            removals = await plan_removals(store, plan)
        return plan, removals, await remove(store, removals, _print_removal)


def _print_removal(removal: Removal) -> None:
    artifact = removal.decision.artifact
    more = len(removal.digests) - 1
    tags = ", ".join(artifact.tags) or "no tag"
    note(f"Removed {artifact.digest[:19]} ({tags}) and {more} more manifests.")


def _print(decisions: Sequence[RetentionDecision]) -> None:
    if not decisions:
        note("There are no artifacts to decide on.")
        return
    table(
        ("", "digest", "tags", "created", "why"),
        [
            (
                "keep" if decision.keep else "remove",
                decision.artifact.digest[:19],
                _shorten(decision.artifact.tags) or "-",
                _time(decision) or "-",
                decision.reason,
            )
            for decision in decisions
        ],
    )


def _shorten(tags: Sequence[str]) -> str:
    more = f" and {len(tags) - 3} more" if len(tags) > 3 else ""
    return ", ".join(tags[:3]) + more


def _time(decision: RetentionDecision) -> str:
    created = decision.artifact.created
    return format_time(created) if created else ""


def _facts(
    reference: Reference, plan: CleanupPlan, removals: Sequence[Removal], dry_run: bool, freed: int
) -> dict[str, Any]:
    def artifact(decision: RetentionDecision) -> dict[str, Any]:
        return {
            "digest": decision.artifact.digest,
            "tags": list(decision.artifact.tags),
            "created": _time(decision),
            "reason": decision.reason,
        }

    return {
        "repository": str(reference),
        "dryRun": dry_run,
        "removed": [
            {**artifact(removal.decision), "with": list(removal.digests[:-1])}
            for removal in removals
        ],
        "kept": [artifact(decision) for decision in plan.decisions if decision.keep],
        "freed": freed,
    }
