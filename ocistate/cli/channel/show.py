"""``ocistate channel list|show|verify``: read channels and verify their records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    channel_argument,
    channel_read_options,
    channel_trust_options,
)
from ocistate.cli.channel.records import record_row
from ocistate.cli.common.options import REPOSITORY, run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.concurrency import each
from ocistate.errors import ChannelError, ChannelFork, OcistateError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.trust import Trusted
    from ocistate.oci.store import Store


@click.command("list")
@click.argument("reference", type=REPOSITORY, metavar="REPO")
@channel_trust_options
@store_options
@output_option("table", "json", "yaml", "name")
def list_command(
    reference: Reference,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """List a repository's channels, and what each of them pins now."""
    rows = run_async(_list(connect(reference), reference, trust))
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
    store: Store, reference: Reference, trust: ChannelTrustOptions
) -> list[dict[str, Any]]:
    from ocistate.ops.channel.reader import channels_in

    async with store:
        names = channels_in(await store.tags())
        if names and not trust.is_given:
            trust.channel(names[0], reference, required=False)  # warns, once
        return await each(names, lambda name: _row(store, reference, name, trust), at_once=8)


async def _row(
    store: Store,
    reference: Reference,
    name: str,
    trust: ChannelTrustOptions,
) -> dict[str, Any]:
    from ocistate.channel.record import show_number
    from ocistate.channel.trust import check_policy, check_time
    from ocistate.ops.channel.reader import read_newest, repository_of
    from ocistate.ops.channel.releases import find_record

    signer, state = "", "not verified"
    try:
        channel = trust.channel(name, reference, required=False)
        if trust.is_given:
            trusted = await read_newest(store, channel)
            record, digest, signer = trusted.record, trusted.digest, trusted.signer
            state = "on hold" if record.hold else "verified"
            if record.rollout is not None:
                state += f", in rings: {record.rollout}"
            try:
                check_policy(record, channel.trust)
                check_time(record, datetime.now(UTC))
            except ChannelError as error:
                state = error.reason
        else:
            record, digest = await find_record(store, channel), ""
    except OcistateError as error:
        return {"channel": name, "state": error.reason, "problem": str(error)}
    here = repository_of(reference)
    made = record.artifacts.get(here)
    return {
        **record_row(record, digest, signer),
        "number": show_number(*record.number),
        "digest": record.subjects.get(here, ""),
        "revision": made.revision if made else "",
        "state": state,
        "problem": "",
    }


@click.command("show")
@channel_argument
@channel_read_options
@output_option("table", "json", "yaml", "name")
def show_command(
    reference: Reference,
    name: str,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """Verify a channel's newest record and show it.

    Also shows whether clusters may follow it now.
    """
    from ocistate.channel.record import show_number
    from ocistate.channel.trust import check_policy, check_time
    from ocistate.ops.channel.reader import read_newest

    channel = trust.channel(name, reference)

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
            ("Rollout", str(record.rollout or "")),
            ("Reason", record.reason),
            ("From", record.source),
            ("Problem", problem),
        ):
            if value:
                result(f"{label + ':':<11} {value}")
        for subject in row["subjects"]:
            result(f"{subject['repository']}@{subject['digest']}  {subject['revision']}".rstrip())


@click.command("verify")
@channel_argument
@channel_trust_options
@store_options
@output_option("name", "json", "yaml")
def verify_command(
    reference: Reference,
    name: str,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """Verify a channel and its whole history.

    Checks the newest record, those before it, and every numbered tag. Prints the REPOSITORY@DIGEST
    that the channel pins. Exit codes: 70 to 76, see docs/cli.md.
    """
    from ocistate.channel.trust import check_policy, check_time
    from ocistate.ops.channel.history import read_history
    from ocistate.ops.channel.reader import read_newest

    channel = trust.channel(name, reference)

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
            f"{len(history.forks)} of the numbered tags do not hold the record of the history",
            hint="tags were overwritten; the signed links between records are the history",
        )
    if problems:
        raise ChannelError(
            f"{len(problems)} of {len(history.links)} records could not be verified",
            hint="the notes above name them; check the channel's keys in the policy",
        )
    note(
        f"Verified: {len(history.links)} records in one history, the newest signed by "
        f"{trusted.signer}."
    )
    if output == "name":
        from ocistate.ops.channel.reader import repository_of

        result(str(reference.with_digest(record.digest_of(repository_of(reference)))))
