"""``ocistate bisect``: find the first bad release of a channel by running a command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    channel_read_options,
    read_channel,
)
from ocistate.cli.common.options import REPOSITORY, run_async
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.bisect import BisectStep, ReleaseVerdict
    from ocistate.channel.history import Link
    from ocistate.oci.store import Store

_SKIP: Final = 125
_NO_VERDICT: Final = 128


@click.command("bisect", context_settings={"ignore_unknown_options": True})
@click.argument("reference", type=REPOSITORY, metavar="REPO")
@click.argument("channel", metavar="CHANNEL")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND…")
@click.option("--good", required=True, metavar="NUMBER", help="A release that was good.")
@click.option("--bad", metavar="NUMBER", help="A later one that is bad; the newest by default.")
@channel_read_options
@output_option("table", "json", "yaml", "name")
def bisect_command(
    reference: Reference,
    channel: str,
    command: tuple[str, ...],
    good: str,
    bad: str | None,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """Find the first bad release between a good and a bad one, by binary search.

    COMMAND is run for one release after another, with the artifact's reference in place of {} and
    in $OCISTATE_REFERENCE. As for 'git bisect run', its exit code is the verdict: 0 good, 125
    skip, 1 to 127 bad; any other ends the search.
    """
    links = run_async(_links(connect(reference), reference, channel, trust))
    begin, end = _place(links, good), _place(links, bad) if bad else len(links) - 1
    if begin >= end:
        raise UsageError(
            f"{links[begin].record} is not before {links[end].record}",
            hint="--good names the earlier one; 'ocistate history' shows the order",
        )
    step, tried = _search(reference, links, begin, end, command)
    facts: dict[str, Any] = {
        "firstBad": str(links[step.first_bad].record),
        "digest": _digest(reference, links[step.first_bad]),
        "suspects": [str(links[place].record) for place in step.suspects],
        "tried": tried,
    }
    if output in ("json", "yaml"):
        emit(facts, output)
    elif output == "name":
        result(facts["firstBad"])
    else:
        record = links[step.first_bad].record
        result(f"{record} is the first bad release: {facts['digest']}")
        if record.reason:
            result(f"    {record.reason.partition(chr(10))[0]}")
        for suspect in facts["suspects"]:
            result(f"{suspect} may be it too: it was skipped")
    before = links[step.first_bad - 1].record
    note(f"What it changed: ocistate diff {reference.base} {before} {links[step.first_bad].record}")


async def _links(
    store: Store, reference: Reference, channel: str, trust: ChannelTrustOptions
) -> list[Link]:
    """The channel's links, the oldest first."""
    async with store:
        _, history = await read_channel(store, reference, channel, trust)
        return list(reversed(history.links))


def _place(links: Sequence[Link], number: str) -> int:
    from ocistate.channel.record import show_number

    wanted = number.rpartition("@")[2]
    for place, link in enumerate(links):
        if show_number(*link.record.number) == wanted:
            return place
    raise UsageError(
        f"there is no release {number}", hint="'ocistate history' shows the releases there are"
    )


def _search(
    reference: Reference, links: Sequence[Link], begin: int, end: int, command: Sequence[str]
) -> tuple[BisectStep, list[dict[str, Any]]]:
    from ocistate.channel.bisect import next_step

    verdicts: dict[int, ReleaseVerdict] = {}
    # The same artifact again is as it was: a rollback need not be tested.
    known: dict[str, ReleaseVerdict] = {
        _digest(reference, links[begin]): "good",
        _digest(reference, links[end]): "bad",
    }
    tried = []
    while (step := next_step(begin, end, verdicts)).test is not None:
        place = step.test
        link = links[place]
        digest = _digest(reference, link)
        if digest and digest not in known:
            note(f"{link.record}: testing {digest[:19]}, {step.left} left")
            known[digest] = _run(command, str(reference.base.with_digest(digest)), str(link.record))
            tried.append({"release": str(link.record), "digest": digest, "verdict": known[digest]})
        verdicts[place] = known[digest] if digest else "skip"
        note(f"{link.record} is {verdicts[place]}")
    return step, tried


def _run(command: Sequence[str], reference: str, release: str) -> ReleaseVerdict:
    words = [word.replace("{}", reference) for word in command]
    environ = {**os.environ, "OCISTATE_REFERENCE": reference, "OCISTATE_RELEASE": release}
    try:
        # Its output is shown on stderr: standard output is for the result.
        code = subprocess.run(words, env=environ, stdout=2).returncode
    except OSError as error:
        raise UsageError(
            f"{words[0]} cannot be run: {error.strerror}", hint="write the command after '--'"
        ) from None
    if code < 0 or code >= _NO_VERDICT:
        raise UsageError(
            f"{words[0]} ended with {code}, which is no verdict on {release}",
            hint="0 says good, 125 skip, 1 to 127 bad",
        )
    return "good" if code == 0 else "skip" if code == _SKIP else "bad"


def _digest(reference: Reference, link: Link) -> str:
    from ocistate.ops.channel.reader import repository_of

    return link.record.subjects.get(repository_of(reference.base), "")
