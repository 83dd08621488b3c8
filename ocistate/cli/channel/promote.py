"""``ocistate promote``: move a channel to an artifact."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from ocistate.cli.channel.moving import Consent, Moved, consent_options, move, newest_of, report
from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    ChosenArtifact,
    Writing,
    channel_trust_options,
    check_unsigned,
    choice_options,
    unsigned_option,
    writer_options,
)
from ocistate.cli.common.options import (
    REFERENCE,
    OpenRepository,
    policies_of,
    run_async,
    store_options,
)
from ocistate.cli.common.output import note, output_option, warn
from ocistate.errors import ConfigError, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.record import Record
    from ocistate.oci.store import Store
    from ocistate.ops.channel.reader import Channel
    from ocistate.ops.channel.releases import Candidate
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy.model import TrustPolicy


@click.command("promote")
@choice_options("promote")
@click.option("--to", "to", required=True, metavar="CHANNEL", help="The channel to move.")
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
@unsigned_option
@writer_options
@channel_trust_options
@consent_options
@store_options
@output_option("table", "json", "yaml", "name")
def promote_command(
    choice: ChosenArtifact,
    to: str,
    others: tuple[Reference, ...],
    drop: tuple[str, ...],
    rings: str | None,
    release: bool,
    artifact_keys: tuple[str, ...],
    allow_unsigned: bool,
    writing: Writing,
    trust: ChannelTrustOptions,
    consent: Consent,
    connect: OpenRepository,
    output: str,
) -> None:
    """Move a channel to an artifact: one signed record that every cluster follows.

    The artifact must be signed as --policy or --artifact-key ask; without them by somebody at all.
    What changes in the objects is shown first, and confirmed on a terminal. A channel that holds it
    already is left as it is.
    """
    from ocistate.channel.change import promoted
    from ocistate.cli.channel.rollout import read_rings
    from ocistate.ops.channel.releases import pins_of
    from ocistate.ops.channel.writer import Writer

    reference = choice.reference
    signer = writing.signer()
    channel = trust.channel(to, reference, signer=signer)
    policies = _artifact_policies(trust, artifact_keys)
    if not policies:
        warn("it is not checked who signed the artifact; give --policy or --artifact-key")
    check_unsigned(allow_unsigned, policies)
    _refuse_artifact_key(signer, policies)
    dropped = frozenset(drop)
    wanted = read_rings(rings)

    async def find(reference: Reference) -> Candidate:
        return await _find(connect, reference, policies, allow_unsigned=allow_unsigned)

    async def forward() -> Moved:
        async with connect(reference) as store:
            writer = Writer(store=store, channel=channel, signer=signer)
            newest = await newest_of(writer)
            if choice.channel is not None:
                source = trust.channel(choice.channel, reference, signer=signer)
                candidates, origin = await _pinned(find, store, source)
            else:
                candidates, origin = [await find(reference)], choice.tag
            candidates += [await find(other) for other in others]
            _check_set(newest.record, [found.place for found in candidates], dropped)
            pins, why = pins_of(candidates), writing.why(source=origin)
            return await move(
                connect,
                writer,
                newest,
                lambda old: promoted(old, pins, why, drop=dropped, release=release, rings=wanted),
                consent,
            )

    report(run_async(forward()), output)


async def _find(
    connect: OpenRepository,
    reference: Reference,
    policies: Sequence[TrustPolicy],
    *,
    allow_unsigned: bool,
) -> Candidate:
    from ocistate.ops.channel.releases import find_candidate

    if reference.target is None:
        raise UsageError(f"{reference} names no tag and no digest", hint=f"write {reference}:TAG")
    found = await find_candidate(connect, reference, policies, allow_unsigned=allow_unsigned)
    note(f"{reference.with_digest(found.digest)}: {found.trust}")
    return found


async def _pinned(
    find: Callable[[Reference], Awaitable[Candidate]], store: Store, source: Channel
) -> tuple[list[Candidate], str]:
    """What another channel pins, if its record may be followed now."""
    from datetime import UTC, datetime

    from ocistate.channel.trust import check_policy, check_time
    from ocistate.ops.channel.reader import read_newest
    from ocistate.ops.channel.releases import reference_of

    record = (await read_newest(store, source)).record
    check_policy(record, source.trust)
    check_time(record, datetime.now(UTC))
    if record.rollout is not None:
        raise ConfigError(
            f"{record} is being rolled out still: {record.rollout}",
            hint="wait until its rollout has ended, or name what to take: --digest",
        )
    found = [
        await find(reference_of(place).with_digest(digest))
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


def _refuse_artifact_key(signer: Signer, policies: Sequence[TrustPolicy]) -> None:
    """A key that vouches for artifacts moves no channel: who steals one must not have both."""
    mine = signer.public_key.fingerprint
    if any(mine == trusted.key.fingerprint for policy in policies for trusted in policy.keys):
        raise UsageError(
            "the key signs artifacts, and a channel needs a key of its own",
            hint="make one with 'ocistate keygen', and name it in the policy's channelKeys",
        )


def _artifact_policies(
    trust: ChannelTrustOptions, keys: tuple[str, ...]
) -> tuple[TrustPolicy, ...]:
    if trust.policy is not None and keys:
        raise UsageError("--policy and --artifact-key exclude each other")
    return policies_of(keys, None) if keys else trust.policies()
