"""``ocistate rollout``: roll out a release ring by ring, by what its clusters report."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.fleet import Reports, member_facts, report_options
from ocistate.cli.channel.options import Writing, channel_argument, writer_options
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import ChannelHeld, ConfigError, Conflict, RolloutWaits
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.progress import RolloutVerdict
    from ocistate.channel.record import Record
    from ocistate.channel.rings import Ring, Rollout
    from ocistate.channel.trust import Trusted
    from ocistate.ops.channel.rollout import RolloutSnapshot
    from ocistate.signing.keys import Signer


def read_rings(text: str | None) -> tuple[Ring, ...]:
    """The rings of ``--rings``: a file, or written out. Raises ConfigError, InvalidManifest."""
    if text is None:
        return ()
    from ocistate.channel.rings import parse_rings, parse_rings_text

    if not (path := Path(text)).is_file():
        return parse_rings_text(text)
    from ocistate.documents.reader import read_documents

    documents = list(read_documents(text, path.read_bytes()))
    if len(documents) != 1:
        raise ConfigError(f"{text} has {len(documents)} documents", hint="write one, with rings")
    return parse_rings(documents[0].value, origin=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RolloutContext:
    """Which channel, whose reports count, and where they are."""

    reference: Reference
    name: str
    reports: Reports
    connect: OpenRepository

    async def look(self, signer: Signer | None = None) -> RolloutSnapshot:
        """The rollout now. Raises ConfigError where no cluster is enrolled."""
        return (await self._at(signer, None, None))[0]

    async def step(
        self, signer: Signer, choose: Callable[[RolloutSnapshot], RolloutVerdict], writing: Writing
    ) -> tuple[RolloutSnapshot, RolloutVerdict, Trusted]:
        """Read the rollout, choose a step, and write it; the newest record afterwards."""
        return await self._at(signer, choose, writing)

    async def _at(
        self,
        signer: Signer | None,
        choose: Callable[[RolloutSnapshot], RolloutVerdict] | None,
        writing: Writing | None,
    ) -> tuple[RolloutSnapshot, RolloutVerdict, Trusted]:
        from datetime import UTC, datetime

        from ocistate.channel.trust import check_policy
        from ocistate.ops.channel.reader import no_channel, read_newest
        from ocistate.ops.channel.rollout import take_snapshot, take_step
        from ocistate.ops.channel.writer import Writer

        channel, reporters = self.reports.channel(self.name, self.reference)
        async with (
            self.connect(self.reference) as store,
            self.connect(self.reports.place or self.reference) as report_store,
        ):
            writer = Writer(store=store, channel=channel, signer=signer) if signer else None
            newest = await (writer.newest() if writer else read_newest(store, channel))
            if newest is None:
                raise no_channel(store.reference, channel.name)
            check_policy(newest.record, channel.trust)
            snapshot = await take_snapshot(
                newest, channel, report_store, reporters, datetime.now(UTC)
            )
            if writer is None or choose is None or writing is None:
                return snapshot, "wait", newest
            verdict = choose(snapshot)
            if verdict == "wait":
                return snapshot, verdict, newest
            # Another ring gets what the first one got: it comes from the same place.
            source = str(newest.record) if verdict == "back" else newest.record.source
            why = writing.why(_reason(newest.record, verdict, snapshot), source=source)
            return snapshot, verdict, await take_step(writer, newest, verdict, why)


def _site_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which channel, which clusters count, where their reports are: the command gets ``site``."""

    @channel_argument
    @report_options
    @store_options
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        reference: Reference,
        name: str,
        reports: Reports,
        connect: OpenRepository,
        **rest: Any,
    ) -> Any:
        site = _RolloutContext(reference=reference, name=name, reports=reports, connect=connect)
        return command(*args, site=site, **rest)

    return wrapper


@click.group("rollout")
def rollout_command() -> None:
    """Roll out a channel's release ring by ring, by what its clusters report.

    'ocistate promote --rings' starts a rollout.
    """


@rollout_command.command("status")
@_site_options
@output_option("table", "json", "yaml", "name")
def status_command(site: _RolloutContext, output: str) -> None:
    """Show the rings, their clusters, and what the rollout waits for."""
    snapshot = run_async(site.look())
    _print(snapshot, output)


@rollout_command.command("advance")
@_site_options
@click.option(
    "--force", is_flag=True, help="Advance before the open rings have proven the release."
)
@writer_options
@output_option("name", "json", "yaml")
def advance_command(site: _RolloutContext, force: bool, writing: Writing, output: str) -> None:
    """Open the next ring, or end the rollout when all are open.

    Only when every cluster of the open rings has been healthy on the release for the ring's soak
    time; --force skips that check.
    """

    def choose(snapshot: RolloutSnapshot) -> RolloutVerdict:
        record, rollout, step = _under_way(snapshot)
        if record.hold:
            raise ChannelHeld(
                f"the channel {record} is on hold: {record.reason or 'no reason given'}",
                hint="'ocistate channel release' lifts the hold",
            )
        if step.verdict in ("wait", "back") and not force:
            raise RolloutWaits(
                f"{record} stays in {rollout}: {'; '.join(step.why)}",
                hint="wait, or --force; 'ocistate rollout abort' goes back"
                if step.verdict == "wait"
                else "'ocistate rollout abort' goes back to what is stable",
            )
        return "finish" if rollout.open == len(rollout.rings) else "advance"

    _report(*run_async(site.step(writing.signer(), choose, writing)), output)


@rollout_command.command("abort")
@_site_options
@writer_options
@output_option("name", "json", "yaml")
def abort_command(site: _RolloutContext, writing: Writing, output: str) -> None:
    """Return all rings to the stable digests, and put the channel on hold."""

    def choose(snapshot: RolloutSnapshot) -> RolloutVerdict:
        _under_way(snapshot)
        return "back"

    _report(*run_async(site.step(writing.signer(), choose, writing)), output)


@rollout_command.command("run")
@_site_options
@writer_options
@output_option("name", "json", "yaml")
def run_command(site: _RolloutContext, writing: Writing, output: str) -> int:
    """Open the next ring, end the rollout, or go back, as is due. For a scheduled job.

    Several jobs may run it at once. Exits with 1 when the rollout went back.
    """

    def choose(snapshot: RolloutSnapshot) -> RolloutVerdict:
        return snapshot.step.verdict if snapshot.step is not None else "wait"

    signer = writing.signer()
    try:
        snapshot, verdict, written = run_async(site.step(signer, choose, writing))
    except Conflict as error:
        note(f"{error.message}: nothing is left to do here.")
        snapshot = run_async(site.look(signer))
        verdict, written = "wait", snapshot.newest
    _report(snapshot, verdict, written, output)
    return 1 if verdict == "back" else 0


def _under_way(snapshot: RolloutSnapshot) -> Any:
    record, step = snapshot.newest.record, snapshot.step
    if record.rollout is None or step is None:
        raise ConfigError(
            f"no rollout is under way in {record}", hint="'ocistate promote --rings …' begins one"
        )
    return record, record.rollout, step


def _reason(record: Record, verdict: RolloutVerdict, snapshot: RolloutSnapshot) -> str:
    """Why it was done, for the record, where no one says so."""
    _, rollout, step = _under_way(snapshot)
    done = {"advance": "opens the next ring", "finish": "ends the rollout", "back": "goes back"}
    because = "; ".join(step.why) if step.verdict == verdict else "by hand"
    return f"{done[verdict]} after {rollout.newest.name}: {because}"[:1000]


def _report(
    snapshot: RolloutSnapshot, verdict: RolloutVerdict, written: Trusted, output: str
) -> None:
    from ocistate.cli.channel.records import record_row

    record, step = written.record, snapshot.step
    if verdict == "wait":
        why = "; ".join(step.why) if step is not None else "no rollout is under way"
        note(f"{record} stays as it is: {why}.")
    elif verdict == "back":
        because = "; ".join(step.why) if step is not None and step.verdict == "back" else ""
        note(f"Back to what is stable, on hold: {record}." + (f" {because}" if because else ""))
    elif verdict == "finish":
        note(f"{record}: the rollout has ended, every cluster has the release.")
    else:
        note(f"{record}: opened {record.rollout}.")
    if output == "name":
        result(str(record))
    else:
        row = record_row(record, written.digest, written.signer)
        emit({**row, "did": verdict, "why": list(step.why) if step else []}, output)


def _print(snapshot: RolloutSnapshot, output: str) -> None:
    record, rollout, step = snapshot.newest.record, snapshot.newest.record.rollout, snapshot.step
    if output == "name":
        result(str(record))
    elif output in ("json", "yaml"):
        emit(_facts(snapshot), output)
    elif rollout is not None:
        table(("ring", "takes", "soak", "state", "clusters"), _rows(snapshot, rollout))
        table(
            ("cluster", "stack", "ring", "state", "digest", "message"),
            [
                (
                    member.cluster or "?",
                    member.stack,
                    rollout.rings[member.ring].name if member.cluster else "",
                    member.standing + ("" if member.current or not member.report else " (behind)"),
                    member.report.digest[:19] if member.report else "",
                    member.problem,
                )
                for member in snapshot.fleet.members
            ],
        )
    if rollout is None or step is None:
        note(f"{record}: no rollout is under way.")
    else:
        due = {
            "wait": "waits",
            "back": "is to go back",
            "advance": "may open the next ring",
            "finish": "may end",
        }
        note(f"{record}, {rollout}: {due[step.verdict]}: {'; '.join(step.why)}")


def _rows(snapshot: RolloutSnapshot, rollout: Rollout) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for place, ring in enumerate(rollout.rings):
        inside = [m for m in snapshot.fleet.members if m.ring == place and m.cluster]
        healthy = sum(m.standing == "Healthy" and m.current for m in inside)
        takes = ",".join(f"{k}={v}" for k, v in ring.labels.items()) or f"{ring.percent}%"
        rows.append(
            (
                ring.name,
                takes,
                f"{ring.soak}s",
                "open" if rollout.is_open(place) else "closed",
                f"{healthy} of {len(inside)} healthy",
            )
        )
    return rows


def _facts(snapshot: RolloutSnapshot) -> dict[str, Any]:
    from ocistate.channel.rings import write_rollout
    from ocistate.times import format_time

    record, rollout, step = snapshot.newest.record, snapshot.newest.record.rollout, snapshot.step
    return {
        "channel": str(record),
        "hold": record.hold,
        "rollout": write_rollout(rollout, format_time(rollout.opened_at)) if rollout else None,
        "due": step.verdict if step else "",
        "why": list(step.why) if step else [],
        "members": [
            {
                **member_facts(member),
                "ring": rollout.rings[member.ring].name if rollout and member.cluster else "",
                "open": rollout is None or rollout.is_open(member.ring),
            }
            for member in snapshot.fleet.members
        ],
    }
