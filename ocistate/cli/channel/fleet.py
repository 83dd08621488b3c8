"""``ocistate fleet``: the state of the clusters that follow a channel, by their signed reports."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.options import channel_argument, read_policies
from ocistate.cli.common.options import REPOSITORY, run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import ConfigError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.fleet import Fleet, Member
    from ocistate.channel.record import Record
    from ocistate.ops.channel.reader import Channel
    from ocistate.signing.policy.model import TrustedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Which clusters count, and where their reports are."""

    policy: str
    place: Reference | None

    def channel(self, name: str, repository: Reference) -> tuple[Channel, tuple[TrustedKey, ...]]:
        """A channel and the clusters that a policy enrols for it.

        Raises ConfigError where there are none, NoPolicy.
        """
        from ocistate.ops.channel.reader import channel_of
        from ocistate.signing.policy.select import select_policy

        policies = read_policies(self.policy)
        channel = channel_of(name, repository.base, policies)
        policy = select_policy(policies, repository.base.name)
        if not policy.reporters:
            raise ConfigError(
                f"the TrustPolicy {policy.name!r} enrols no cluster",
                hint="name clusters and their public keys in its spec.reporters",
            )
        return channel, policy.reporters


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which clusters count, and where their reports are: the command gets ``reports``."""

    @click.option(
        "--policy",
        required=True,
        metavar="FILE",
        help="A file with TrustPolicies: their reporters are the known clusters.",
    )
    @click.option(
        "--reports",
        "place",
        type=REPOSITORY,
        metavar="REPO",
        help="The repository with the reports, if not the channel's.",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, policy: str, place: Reference | None, **kwargs: Any) -> Any:
        return command(*args, reports=Reports(policy=policy, place=place), **kwargs)

    return wrapper


@click.group("fleet")
def fleet_command() -> None:
    """Show the clusters that follow a channel, by their signed reports."""


@fleet_command.command("status")
@channel_argument
@report_options
@click.option("--exit-code", is_flag=True, help="Exit with 1 unless all are healthy and current.")
@store_options
@output_option("table", "json", "yaml", "name")
def status_command(
    reference: Reference,
    name: str,
    reports: Reports,
    exit_code: bool,
    connect: OpenRepository,
    output: str,
) -> int:
    """Show what each cluster runs of a channel.

    Also since when, and its health. Only the registry is asked. A report counts when it is signed
    by the key that the policy names for its cluster. Clusters that are silent, were never seen, or
    whose reports cannot be verified come first.
    """
    record, fleet = run_async(_status(connect, reference, name, reports))
    if output in ("json", "yaml"):
        emit(
            {
                "channel": str(record),
                "well": fleet.is_healthy,
                "counts": fleet.counts(),
                "members": [member_facts(member) for member in fleet.members],
            },
            output,
        )
    elif output == "name":
        for member in fleet.members:
            result(f"{member.cluster}/{member.stack}")
    else:
        table(
            ("cluster", "stack", "state", "follows", "digest", "since", "seen", "message"),
            [_row(member) for member in fleet.members],
        )
    counts = ", ".join(f"{count} {standing}" for standing, count in fleet.counts().items())
    behind = sum(m.report is not None and not m.current for m in fleet.members)
    note(f"{record}: {counts or 'no cluster'}" + (f"; {behind} behind" if behind else "") + ".")
    return 1 if exit_code and not fleet.is_healthy else 0


async def _status(
    connect: OpenRepository, reference: Reference, name: str, reports: Reports
) -> tuple[Record, Fleet]:
    from datetime import UTC, datetime

    from ocistate.ops.channel.reader import read_newest
    from ocistate.ops.channel.reports import read_fleet

    channel, reporters = reports.channel(name, reference)
    async with connect(reference) as store, connect(reports.place or reference) as report_store:
        record = (await read_newest(store, channel)).record
        fleet = await read_fleet(report_store, channel, reporters, record, datetime.now(UTC))
    return record, fleet


def _row(member: Member) -> tuple[str, ...]:
    from ocistate.channel.record import show_number
    from ocistate.times import format_time

    report = member.report
    if report is None:
        return (member.cluster or "?", member.stack, member.standing, "", "", "", "",
                member.problem)  # fmt: skip
    return (
        member.cluster,
        member.stack,
        member.standing,
        f"{report.channel}@{show_number(*report.number)}" + ("" if member.current else " (behind)"),
        report.digest[:19],
        format_time(report.since),
        format_time(report.at),
        member.problem,
    )


def member_facts(member: Member) -> dict[str, Any]:
    """A member as the plain values that ``-o json`` prints."""
    from ocistate.times import format_time

    report = member.report
    return {
        "cluster": member.cluster,
        "stack": member.stack,
        "standing": member.standing,
        "current": member.current,
        "state": report.state if report else "",
        "digest": report.digest if report else "",
        "epoch": report.epoch if report else 0,
        "sequence": report.sequence if report else 0,
        "since": format_time(report.since) if report else "",
        "at": format_time(report.at) if report else "",
        "message": member.problem,
    }
