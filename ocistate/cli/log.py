"""``ocistate log`` and ``ocistate blame``: one object, or its fields, over a channel's releases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel_options import channel_trust_options, read_channel
from ocistate.cli.differences import change_line, field_line, show_value
from ocistate.cli.options import REFERENCE, run_async, store_options
from ocistate.cli.output import emit, note, output_option, plain, result, table, warn
from ocistate.cli.records import record_row
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.artifact.blame import Blamed
    from ocistate.oci.store import Store
    from ocistate.steps.objects import ObjectChange, Release


@click.command("log")
@click.argument("reference", type=REFERENCE, metavar="REPO")
@click.argument("channel", required=False, metavar="[CHANNEL]")
@click.option(
    "--resource",
    required=True,
    metavar="KIND/[NAMESPACE/]NAME",
    help="The object, such as Deployment/shop/api or Deployment.apps/shop/api.",
)
@click.option("-p", "--patch", is_flag=True, help="Show the fields that changed.")
@channel_trust_options
@store_options
@output_option("table", "json", "yaml", "name")
def log_command(
    reference: Reference,
    channel: str | None,
    resource: str,
    patch: bool,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Callable[[Reference], Store],
    output: str,
) -> None:
    """Show each release of a channel that changed one object, the newest first.

    As 'git log -p' of a file does: who released it, when and why, and with -p which fields changed.
    The values of Secrets are never shown.
    """
    rows = run_async(
        _log(connect(reference), reference, channel, resource, patch, policy, channel_keys)
    )
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
        result(change_line(row["change"], f"{release}  {row['issuedAt']}  by {plain(who)}{asked}"))
        for key in ("reason", "revision", "digest"):
            if row[key]:
                result(f"    {key}: {plain(row[key].partition(chr(10))[0])}")
        for field in row.get("fields", ()):
            result(field_line(field["pointer"], field["before"], field["after"]))
    if not rows:
        note("No release changed it.")


@click.command("blame")
@click.argument("reference", type=REFERENCE, metavar="REPO")
@click.argument("channel", required=False, metavar="[CHANNEL[@NUMBER]]")
@click.option(
    "--resource",
    required=True,
    metavar="KIND/[NAMESPACE/]NAME",
    help="The object, such as Deployment/shop/api or Deployment.apps/shop/api.",
)
@channel_trust_options
@store_options
@output_option("table", "json", "yaml")
def blame_command(
    reference: Reference,
    channel: str | None,
    resource: str,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Callable[[Reference], Store],
    output: str,
) -> None:
    """Show of each field of an object which release gave it the value it has.

    The object is the channel's newest, or that of the release named. The values of Secrets are
    never shown.
    """
    rows = run_async(_blame(connect(reference), reference, channel, resource, policy, channel_keys))
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


async def _log(
    store: Store,
    reference: Reference,
    channel: str | None,
    resource: str,
    patch: bool,
    policy: str | None,
    channel_keys: tuple[str, ...],
) -> list[dict[str, Any]]:
    from ocistate.artifact.diff import diff_objects, mask_secrets
    from ocistate.oci.cached import CachedFetcher
    from ocistate.steps.objects import (
        find_object,
        object_changes,
        parse_object_name,
        read_object,
        read_releases,
    )

    name = parse_object_name(resource)
    async with store:
        _, history = await read_channel(store, reference, channel, policy, channel_keys)
        fetcher = CachedFetcher.of(store)
        releases = await read_releases(fetcher, history.links)
        _tell_problems(releases)
        id = find_object(releases, name)
        rows = []
        for change in object_changes(releases, id):
            row = _row(change)
            if patch and change.change == "changed":
                before = await read_object(fetcher, change.earlier, id)
                after = await read_object(fetcher, change.release, id)
                row["fields"] = [
                    {"pointer": field.pointer, "before": field.before, "after": field.after}
                    for field in diff_objects(*mask_secrets(before, after))
                ]
            rows.append(row)
        return rows


async def _blame(
    store: Store,
    reference: Reference,
    channel: str | None,
    resource: str,
    policy: str | None,
    channel_keys: tuple[str, ...],
) -> list[dict[str, Any]]:
    from ocistate.artifact.blame import blame
    from ocistate.channel.history import find_release
    from ocistate.errors import NotFound
    from ocistate.oci.cached import CachedFetcher
    from ocistate.steps.objects import (
        entry_in,
        find_object,
        object_changes,
        parse_object_name,
        read_object,
        read_releases,
    )

    name = parse_object_name(resource)
    channel, _, wanted = (channel or "").partition("@")
    async with store:
        _, history = await read_channel(store, reference, channel, policy, channel_keys)
        links = list(history.links)
        if wanted:
            found = find_release(links, wanted)
            if found is None:
                raise NotFound(
                    f"the channel has no release {wanted}",
                    hint="'ocistate history' shows its releases",
                )
            links = links[links.index(found) :]
        fetcher = CachedFetcher.of(store)
        releases = await read_releases(fetcher, links)
        _tell_problems(releases)
        id = find_object(releases, name)
        newest = next((release for release in releases if release.inventory is not None), None)
        if entry_in(newest, id) is None:
            at = newest.link.record if newest else channel
            raise NotFound(
                f"{at} has no {id}", hint="'ocistate log --resource' shows which release removed it"
            )
        changes = object_changes(releases, id)
        states = [await read_object(fetcher, change.release, id) or None for change in changes]
        return [_blamed(field, changes) for field in blame(states)]


def _tell_problems(releases: Sequence[Release]) -> None:
    for release in releases:
        if release.problem:
            warn(f"{release.link.record} is passed over: {release.problem}")


def _row(change: ObjectChange) -> dict[str, Any]:
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


def _blamed(field: Blamed, changes: Sequence[ObjectChange]) -> dict[str, Any]:
    row = _row(changes[field.since])
    return {
        "pointer": field.pointer,
        "value": field.value,
        **{key: value for key, value in row.items() if key != "change"},
    }
