"""``ocistate promote``: move a channel to an artifact."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.channel.moving import Moved, move, newest_of, report
from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    ChosenArtifact,
    Writing,
    channel_write_options,
    check_unsigned,
    choice_options,
    unsigned_option,
)
from ocistate.cli.channel.rollout import read_rings
from ocistate.cli.common.consent import Consent, consent_options
from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import note, output_option, warn
from ocistate.cli.common.registry import OpenRepository
from ocistate.cli.common.trust import policies_of
from ocistate.errors import ConfigError, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.record import Record
    from ocistate.channel.rings import Ring
    from ocistate.channel.trust import Trusted
    from ocistate.oci.store import Store
    from ocistate.ops.channel.reader import Channel
    from ocistate.ops.channel.releases import Candidate
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy.model import TrustPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class _ArtifactOptions:
    """Who must have signed the artifact, as given by ``--artifact-key`` or ``--policy``."""

    keys: tuple[str, ...]
    allow_unsigned: bool

    def check(self, trust: ChannelTrustOptions) -> None:
        """That only one of the two is given. Raises UsageError."""
        if trust.policy is not None and self.keys:
            raise UsageError(
                "--policy and --artifact-key cannot be combined",
                hint="list the keys in the policy, or leave --policy out",
            )

    def policies(self, trust: ChannelTrustOptions) -> tuple[TrustPolicy, ...]:
        """The policies that decide; none when nothing is given."""
        return policies_of(self.keys, None) if self.keys else trust.policies()


def _artifact_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--artifact-key`` and ``--allow-unsigned``: the command gets ``artifacts``."""

    @click.option(
        "--artifact-key",
        "artifact_keys",
        multiple=True,
        metavar="KEY",
        help="A public key that must have signed the artifact, instead of --policy; repeatable.",
    )
    @unsigned_option
    @functools.wraps(command)
    def wrapper(
        *args: Any, artifact_keys: tuple[str, ...], allow_unsigned: bool, **kwargs: Any
    ) -> Any:
        artifacts = _ArtifactOptions(keys=artifact_keys, allow_unsigned=allow_unsigned)
        return command(*args, artifacts=artifacts, **kwargs)

    return wrapper


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
    "--drop", multiple=True, metavar="REPO", help="Remove a repository from the set; repeatable."
)
@click.option(
    "--rings",
    metavar="SPEC|FILE",
    help="Roll it out ring by ring: canary=5%/10m,early=25%/1h,all=100%, or a file with rings.",
)
@click.option("--release", is_flag=True, help="Move it even when it is on hold, and lift the hold.")
@_artifact_options
@channel_write_options
@consent_options
@output_option("table", "json", "yaml", "name")
def promote_command(
    choice: ChosenArtifact,
    to: str,
    others: tuple[Reference, ...],
    drop: tuple[str, ...],
    rings: str | None,
    release: bool,
    artifacts: _ArtifactOptions,
    writing: Writing,
    trust: ChannelTrustOptions,
    consent: Consent,
    connect: OpenRepository,
    output: str,
) -> None:
    """Move a channel to an artifact: one signed record that every cluster follows.

    The artifact must be signed as --policy or --artifact-key require; without them, any signature
    will do. The changed objects are shown first, and a terminal asks for confirmation. A channel
    that names the artifact already is left unchanged.
    """
    artifacts.check(trust)
    signer = writing.signer()
    promotion = _Promotion(
        connect=connect,
        trust=trust,
        signer=signer,
        channel=trust.channel(to, choice.reference, signer=signer),
        policies=artifacts.policies(trust),
        allow_unsigned=artifacts.allow_unsigned,
    )
    promotion.check()
    change = _Change(others=others, drop=frozenset(drop), rings=read_rings(rings), release=release)
    report(run_async(promotion.run(choice, change, writing, consent)), output)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What else the new record changes, beside the artifact that is promoted."""

    others: tuple[Reference, ...]
    drop: frozenset[str]
    rings: tuple[Ring, ...]
    release: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Promotion:
    """Moves one channel. The key that moves it must not be one that vouches for artifacts."""

    connect: OpenRepository
    trust: ChannelTrustOptions
    signer: Signer
    channel: Channel
    policies: tuple[TrustPolicy, ...]
    allow_unsigned: bool

    def check(self) -> None:
        """Warn when no one checks the artifact. Raises UsageError."""
        if not self.policies:
            warn("the artifact's signature is not verified; give --policy or --artifact-key")
        check_unsigned(self.allow_unsigned, self.policies)
        _refuse_artifact_key(self.signer, self.policies)

    async def run(
        self, choice: ChosenArtifact, change: _Change, writing: Writing, consent: Consent
    ) -> Moved:
        from ocistate.channel.change import promoted
        from ocistate.ops.channel.releases import pins_of
        from ocistate.ops.channel.writer import Writer

        async with self.connect(choice.reference) as store:
            writer = Writer(store=store, channel=self.channel, signer=self.signer)
            newest = await newest_of(writer)
            candidates, origin = await self._chosen(store, choice)
            candidates += [await self._find(other) for other in change.others]
            _check_set(newest.record, [found.place for found in candidates], change.drop)
            pins, why = pins_of(candidates), writing.why(source=origin)

            def make(old: Trusted) -> Record | None:
                return promoted(
                    old, pins, why, drop=change.drop, release=change.release, rings=change.rings
                )

            return await move(self.connect, writer, newest, make, consent)

    async def _chosen(self, store: Store, choice: ChosenArtifact) -> tuple[list[Candidate], str]:
        """The artifacts to promote, and where they come from."""
        if choice.channel is None:
            return [await self._find(choice.reference)], choice.tag
        source = self.trust.channel(choice.channel, choice.reference, signer=self.signer)
        return await _pinned(self._find, store, source)

    async def _find(self, reference: Reference) -> Candidate:
        from ocistate.ops.channel.releases import find_candidate

        required_target(reference, "promote")
        found = await find_candidate(
            self.connect, reference, self.policies, allow_unsigned=self.allow_unsigned
        )
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
            f"{record} is still being rolled out: {record.rollout}",
            hint="wait until its rollout has ended, or name the artifact with --digest",
        )
    found = [
        await find(reference_of(place).with_digest(digest))
        for place, digest in record.subjects.items()
    ]
    return found, str(record)


def _check_set(last: Record, places: list[str], dropped: frozenset[str]) -> None:
    """That each repository is named once: moved or dropped. Raises UsageError."""
    if len(set(places)) < len(places):
        raise UsageError(
            "a repository is to be moved to two artifacts", hint="name each repository once"
        )
    if both := dropped & set(places):
        raise UsageError(f"{min(both)} is to be moved and dropped", hint="leave one of them out")
    if strange := dropped - last.subjects.keys():
        raise UsageError(
            f"{last} does not name {min(strange)}",
            hint=f"it pins {', '.join(sorted(last.subjects))}",
        )


def _refuse_artifact_key(signer: Signer, policies: Sequence[TrustPolicy]) -> None:
    """A key that signs artifacts must not move channels: a stolen key must not do both."""
    mine = signer.public_key.fingerprint
    if any(mine == trusted.key.fingerprint for policy in policies for trusted in policy.keys):
        raise UsageError(
            "the key signs artifacts, and a channel needs a key of its own",
            hint="make one with 'ocistate keygen', and name it in the policy's channelKeys",
        )
