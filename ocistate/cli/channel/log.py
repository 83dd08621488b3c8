"""``ocistate log`` and ``ocistate blame``: one object, or its fields, over a channel's releases."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    channel_read_options,
    read_channel,
)
from ocistate.cli.channel.records import record_row
from ocistate.cli.common.differences import field_rows, print_change, print_fields, show_value
from ocistate.cli.common.options import REPOSITORY, run_async
from ocistate.cli.common.output import emit, note, output_option, result, table, warn
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import NotFound
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.artifact.blame import Blamed
    from ocistate.objects import ObjectId
    from ocistate.oci.cached import CachedFetcher
    from ocistate.oci.store import Store
    from ocistate.ops.channel.objects import ObjectRelease, ReleaseChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One object over a channel's releases, the newest first."""

    fetcher: CachedFetcher
    releases: Sequence[ObjectRelease]
    id: ObjectId


async def _read_past(
    store: Store, reference: Reference, channel: str, resource: str, trust: ChannelTrustOptions
) -> Past:
    """The object that is named, from the release CHANNEL@NUMBER back, or from the newest."""
    from ocistate.channel.history import find_release
    from ocistate.oci.cached import CachedFetcher
    from ocistate.ops.channel.objects import find_object, parse_object_name, read_releases

    name = parse_object_name(resource)
    channel, _, wanted = channel.partition("@")
    _, history = await read_channel(store, reference, channel, trust)
    links = list(history.links)
    if wanted:
        found = find_release(links, wanted)
        if found is None:
            raise NotFound(
                f"the channel has no release {wanted}", hint="'ocistate history' shows its releases"
            )
        links = links[links.index(found) :]
    fetcher = CachedFetcher.of(store)
    releases = await read_releases(fetcher, links)
    for release in releases:
        if release.problem:
            warn(f"{release.link.record} is passed over: {release.problem}")
    return Past(fetcher=fetcher, releases=releases, id=find_object(releases, name))


Open = Callable[[], AbstractAsyncContextManager[Past]]


def _past_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which object, of which channel: the command gets ``past``, which opens its past."""

    @click.argument("reference", type=REPOSITORY, metavar="REPO")
    @click.argument("channel", default="", metavar="[CHANNEL[@NUMBER]]")
    @click.option(
        "--resource",
        required=True,
        metavar="KIND/[NAMESPACE/]NAME",
        help="The object, such as Deployment/shop/api or Deployment.apps/shop/api.",
    )
    @channel_read_options
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        reference: Reference,
        channel: str,
        resource: str,
        trust: ChannelTrustOptions,
        connect: OpenRepository,
        **kwargs: Any,
    ) -> Any:
        @asynccontextmanager
        async def past() -> AsyncIterator[Past]:
            async with connect(reference) as store:
                yield await _read_past(store, reference, channel, resource, trust)

        return command(*args, past=past, **kwargs)

    return wrapper


@click.command("log")
@_past_options
@click.option("-p", "--patch", is_flag=True, help="Show the fields that changed.")
@output_option("table", "json", "yaml", "name")
def log_command(
    past: Open,
    patch: bool,
    output: str,
) -> None:
    """Show each release of a channel that changed one object, the newest first.

    As 'git log -p' of a file does: who released it, when and why, and with -p which fields changed.
    The values of Secrets are never shown.
    """
    rows = run_async(_log(past, patch=patch))
    if output in ("json", "yaml"):
        emit(rows, output)
        return
    for row in rows:
        release = f"{row['channel']}@{row['number']}"
        if output == "name":
            result(release)
            continue
        who = row["signer"] or "?"
        asked = f", asked by {row['actor']}" if row["actor"] else ""
        print_change(row["change"], f"{release}  {row['issuedAt']}  by {who}{asked}")
        for key in ("reason", "revision", "digest"):
            if row[key]:
                result(f"    {key}: {row[key].partition(chr(10))[0]}")
        print_fields(row.get("fields", ()))
    if not rows:
        note("No release changed it.")


@click.command("blame")
@_past_options
@output_option("table", "json", "yaml")
def blame_command(
    past: Open,
    output: str,
) -> None:
    """Show which release set each field of an object.

    The object is the channel's newest, or that of the release named. The values of Secrets are
    never shown.
    """
    rows = run_async(_blame(past))
    if output in ("json", "yaml"):
        emit(rows, output)
        return
    table(
        ("release", "when", "by", "field", "value"),
        [
            (
                f"{row['channel']}@{row['number']}",
                row["issuedAt"],
                row["signer"] or "?",
                row["pointer"],
                show_value(row["value"]),
            )
            for row in rows
        ],
    )


async def _log(open_past: Open, *, patch: bool) -> list[dict[str, Any]]:
    from ocistate.artifact.diff import diff_objects, mask_secrets
    from ocistate.ops.channel.objects import object_changes, read_object

    async with open_past() as past:
        rows = []
        for change in object_changes(past.releases, past.id):
            row = _row(change)
            if patch and change.change == "changed":
                before = await read_object(past.fetcher, change.earlier, past.id)
                after = await read_object(past.fetcher, change.release, past.id)
                row["fields"] = field_rows(diff_objects(*mask_secrets(before, after)))
            rows.append(row)
        return rows


async def _blame(open_past: Open) -> list[dict[str, Any]]:
    from ocistate.artifact.blame import blame
    from ocistate.ops.channel.objects import entry_in, object_changes, read_object

    async with open_past() as past:
        newest = next((each for each in past.releases if each.inventory is not None), None)
        if newest is None or entry_in(newest, past.id) is None:
            at = f"{newest.link.record} has" if newest else "no release that can be read has"
            raise NotFound(
                f"{at} no {past.id}",
                hint="'ocistate log --resource' shows which release removed it",
            )
        changes = object_changes(past.releases, past.id)
        states = [await read_object(past.fetcher, c.release, past.id) or None for c in changes]
        return [_blamed(field, changes) for field in blame(states)]


def _row(change: ReleaseChange) -> dict[str, Any]:
    from ocistate.channel.record import show_number

    link = change.release.link
    inventory = change.release.inventory
    row = record_row(link.record, link.digest, link.signer)
    return {
        **{key: row[key] for key in ("channel", "issuedAt", "reason", "actor", "signer")},
        "number": show_number(*link.record.number),
        "digest": change.release.digest,
        "revision": inventory.revision if inventory else "",
        "change": change.change,
    }


def _blamed(field: Blamed, changes: Sequence[ReleaseChange]) -> dict[str, Any]:
    row = _row(changes[field.since])
    return {
        "pointer": field.pointer,
        "value": field.value,
        **{key: value for key, value in row.items() if key != "change"},
    }
