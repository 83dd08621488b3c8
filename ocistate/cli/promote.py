"""``ocistate promote`` and ``ocistate rollback``: move a channel, after showing what changes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel_options import (
    channel_for,
    channel_trust_options,
    read_policies,
    why_of,
    writer_options,
)
from ocistate.cli.differences import difference_rows, print_differences, summary_of
from ocistate.cli.keys import load_signer_for
from ocistate.cli.options import REFERENCE, run_async, store_options
from ocistate.cli.output import emit, note, output_option, result, warn
from ocistate.errors import ConfigError, NotFound, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.record import Record
    from ocistate.channel.trust import Trusted
    from ocistate.oci.store import Store
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy import TrustPolicy
    from ocistate.steps.channels import Channel, Make, Writer
    from ocistate.steps.compare import ObjectDiff
    from ocistate.steps.releases import Candidate

Connect = Callable[[Reference], "Store"]

_move_options = [
    click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where nobody can be asked."),
    click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing."),
]


def move_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--yes`` and ``--dry-run``."""
    for option in reversed(_move_options):
        command = option(command)
    return command


@click.command("promote")
@click.argument("reference", type=REFERENCE, metavar="REPO[:TAG|@DIGEST]")
@click.option("--to", "to", required=True, metavar="CHANNEL", help="The channel to move.")
@click.option("--from", "from_", metavar="CHANNEL", help="Take what this channel pins.")
@click.option("--digest", metavar="DIGEST", help="Take this digest.")
@click.option("--tag", metavar="TAG", help="Take what this tag names.")
@click.option(
    "--with",
    "others",
    type=REFERENCE,
    multiple=True,
    metavar="REF",
    help="Another repository's artifact, moved in the same record; repeatable.",
)
@click.option(
    "--drop", multiple=True, metavar="REPO", help="Take a repository out of the set; repeatable."
)
@click.option(
    "--rings",
    metavar="SPEC|FILE",
    help="Roll it out ring by ring: canary=5%/10m,early=25%/1h,all=100%, or a file with rings.",
)
@click.option("--release", is_flag=True, help="Move it though it is on hold, and lift the hold.")
@click.option(
    "--artifact-key",
    "artifact_keys",
    multiple=True,
    metavar="KEY",
    help="A public key that must have signed the artifact; repeatable; or by --policy.",
)
@writer_options
@channel_trust_options
@move_options
@store_options
@output_option("table", "json", "yaml", "name")
def promote_command(
    reference: Reference,
    to: str,
    from_: str | None,
    digest: str | None,
    tag: str | None,
    others: tuple[Reference, ...],
    drop: tuple[str, ...],
    rings: str | None,
    release: bool,
    artifact_keys: tuple[str, ...],
    key: str,
    reason: str,
    expires: str | None,
    policy: str | None,
    channel_keys: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    connect: Connect,
    output: str,
) -> None:
    """Move a channel to an artifact: one signed record that every cluster follows.

    The artifact must be signed as --policy or --artifact-key ask. What changes in the objects is
    shown first, and confirmed on a terminal. A channel that holds it already is left as it is.
    """
    from ocistate.channel.change import promoted
    from ocistate.cli.rollout import read_rings
    from ocistate.steps.releases import pins_of

    given = [reference.target, from_, digest, tag]
    if sum(value is not None for value in given) != 1:
        raise UsageError(
            "what to promote must be said once",
            hint="give one of --from CHANNEL, --digest, --tag, or write REPO:TAG",
        )
    signer = load_signer_for(key)
    channel = channel_for(to, reference, policy=policy, channel_keys=channel_keys, signer=signer)
    trust = _artifact_trust(policy, artifact_keys)
    if not trust:
        warn("the artifact's signature is not checked; give --policy or --artifact-key")
    _refuse_artifact_key(signer, trust)
    dropped = frozenset(drop)
    wanted = read_rings(rings)

    async def move() -> Moved:
        async with contextlib.AsyncExitStack() as opened:
            store = await opened.enter_async_context(connect(reference))
            writer = _writer(store, channel, signer)
            newest = await _newest(writer)
            if from_ is not None:
                source = channel_for(
                    from_, reference, policy=policy, channel_keys=channel_keys, signer=signer
                )
                candidates, origin = await _pinned(connect, store, source, trust)
            else:
                named = reference
                if digest or tag:
                    base = reference.base
                    named = base.with_digest(digest) if digest else base.with_tag(tag or "")
                candidates, origin = [await _find(connect, named, trust)], tag or named.tag or ""
            candidates += [await _find(connect, other, trust) for other in others]
            _check_set(newest.record, [found.place for found in candidates], dropped)
            pins, why = pins_of(candidates), why_of(reason, expires, source=origin)
            return await _move(
                connect,
                writer,
                newest,
                lambda old: promoted(
                    _known(old), pins, why, drop=dropped, release=release, rings=wanted
                ),
                yes=yes,
                dry_run=dry_run,
                output=output,
            )

    _report(run_async(move()), reference, output)


@click.command("rollback")
@click.argument("reference", type=REFERENCE, metavar="REPO")
@click.argument("channel_name", metavar="CHANNEL")
@click.option("--to", "to", metavar="SEQUENCE|DIGEST", help="The release; else the one before.")
@writer_options
@channel_trust_options
@move_options
@store_options
@output_option("table", "json", "yaml", "name")
def rollback_command(
    reference: Reference,
    channel_name: str,
    to: str | None,
    key: str,
    reason: str,
    expires: str | None,
    policy: str | None,
    channel_keys: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    connect: Connect,
    output: str,
) -> None:
    """Move a channel back to an earlier release, and put it on hold.

    Nothing automatic moves it forward again until someone lifts the hold: 'ocistate channel
    release', or 'ocistate promote --release'.
    """
    from ocistate.channel.change import rolled_back

    signer = load_signer_for(key)
    channel = channel_for(
        channel_name, reference, policy=policy, channel_keys=channel_keys, signer=signer
    )

    async def move() -> Moved:
        async with connect(reference) as store:
            writer = _writer(store, channel, signer)
            newest = await _newest(writer)
            target = await _release_before(store, channel, newest, to)
            why = why_of(reason, expires, source=str(target))
            return await _move(
                connect,
                writer,
                newest,
                lambda old: rolled_back(_known(old), target, why),
                yes=yes,
                dry_run=dry_run,
                output=output,
            )

    _report(run_async(move()), reference, output)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What became of a move: the record there was, the one there is or would be."""

    before: Trusted
    after: Record
    digest: str
    signer: str
    changes: Mapping[str, tuple[ObjectDiff, ...]]
    dry_run: bool


async def _newest(writer: Writer) -> Trusted:
    newest = await writer.newest()
    if newest is None:
        raise NotFound(
            f"{writer.store.reference} has no channel {writer.channel.name}",
            hint=f"begin it: 'ocistate channel init {writer.store.reference}:TAG "
            f"{writer.channel.name} --key …'",
        )
    return newest


async def _release_before(
    store: Store, channel: Channel, newest: Trusted, to: str | None
) -> Record:
    from ocistate.channel.history import find_previous
    from ocistate.steps.history import read_history
    from ocistate.steps.releases import find_record

    if to is not None:
        return await find_record(store, channel, to)
    if newest.record.hold:
        raise ConfigError(
            f"{newest.record} is on hold, so it was moved back already: {newest.record.reason}",
            hint="say where to go: --to SEQUENCE or --to DIGEST",
        )
    found = find_previous((await read_history(store, channel)).links)
    if found is None:
        raise NotFound(f"{newest.record} is the first release of {channel.name}")
    return await find_record(store, channel, found.digest)


async def _find(connect: Connect, reference: Reference, trust: Sequence[TrustPolicy]) -> Candidate:
    from ocistate.steps.releases import find_candidate

    if reference.target is None:
        raise UsageError(f"{reference} names no tag and no digest", hint=f"write {reference}:TAG")
    found = await find_candidate(connect, reference, trust)
    note(f"{reference.with_digest(found.digest)}: {found.trust}")
    return found


async def _pinned(
    connect: Connect, store: Store, source: Channel, trust: Sequence[TrustPolicy]
) -> tuple[list[Candidate], str]:
    """What another channel pins, if its record may be followed now."""
    from datetime import UTC, datetime

    from ocistate.channel.trust import check_policy, check_time
    from ocistate.steps.channels import read_newest
    from ocistate.steps.releases import reference_of

    record = (await read_newest(store, source)).record
    check_policy(record, source.trust)
    check_time(record, datetime.now(UTC))
    if record.rollout is not None:
        raise ConfigError(
            f"{record} is being rolled out still: {record.rollout}",
            hint="wait until its rollout has ended, or name what to take: --digest",
        )
    found = [
        await _find(connect, reference_of(place).with_digest(digest), trust)
        for place, digest in record.subjects.items()
    ]
    return found, str(record)


def _check_set(last: Record, places: list[str], dropped: frozenset[str]) -> None:
    """That each repository is named once, and to one end."""
    if len(set(places)) < len(places):
        raise UsageError(
            "a repository is to be moved to two artifacts", hint="name each repository once"
        )
    if both := dropped & set(places):
        raise UsageError(f"{min(both)} is to be moved and dropped", hint="leave one of them out")
    if strange := dropped - last.subjects.keys():
        raise UsageError(
            f"{last} says nothing of {min(strange)}",
            hint=f"it pins {', '.join(sorted(last.subjects))}",
        )


def _writer(store: Store, channel: Channel, signer: Signer) -> Writer:
    from ocistate.steps.channels import Writer

    return Writer(store=store, channel=channel, signer=signer)


def _refuse_artifact_key(signer: Signer, trust: Sequence[TrustPolicy]) -> None:
    """A key that vouches for artifacts moves no channel: who steals one must not have both."""
    mine = signer.public_key.fingerprint
    if any(mine == trusted.key.fingerprint for policy in trust for trusted in policy.keys):
        raise UsageError(
            "the key signs artifacts, and a channel needs a key of its own",
            hint="make one with 'ocistate keygen', and name it in the policy's channelKeys",
        )


def _known(newest: Trusted | None) -> Trusted:
    if newest is None:
        raise NotFound("the channel went away meanwhile")
    return newest


def _artifact_trust(policy: str | None, keys: tuple[str, ...]) -> tuple[TrustPolicy, ...]:
    if policy is not None and keys:
        raise UsageError("--policy and --artifact-key exclude each other")
    if not keys:
        return read_policies(policy)
    from ocistate.cli.options import policies_of

    return policies_of(keys, None)


async def _move(
    connect: Connect,
    writer: Writer,
    newest: Trusted,
    make: Make,
    *,
    yes: bool,
    dry_run: bool,
    output: str,
) -> Moved:
    """Show what changes, ask, and write; on top of later records too, unless a person decided."""
    from ocistate.channel.change import succeed

    draft = make(newest)
    if draft is None:
        return Moved(
            before=newest,
            after=newest.record,
            digest=newest.digest,
            signer=newest.signer,
            changes={},
            dry_run=dry_run,
        )
    after = succeed(newest, draft, epoch=writer.channel.trust.epoch)
    changes = await _compare(connect, newest.record, after)
    _show(newest.record, after, changes)
    asked = not yes and not dry_run
    if asked:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here", hint="add --yes, or --dry-run to look")
        click.confirm(f"Move {after.channel} to {after}?", abort=True, err=True)
    if dry_run:
        return Moved(
            before=newest, after=after, digest="", signer="", changes=changes, dry_run=True
        )
    written = await writer.write(make, base=newest.digest if asked else "")
    return Moved(
        before=newest,
        after=written.record,
        digest=written.digest,
        signer=written.signer,
        changes=changes,
        dry_run=False,
    )


async def _compare(
    connect: Connect, before: Record, after: Record
) -> dict[str, tuple[ObjectDiff, ...]]:
    """What changes in the objects, by repository."""
    from ocistate.steps.compare import compare, open_side
    from ocistate.steps.releases import reference_of

    changes: dict[str, tuple[ObjectDiff, ...]] = {}
    for place, digest in after.subjects.items():
        old = before.subjects.get(place)
        if old is None or old == digest:
            continue
        async with connect(reference_of(place)) as store:
            try:
                left = await open_side(store, old)
            except NotFound:
                warn(f"{place}@{old} is not there any more: what changes cannot be shown")
                continue
            changes[place] = await compare(left, await open_side(store, digest))
    return changes


def _show(before: Record, after: Record, changes: Mapping[str, tuple[ObjectDiff, ...]]) -> None:
    note(f"{before} → {after}" + (", on hold" if after.hold else ""))
    if after.rollout is not None:
        note(f"in rings: {after.rollout} now has it; the others stay as they are")
    for place in sorted({*before.subjects, *after.subjects}):
        old, new = before.subjects.get(place, "nothing"), after.subjects.get(place, "nothing")
        if old == new:
            note(f"{place}: stays at {new}")
            continue
        note(f"{place}: {old} → {new}")
        if place in changes:
            note(f"  {summary_of(changes[place])}")
            print_differences(changes[place], err=True)


def _report(moved: Moved, reference: Reference, output: str) -> None:
    after = moved.after
    unchanged = moved.digest == moved.before.digest
    if unchanged:
        note(f"{after} is that already; nothing was written.")
    elif moved.dry_run:
        note("Dry run: nothing was written.")
    else:
        note(f"{after.channel} is now at {after}, signed by {moved.signer}.")
    if output in ("json", "yaml"):
        from ocistate.cli.records import record_row

        emit(
            {
                **record_row(after, moved.digest, moved.signer),
                "before": str(moved.before.record),
                "unchanged": unchanged,
                "dryRun": moved.dry_run,
                "changes": [
                    {
                        "repository": place,
                        "before": moved.before.record.subjects.get(place, ""),
                        "after": after.subjects.get(place, ""),
                        "resources": difference_rows(moved.changes.get(place, ())),
                    }
                    for place in sorted({*moved.before.record.subjects, *after.subjects})
                    if moved.before.record.subjects.get(place) != after.subjects.get(place)
                ],
            },
            output,
        )
    else:
        result(str(after))
