"""``ocistate pipeline``: check a pipeline's file, show its stages, promote what is ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.options import actor_here, channel_key_option
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import ConfigError

if TYPE_CHECKING:
    from ocistate.channel.gates import GateOutcome
    from ocistate.channel.pipeline import Pipeline
    from ocistate.ops.channel.pipeline import StageStatus
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy.model import TrustPolicy


_file = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")


@click.group("pipeline")
def pipeline_command() -> None:
    """Pipelines: channels in order, and the gates before each, in a reviewed file."""


@pipeline_command.command("check")
@_file
@output_option("name", "json", "yaml")
def check_command(file: Path, output: str) -> None:
    """Check a pipeline's file and its policy, without a registry."""
    pipeline, _ = load_pipeline(file)
    if output == "name":
        result(f"pipeline/{pipeline.name}")
    else:
        stages = [
            {
                "name": stage.name,
                "channel": stage.channel,
                "feeder": pipeline.feeder(place) or str(pipeline.source),
                "gates": [gate.kind for gate in stage.gates],
            }
            for place, stage in enumerate(pipeline.stages)
        ]
        emit(
            {"pipeline": pipeline.name, "repository": str(pipeline.repository), "stages": stages},
            output,
        )
    note(f"{file}: {len(pipeline.stages)} stages, in order.")


@pipeline_command.command("status")
@_file
@store_options
@output_option("table", "json", "yaml")
def status_command(file: Path, connect: OpenRepository, output: str) -> None:
    """Show the stages: what each has, since when, and what it waits for."""
    pipeline, policies = load_pipeline(file)
    _show(pipeline, run_async(_read(connect, pipeline, policies, None)), output)


@pipeline_command.command("run")
@_file
@channel_key_option
@click.option("--dry-run", is_flag=True, help="Show what would move, and write nothing.")
@store_options
@output_option("table", "json", "yaml")
def run_command(file: Path, key: str, dry_run: bool, connect: OpenRepository, output: str) -> int:
    """Promote every stage whose gates are open, and explain each gate.

    Several jobs may run it at once. Waiting is not a failure: the exit code is 1 only when a stage
    is blocked by a record, artifact or signature that is missing or cannot be verified.
    """
    from ocistate.cli.trust.keys import load_signer_for

    pipeline, policies = load_pipeline(file)
    signer = load_signer_for(key)
    found = run_async(_read(connect, pipeline, policies, signer, dry_run=dry_run))
    _show(pipeline, found, output)
    for status in found:
        if status.state == "Ready":
            note(f"{status.stage.name} would be moved.")
    if dry_run:
        note("Dry run: nothing was written.")
    return 1 if any(status.state == "Blocked" for status in found) else 0


def load_pipeline(file: Path) -> tuple[Pipeline, tuple[TrustPolicy, ...]]:
    """A file's pipeline and the policies it names. Raises ConfigError naming file and field."""
    from dataclasses import replace

    from ocistate.api.loader import beside_file, load_files, local_to, read_objects
    from ocistate.channel.pipeline import check_trust, parse_pipeline
    from ocistate.signing.policy.select import select_policy

    objects = read_objects(file)
    if len(objects) != 1 or not isinstance(objects[0][1], dict):
        raise ConfigError(
            f"{file} holds {len(objects)} objects", hint="it must hold one of kind Pipeline"
        )
    origin, value = objects[0]
    pipeline = parse_pipeline(value, origin=origin, read=beside_file(file, []))
    pipeline = replace(pipeline, repository=local_to(pipeline.repository, file.parent.absolute()))
    policies = load_files(file.parent / pipeline.policy).policies
    check_trust(pipeline, select_policy(policies, pipeline.repository.name), origin=origin)
    return pipeline, policies


async def _read(
    connect: OpenRepository,
    pipeline: Pipeline,
    policies: tuple[TrustPolicy, ...],
    signer: Signer | None,
    *,
    dry_run: bool = False,
) -> list[StageStatus]:
    from datetime import UTC, datetime

    from ocistate.ops.channel.pipeline import PipelineRun

    async with connect(pipeline.repository) as store:
        run = PipelineRun(
            store=store, pipeline=pipeline, policies=policies, clock=lambda: datetime.now(UTC)
        )
        if signer is not None:
            run.check_signer(signer)
        if signer is None or dry_run:
            return await run.status()
        return await run.run(signer, actor_here())


def _show(pipeline: Pipeline, found: list[StageStatus], output: str) -> None:
    if output != "table":
        emit(
            {
                "pipeline": pipeline.name,
                "repository": str(pipeline.repository),
                "stages": [_facts(status) for status in found],
            },
            output,
        )
        return
    table(("stage", "channel", "digest", "revision", "since", "state", "next"), _rows(found))
    for status in found:
        if status.why:
            note(f"{status.stage.name}: {status.why}.")
        for outcome in status.outcomes:
            mark = "open  " if outcome.open else "closed"
            note(f"{status.stage.name}: {mark} {outcome.kind}: {outcome.reason}{_when(outcome)}")


def _when(outcome: GateOutcome) -> str:
    from ocistate.times import format_time

    if outcome.open or outcome.opens_at is None or outcome.kind == "window":
        return ""
    return f" (may open at {format_time(outcome.opens_at)})"


def _rows(found: list[StageStatus]) -> list[tuple[str, ...]]:
    from ocistate.times import format_time

    rows: list[tuple[str, ...]] = []
    for status in found:
        held, feed = status.held, status.feed
        closed = ", ".join(outcome.kind for outcome in status.outcomes if not outcome.open)
        coming = feed and held and feed.digest != held.digest
        rows.append(
            (
                status.stage.name,
                str(held.newest.record) if held else status.stage.channel,
                held.digest[:19] if held else "",
                status.revision,
                format_time(held.since) if held else "",
                status.state + (f" for {closed}" if closed else ""),
                f"{feed.digest[:19]} from {feed.origin}" if feed and coming else "",
            )
        )
    return rows


def _facts(status: StageStatus) -> dict[str, Any]:
    from ocistate.times import format_time

    held, feed = status.held, status.feed
    record = held.newest.record if held else None
    return {
        "name": status.stage.name,
        "channel": status.stage.channel,
        "state": status.state,
        "why": status.why,
        "digest": held.digest if held else "",
        "revision": status.revision,
        "since": format_time(held.since) if held else "",
        "epoch": record.epoch if record else 0,
        "sequence": record.sequence if record else 0,
        "hold": record.hold if record else False,
        "next": {
            "digest": feed.digest if feed else "",
            "revision": status.made.revision if status.made else "",
            "source": feed.origin if feed else "",
        },
        "gates": [
            {
                "kind": outcome.kind,
                "open": outcome.open,
                "reason": outcome.reason,
                "opensAt": format_time(outcome.opens_at) if outcome.opens_at else "",
            }
            for outcome in status.outcomes
        ],
    }
