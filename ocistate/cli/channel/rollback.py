"""``ocistate rollback``: move a channel back to an earlier release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ocistate.cli.channel.moving import Moved, move, newest_of, report
from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    Writing,
    channel_argument,
    channel_write_options,
)
from ocistate.cli.common.consent import Consent, consent_options
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import output_option
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import ConfigError, NotFound
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.record import Record
    from ocistate.channel.trust import Trusted
    from ocistate.oci.store import Store
    from ocistate.ops.channel.reader import Channel


@click.command("rollback")
@channel_argument
@click.option("--to", "to", metavar="SEQUENCE|DIGEST", help="The release; default: the one before.")
@channel_write_options
@consent_options
@output_option("table", "json", "yaml", "name")
def rollback_command(
    reference: Reference,
    name: str,
    to: str | None,
    writing: Writing,
    trust: ChannelTrustOptions,
    consent: Consent,
    connect: OpenRepository,
    output: str,
) -> None:
    """Move a channel back to an earlier release, and put it on hold.

    No automation moves it forward until the hold is lifted with 'ocistate channel
    release', or 'ocistate promote --release'.
    """
    from ocistate.channel.change import rolled_back
    from ocistate.ops.channel.writer import Writer

    signer = writing.signer()
    channel = trust.channel(name, reference, signer=signer)

    async def back() -> Moved:
        async with connect(reference) as store:
            writer = Writer(store=store, channel=channel, signer=signer)
            newest = await newest_of(writer)
            target = await _release_before(store, channel, newest, to)
            why = writing.why(source=str(target))
            return await move(
                connect, writer, newest, lambda old: rolled_back(old, target, why), consent
            )

    report(run_async(back()), output)


async def _release_before(
    store: Store, channel: Channel, newest: Trusted, to: str | None
) -> Record:
    from ocistate.channel.history import find_previous
    from ocistate.ops.channel.history import read_history
    from ocistate.ops.channel.releases import find_record

    if to is not None:
        return await find_record(store, channel, to)
    if newest.record.hold:
        raise ConfigError(
            f"{newest.record} is on hold, so it was moved back already: {newest.record.reason}",
            hint="name the release: --to SEQUENCE or --to DIGEST",
        )
    found = find_previous((await read_history(store, channel)).links)
    if found is None:
        raise NotFound(f"{newest.record} is the first release of {channel.name}")
    return await find_record(store, channel, found.digest)
