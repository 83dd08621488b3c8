"""``ocistate channel``: begin, look at, prove, refresh, hold and release channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel_options import (
    channel_for,
    channel_trust_options,
    why_of,
    writer_options,
)
from ocistate.cli.keys import load_signer_for
from ocistate.cli.options import REFERENCE, required_target, run_async, store_options
from ocistate.cli.output import emit, note, output_option, result, table
from ocistate.errors import ChannelError, ChannelFork, Conflict, OcistateError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.record import Record, Trusted
    from ocistate.oci.store import Store
    from ocistate.steps.channels import Channel, Make

Connect = Callable[[Reference], "Store"]


@click.group("channel")
def channel_command() -> None:
    """Channels: signed, numbered pointers from an environment's name to digests."""


def record_row(record: Record, digest: str, signer: str) -> dict[str, Any]:
    """A record as the plain values that ``-o json`` prints."""
    from ocistate.channel.record import show_time

    return {
        "channel": record.channel,
        "repository": record.repository,
        "epoch": record.epoch,
        "sequence": record.sequence,
        "record": digest,
        "previous": record.previous,
        "issuedAt": show_time(record.issued_at),
        "expires": show_time(record.expires) if record.expires else "",
        "hold": record.hold,
        "reason": record.reason,
        "source": record.source,
        "actor": record.actor,
        "signer": signer,
        "subjects": [
            {
                "repository": place,
                "digest": pinned,
                "source": record.artifacts[place].source if place in record.artifacts else "",
                "revision": record.artifacts[place].revision if place in record.artifacts else "",
            }
            for place, pinned in sorted(record.subjects.items())
        ],
    }


@channel_command.command("init")
@click.argument("reference", type=REFERENCE, metavar="REPO:TAG|REPO@DIGEST")
@click.argument("name", metavar="CHANNEL")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin the policy's epoch over a channel that a lost or stolen key left behind.",
)
@writer_options
@channel_trust_options
@store_options
@output_option("name", "json", "yaml")
def init_command(
    reference: Reference,
    name: str,
    restart: bool,
    key: str,
    reason: str,
    expires: str | None,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Connect,
    output: str,
) -> None:
    """Begin a channel at an artifact: its first record.

    With --restart its first record in the policy's epoch, whatever the channel's name holds now.
    """
    from ocistate.channel.change import begun
    from ocistate.cli.channel_options import read_policies
    from ocistate.steps.channels import Writer, place_of
    from ocistate.steps.releases import find_candidate, pins_of

    required_target(reference, "channel init")
    signer = load_signer_for(key)
    channel = channel_for(name, reference, policy=policy, channel_keys=channel_keys, signer=signer)
    why = why_of(reason or "the channel begins", expires)

    async def begin() -> Trusted:
        found = await find_candidate(connect, reference, read_policies(policy))
        note(f"{reference.with_digest(found.digest)}: {found.trust}")
        draft = begun(name, place_of(reference), pins_of([found]), why)

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
    """A verb that writes the same digests again, with something else about them changed."""

    @channel_command.command(verb, help=text)
    @click.argument("reference", type=REFERENCE, metavar="REPO")
    @click.argument("name", metavar="CHANNEL")
    @writer_options
    @channel_trust_options
    @store_options
    @output_option("name", "json", "yaml")
    def command(
        reference: Reference,
        name: str,
        key: str,
        reason: str,
        expires: str | None,
        policy: str | None,
        channel_keys: tuple[str, ...],
        connect: Connect,
        output: str,
    ) -> None:
        from ocistate.steps.channels import Writer

        signer = load_signer_for(key)
        channel = channel_for(
            name, reference, policy=policy, channel_keys=channel_keys, signer=signer
        )
        make = _maker(verb, channel, why_of(reason or verb, expires))

        async def write() -> Trusted:
            async with connect(reference) as store:
                return await Writer(store=store, channel=channel, signer=signer).write(make)

        _written(run_async(write()), output)

    return command


_rewrite(
    "refresh",
    "Write the same again, valid anew: for a scheduled job, before the record expires.",
)
_rewrite("hold", "Put a channel on hold: nothing automatic moves it until it is released.")
_rewrite("release", "Lift the hold of a channel.")


def _maker(verb: str, channel: Channel, why: Any) -> Make:
    from ocistate.channel.change import held, refreshed, released
    from ocistate.errors import NotFound

    change = {"refresh": refreshed, "hold": held, "release": released}[verb]

    def make(newest: Trusted | None) -> Record | None:
        if newest is None:
            raise NotFound(
                f"{channel.repository} has no channel {channel.name}",
                hint="'ocistate channel init' begins one",
            )
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


@channel_command.command("list")
@click.argument("reference", type=REFERENCE, metavar="REPO")
@channel_trust_options
@store_options
@output_option("table", "json", "yaml", "name")
def list_command(
    reference: Reference,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Connect,
    output: str,
) -> None:
    """List a repository's channels, and what each of them pins now."""
    rows = run_async(_list(connect(reference), reference, policy, channel_keys))
    if output in ("json", "yaml"):
        emit(rows, output)
    elif output == "name":
        for row in rows:
            result(row["channel"])
    elif not rows:
        note(f"{reference.base} has no channels.")
    else:
        table(
            ("channel", "number", "digest", "revision", "since", "state"),
            [
                (
                    row["channel"],
                    row.get("number", ""),
                    row.get("digest", "")[:19],
                    row.get("revision", ""),
                    row.get("issuedAt", ""),
                    row["state"],
                )
                for row in rows
            ],
        )


async def _list(
    store: Store, reference: Reference, policy: str | None, channel_keys: tuple[str, ...]
) -> list[dict[str, Any]]:
    from ocistate.steps.channels import channels_in

    async with store:
        names = channels_in(await store.tags())
        verified = bool(policy or channel_keys)
        if names and not verified:
            channel_for(names[0], reference, policy=None, channel_keys=(), required=False)
        gate = asyncio.Semaphore(8)

        async def one(name: str) -> dict[str, Any]:
            async with gate:
                return await _row(store, reference, name, policy, channel_keys)

        return list(await asyncio.gather(*(one(name) for name in names)))


async def _row(
    store: Store,
    reference: Reference,
    name: str,
    policy: str | None,
    channel_keys: tuple[str, ...],
) -> dict[str, Any]:
    from ocistate.channel.record import check_policy, check_time, show_number
    from ocistate.steps.channels import place_of, read_newest
    from ocistate.steps.releases import find_record

    signer, state = "", "not verified"
    try:
        if policy or channel_keys:
            channel = channel_for(
                name, reference, policy=policy, channel_keys=channel_keys, required=True
            )
            trusted = await read_newest(store, channel)
            record, digest, signer = trusted.record, trusted.digest, trusted.signer
            state = "on hold" if record.hold else "verified"
            try:
                check_policy(record, channel.trust)
                check_time(record, datetime.now(UTC))
            except ChannelError as error:
                state = error.reason
        else:
            from ocistate.channel.record import ChannelTrust
            from ocistate.steps.channels import Channel

            channel = Channel(
                name=name, repository=place_of(reference), trust=ChannelTrust(keys=())
            )
            record, digest = await find_record(store, channel), ""
    except OcistateError as error:
        return {"channel": name, "state": error.reason, "problem": str(error)}
    here = place_of(reference)
    made = record.artifacts.get(here)
    return {
        **record_row(record, digest, signer),
        "number": show_number(*record.number),
        "digest": record.subjects.get(here, ""),
        "revision": made.revision if made else "",
        "state": state,
        "problem": "",
    }


@channel_command.command("show")
@click.argument("reference", type=REFERENCE, metavar="REPO")
@click.argument("name", metavar="CHANNEL")
@channel_trust_options
@store_options
@output_option("table", "json", "yaml", "name")
def show_command(
    reference: Reference,
    name: str,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Connect,
    output: str,
) -> None:
    """Show a channel's newest record, verified, and whether it may be followed now."""
    from ocistate.channel.record import check_policy, check_time, show_number
    from ocistate.steps.channels import read_newest

    channel = channel_for(name, reference, policy=policy, channel_keys=channel_keys)

    async def read() -> Trusted:
        async with connect(reference) as store:
            return await read_newest(store, channel)

    trusted = run_async(read())
    record, problem = trusted.record, ""
    try:
        check_policy(record, channel.trust)
        check_time(record, datetime.now(UTC))
    except ChannelError as error:
        problem = str(error)
    row = {**record_row(record, trusted.digest, trusted.signer), "problem": problem}
    if output in ("json", "yaml"):
        emit(row, output)
    elif output == "name":
        result(str(record))
    else:
        for label, value in (
            ("Channel", f"{record.channel} of {record.repository}"),
            ("Number", show_number(*record.number)),
            ("Record", trusted.digest),
            ("Signed by", trusted.signer),
            ("Asked by", record.actor),
            ("Since", row["issuedAt"]),
            ("Expires", row["expires"] or "never"),
            ("Hold", "yes" if record.hold else "no"),
            ("Reason", record.reason),
            ("From", record.source),
            ("Problem", problem),
        ):
            if value:
                result(f"{label + ':':<11} {value}")
        for subject in row["subjects"]:
            result(f"{subject['repository']}@{subject['digest']}  {subject['revision']}".rstrip())


@channel_command.command("verify")
@click.argument("reference", type=REFERENCE, metavar="REPO")
@click.argument("name", metavar="CHANNEL")
@channel_trust_options
@store_options
@output_option("name", "json", "yaml")
def verify_command(
    reference: Reference,
    name: str,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Connect,
    output: str,
) -> None:
    """Prove a channel: its newest record, the whole line behind it, and every numbered tag.

    Prints the REPOSITORY@DIGEST it pins. Exit codes: 70 to 76, as docs/cli.md tells.
    """
    from ocistate.channel.record import check_policy, check_time
    from ocistate.steps.channels import read_newest
    from ocistate.steps.history import read_history

    channel = channel_for(name, reference, policy=policy, channel_keys=channel_keys)

    async def prove() -> tuple[Trusted, Any]:
        async with connect(reference) as store:
            trusted = await read_newest(store, channel)
            check_policy(trusted.record, channel.trust)
            check_time(trusted.record, datetime.now(UTC))
            return trusted, await read_history(store, channel, all_tags=True)

    trusted, history = run_async(prove())
    record = trusted.record
    problems = [f"{link.record}: {link.problem}" for link in history.links if link.problem]
    problems += [history.broken] if history.broken else []
    facts = {
        **record_row(record, trusted.digest, trusted.signer),
        "records": len(history.links),
        "forks": [str(fork) for fork in history.forks],
        "problems": problems,
    }
    if output != "name":
        emit(facts, output)
    for problem in (*facts["forks"], *problems):
        note(f"✗ {problem}")
    if history.forks:
        raise ChannelFork(
            f"{len(history.forks)} of the numbered tags do not hold what the line has",
            hint="someone wrote over tags; the line itself is what its signed links say",
        )
    if problems:
        raise ChannelError(f"{len(problems)} of {len(history.links)} records are not proven")
    note(
        f"Verified: {len(history.links)} records in one line, the newest signed by "
        f"{trusted.signer}."
    )
    if output == "name":
        from ocistate.steps.channels import place_of

        result(str(reference.with_digest(record.digest_of(place_of(reference)))))
