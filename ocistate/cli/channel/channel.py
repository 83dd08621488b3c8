"""``ocistate channel``: begin, refresh, hold and release channels, and look at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    Writing,
    channel_argument,
    channel_write_options,
    check_unsigned,
    unsigned_option,
)
from ocistate.cli.channel.records import record_row
from ocistate.cli.channel.show import list_command, show_command, verify_command
from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import Conflict
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.record import Record
    from ocistate.channel.trust import Trusted
    from ocistate.ops.channel.reader import Channel
    from ocistate.ops.channel.writer import Make


@click.group("channel")
def channel_command() -> None:
    """Channels: signed, numbered pointers from an environment's name to digests."""


@channel_command.command("init")
@click.argument("reference", type=REFERENCE, metavar="REPO:TAG|REPO@DIGEST")
@click.argument("name", metavar="CHANNEL")
@click.option(
    "--restart",
    is_flag=True,
    help="Start the policy's epoch for a channel whose key was lost or stolen.",
)
@unsigned_option
@channel_write_options
@output_option("name", "json", "yaml")
def init_command(
    reference: Reference,
    name: str,
    restart: bool,
    allow_unsigned: bool,
    writing: Writing,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """Create a channel that points at an artifact: its first record.

    With --restart, the first record of the policy's epoch, replacing whatever the channel has now.
    """
    from ocistate.channel.change import begun
    from ocistate.ops.channel.reader import repository_of
    from ocistate.ops.channel.releases import find_candidate, pins_of
    from ocistate.ops.channel.writer import Writer

    required_target(reference, "channel init")
    signer = writing.signer()
    channel = trust.channel(name, reference, signer=signer)
    why, policies = writing.why("the channel begins"), trust.policies()
    check_unsigned(allow_unsigned, policies)

    async def begin() -> Trusted:
        found = await find_candidate(connect, reference, policies, allow_unsigned=allow_unsigned)
        note(f"{reference.with_digest(found.digest)}: {found.trust}")
        draft = begun(name, repository_of(reference), pins_of([found]), why)

        def make(newest: Trusted | None) -> Record:
            if newest is not None:
                raise Conflict(
                    f"there is a channel {newest.record} already",
                    hint="'ocistate promote' moves it; --restart begins a higher epoch",
                )
            return draft

        async with connect(reference) as store:
            writer = Writer(store=store, channel=channel, signer=signer)
            return await (writer.restart(draft) if restart else writer.write(make))

    _written(run_async(begin()), output)


def _rewrite(verb: str, text: str) -> Callable[..., Any]:
    """A command that writes the same digests again, with something else about them changed."""

    @channel_command.command(verb, help=text)
    @channel_argument
    @channel_write_options
    @output_option("name", "json", "yaml")
    def command(
        reference: Reference,
        name: str,
        writing: Writing,
        trust: ChannelTrustOptions,
        connect: OpenRepository,
        output: str,
    ) -> None:
        from ocistate.ops.channel.writer import Writer

        signer = writing.signer()
        channel = trust.channel(name, reference, signer=signer)
        make = _maker(verb, channel, writing.why(verb))

        async def write() -> Trusted:
            async with connect(reference) as store:
                return await Writer(store=store, channel=channel, signer=signer).write(make)

        _written(run_async(write()), output)

    return command


_rewrite(
    "refresh",
    "Write the same record with a new lifetime. For a scheduled job, before the record expires.",
)
_rewrite("hold", "Put a channel on hold. No automation moves it until it is released.")
_rewrite("release", "Lift the hold of a channel.")


def _maker(verb: str, channel: Channel, why: Any) -> Make:
    from ocistate.channel.change import held, refreshed, released
    from ocistate.ops.channel.reader import no_channel

    change = {"refresh": refreshed, "hold": held, "release": released}[verb]

    def make(newest: Trusted | None) -> Record | None:
        if newest is None:
            raise no_channel(channel.repository, channel.name)
        made: Record | None = change(newest, why)
        return made

    return make


def _written(written: Trusted, output: str) -> None:
    record = written.record
    note(f"{record}" + (", on hold" if record.hold else "") + f", signed by {written.signer}.")
    if output == "name":
        result(str(record))
    else:
        emit(record_row(record, written.digest, written.signer), output)


for _command in (list_command, show_command, verify_command):
    channel_command.add_command(_command)
