"""``ocistate history``: who moved a channel to what, when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    channel_read_options,
)
from ocistate.cli.channel.records import record_row
from ocistate.cli.common.options import REPOSITORY, run_async
from ocistate.cli.common.output import emit, note, output_option, result, table, warn
from ocistate.cli.common.registry import OpenRepository
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.history import History, Link
    from ocistate.oci.store import Store
    from ocistate.ops.channel.reader import Channel


@click.command("history")
@click.argument("reference", type=REPOSITORY, metavar="REPO")
@click.argument("name", required=False, metavar="[CHANNEL]")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show only the newest N of each channel.",
)
@click.option("--git", "git", is_flag=True, help="Link each release to its commits.")
@channel_read_options
@output_option("table", "json", "yaml", "name")
def history_command(
    reference: Reference,
    name: str | None,
    limit: int | None,
    git: bool,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """Show the releases of a channel, or of all: number, time, who, digest, revision, reason.

    Each record links to the one before it, so the history cannot be rewritten without changing the
    newest record. With --policy or --channel-key each signature is verified.
    """
    rows: list[dict[str, Any]] = []
    for channel, history in run_async(_read(connect(reference), reference, name, limit, trust)):
        rows += _rows(channel, history, git=git)
        for fork in history.forks:
            warn(f"fork of {channel.name}: {fork}")
        if history.broken:
            warn(f"the history of {channel.name} ends too early: {history.broken}")
    if output in ("json", "yaml"):
        emit(rows, output)
    elif output == "name":
        for row in rows:
            result(f"{row['channel']}@{row['number']}")
    elif not rows:
        note(f"{reference.base} has no channels.")
    else:
        _print(rows, git=git)


async def _read(
    store: Store,
    reference: Reference,
    name: str | None,
    limit: int | None,
    trust: ChannelTrustOptions,
) -> list[tuple[Channel, History]]:
    from ocistate.channel.history import MAX_RECORDS
    from ocistate.ops.channel.history import RecordCache, read_history
    from ocistate.ops.channel.reader import channels_in

    found = []
    async with store:
        for each in [name] if name else channels_in(await store.tags()):
            channel = trust.channel(each, reference, required=False)
            history = await read_history(
                store, channel, limit=limit or MAX_RECORDS, cache=RecordCache.open(channel)
            )
            found.append((channel, history))
    return found


def _rows(channel: Channel, history: History, *, git: bool) -> list[dict[str, Any]]:
    from ocistate.channel.record import show_number

    rows = []
    for place, link in enumerate(history.links):
        record = link.record
        made = record.artifacts.get(channel.repository)
        row = {
            **record_row(record, link.digest, link.signer),
            "number": show_number(*record.number),
            "digest": record.subjects.get(channel.repository, ""),
            "revision": made.revision if made else "",
            "verified": bool(link.signer) and not link.problem,
            "problem": link.problem,
        }
        if git:
            row["commits"] = _commits(channel.repository, link, history.links[place + 1 :])
        rows.append(row)
    return rows


def _rings(rollout: dict[str, Any] | None) -> str:
    return f" (ring {rollout['open']} of {len(rollout['rings'])})" if rollout else ""


def _commits(repository: str, link: Link, older: tuple[Link, ...]) -> dict[str, Any]:
    """The commits between a release and the one before it that was made from another commit."""
    from ocistate.ops.channel.commits import commits_between

    new = link.record.artifacts.get(repository)
    before = next((o for o in older[:1]), None)
    old = before.record.artifacts.get(repository) if before is not None else None
    return commits_between(old, new)


def _print(rows: list[dict[str, Any]], *, git: bool) -> None:
    several = len({row["channel"] for row in rows}) > 1
    table(
        (
            *(("channel",) if several else ()),
            *("number", "when", "signed by", "asked by", "digest", "revision", "reason"),
        ),
        [
            (
                *((row["channel"],) if several else ()),
                row["number"] + (" (hold)" if row["hold"] else "") + _rings(row["rollout"]),
                row["issuedAt"],
                row["signer"] or (f"✗ {row['problem']}" if row["problem"] else "?"),
                row["actor"],
                row["digest"][:19],
                row["revision"],
                row["reason"].partition("\n")[0],
            )
            for row in rows
        ],
    )
    if git:
        for row in rows:
            commits = row["commits"]
            if commits["range"]:
                result("")
                result(f"{row['channel']}@{row['number']}: {commits['url'] or commits['range']}")
            for line in commits["log"]:
                result(f"    {line}")
