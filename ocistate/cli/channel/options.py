"""Options that channel commands share: whose records count, who signs, how long it is valid."""

from __future__ import annotations

import functools
import getpass
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.cli.common.options import REFERENCE, REPOSITORY
from ocistate.cli.common.output import warn
from ocistate.cli.common.registry import source_options, store_options
from ocistate.errors import Untrusted, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.change import Why
    from ocistate.channel.history import History
    from ocistate.oci.store import Store
    from ocistate.ops.channel.reader import Channel
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy.model import TrustPolicy

_LONGEST_LIFETIME: Final = timedelta(days=36_500)
_LIFETIME: Final = re.compile(r"([1-9][0-9]{0,4})([dhm])")
_ACTORS: Final = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BITBUCKET_STEP_TRIGGERER_UUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTrustOptions:
    """Whose records count, as given by ``--policy`` or ``--channel-key``."""

    policy: str | None
    keys: tuple[str, ...]

    @property
    def is_given(self) -> bool:
        """Whether any option is given; without, records are not verified."""
        return bool(self.policy or self.keys)

    def policies(self) -> tuple[TrustPolicy, ...]:
        """The TrustPolicies of ``--policy``; none without it."""
        return read_policies(self.policy) if self.policy is not None else ()

    def channel(
        self,
        name: str,
        repository: Reference,
        *,
        signer: Signer | None = None,
        required: bool = True,
    ) -> Channel:
        """A channel under the trust that the options name.

        When no option is given, a ``signer``'s own key counts. Without any key, and when trust is
        not ``required``, nothing is verified, with a warning. Raises UsageError, NoPolicy.
        """
        from ocistate.channel.trust import ChannelTrust as Trust
        from ocistate.ops.channel.reader import Channel, channel_of, repository_of
        from ocistate.reference import check_channel
        from ocistate.signing.keys import load_public_key, read_key
        from ocistate.signing.policy.model import trusted_key

        if self.policy is not None and self.keys:
            raise UsageError(
                "--policy and --channel-key cannot be combined",
                hint="list the keys in the policy's channelKeys, or leave --policy out",
            )
        if self.policy is not None:
            return channel_of(name, repository, self.policies())
        public = [load_public_key(read_key(key), origin=key) for key in self.keys]
        if signer is not None and not public:
            public.append(signer.public_key)
        if not public and required:
            raise UsageError(
                "no trust source given for the channel's records",
                hint="give --policy FILE with channelKeys, or --channel-key FILE.pub",
            )
        if not public:
            _warn_unverified()
        keys = tuple(trusted_key("", key) for key in public)
        return Channel(
            name=check_channel(name), repository=repository_of(repository), trust=Trust(keys=keys)
        )


unsigned_option = click.option(
    "--allow-unsigned",
    is_flag=True,
    help="Accept an unsigned artifact (only without --policy and --artifact-key).",
)


def check_unsigned(allow_unsigned: bool, policies: Sequence[TrustPolicy]) -> None:
    """Refuse ``--allow-unsigned`` beside a policy. Raises UsageError."""
    if allow_unsigned and policies:
        raise UsageError(
            "--allow-unsigned cannot be combined with --policy or --artifact-key",
            hint="leave it out, or set the mode of the policy",
        )


def channel_trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whose records count: the command gets ``trust``."""

    @click.option(
        "--policy",
        metavar="FILE",
        help="A file with TrustPolicies: channelKeys verify channels, keys verify artifacts.",
    )
    @click.option(
        "--channel-key",
        "channel_keys",
        multiple=True,
        metavar="KEY",
        help="A trusted public channel key, instead of --policy; repeatable.",
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any, policy: str | None, channel_keys: tuple[str, ...], **kwargs: Any
    ) -> Any:
        return command(*args, trust=ChannelTrustOptions(policy=policy, keys=channel_keys), **kwargs)

    return wrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Who signs the new record, why, and for how long it is valid."""

    key: str
    reason: str
    expires: str | None

    def signer(self) -> Signer:
        """The channel key of ``--key``. Raises UsageError, KeyFileError."""
        from ocistate.cli.trust.keys import load_signer_for

        return load_signer_for(self.key)

    def why(self, default: str = "", *, source: str = "") -> Why:
        """Who asks for a change, when and why. Raises UsageError."""
        from ocistate.channel.change import Why

        return Why(
            now=datetime.now(UTC).replace(microsecond=0),
            reason=self.reason or default,
            actor=actor_here(),
            source=source,
            lifetime=None if self.expires is None else parse_lifetime(self.expires),
        )


channel_key_option = click.option(
    "--key",
    required=True,
    metavar="KEY",
    help="The private channel key: a file, env://NAME, or exec:COMMAND for a KMS or HSM.",
)


def writer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Who signs the new record, why, and for how long: the command gets ``writing``."""

    @channel_key_option
    @click.option("--reason", default="", help="The reason; it is part of the signed record.")
    @click.option(
        "--expires",
        metavar="7d",
        help="How long the record is valid (d, h, m), or 'never'; default: as the record before.",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, key: str, reason: str, expires: str | None, **kwargs: Any) -> Any:
        writing = Writing(key=key, reason=reason, expires=expires)
        return command(*args, writing=writing, **kwargs)

    return wrapper


def channel_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """``REPO CHANNEL``: the command gets ``reference`` and ``name``."""
    reference = click.argument("reference", type=REPOSITORY, metavar="REPO")
    return reference(click.argument("name", metavar="CHANNEL")(command))


def channel_read_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whose records count, and the registry with its mirrors: ``trust`` and ``connect``."""
    return channel_trust_options(source_options(command))


def channel_write_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Who signs, whose records count, and the registry: ``writing``, ``trust``, ``connect``."""
    return writer_options(channel_trust_options(store_options(command)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenArtifact:
    """The artifact a command works on: what a channel pins, a digest, or what a tag names."""

    reference: Reference
    channel: str | None

    @property
    def tag(self) -> str:
        """The tag that names it, if one does."""
        return self.reference.tag or ""


def choice_options(does: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``REPO[:TAG|@DIGEST]``, ``--from``, ``--digest`` and ``--tag``: the command gets ``choice``.

    ``does`` is what the command does to it, for help and errors. Raises UsageError unless exactly
    one of them is given.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument("reference", type=REFERENCE, metavar="REPO[:TAG|@DIGEST]")
        @click.option(
            "--from", "from_", metavar="CHANNEL", help=f"{does.title()} what this channel pins."
        )
        @click.option("--digest", metavar="DIGEST", help=f"{does.title()} this digest.")
        @click.option("--tag", metavar="TAG", help=f"{does.title()} what this tag names.")
        @functools.wraps(command)
        def wrapper(
            *args: Any,
            reference: Reference,
            from_: str | None,
            digest: str | None,
            tag: str | None,
            **kwargs: Any,
        ) -> Any:
            given = [reference.target, from_, digest, tag]
            if sum(value is not None for value in given) != 1:
                raise UsageError(
                    f"exactly one artifact to {does} must be given",
                    hint="give one of --from CHANNEL, --digest, --tag, or write REPO:TAG",
                )
            base = reference.base
            if digest or tag:
                reference = base.with_digest(digest) if digest else base.with_tag(tag or "")
            return command(
                *args, choice=ChosenArtifact(reference=reference, channel=from_), **kwargs
            )

        return wrapper

    return decorate


def read_policies(policy: str) -> tuple[TrustPolicy, ...]:
    """The TrustPolicies of a file. Raises ConfigError."""
    from ocistate.api.loader import load_files

    return load_files(Path(policy)).policies


@functools.cache
def _warn_unverified() -> None:
    warn("the channel's records are not verified; give --policy or --channel-key")


def parse_lifetime(text: str) -> timedelta:
    """``7d``, ``12h``, ``30m``, or ``never``, which is zero. Raises UsageError."""
    if text == "never":
        return timedelta()
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--expires {text!r} is not a duration", hint="write 7d, 12h, 30m or never"
        )
    unit = {"d": "days", "h": "hours", "m": "minutes"}[match[2]]
    lifetime = timedelta(**{unit: int(match[1])})
    if lifetime > _LONGEST_LIFETIME:
        raise UsageError(f"--expires {text} is too long", hint="at most 36500d, or never")
    return lifetime


def actor_here() -> str:
    """Who runs this command, by the CI system's or the operating system's name."""
    for name in _ACTORS:
        if os.environ.get(name):
            return os.environ[name]
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


async def read_channel(
    store: Store, repository: Reference, name: str | None, trust: ChannelTrustOptions
) -> tuple[Channel, History]:
    """A channel, the only one there is when none is named, and its history.

    Verified when the options give keys: a record that is not signed by one of them is an error. A
    fork, or a history that is cut short, is a warning. Raises UsageError, NotFound, Untrusted.
    """
    from ocistate.ops.channel.history import RecordCache, read_history
    from ocistate.ops.channel.reader import channels_in

    if not name:
        there = channels_in(await store.tags())
        if len(there) != 1:
            raise UsageError(
                f"{repository.base} has {len(there)} channels",
                hint=f"name one of them: {', '.join(there)}"
                if there
                else "'ocistate channel init'",
            )
        name = there[0]
    channel = trust.channel(name, repository, required=False)
    history = await read_history(store, channel, cache=RecordCache.open(channel))
    for link in history.links:
        if channel.trust.keys and link.problem:
            raise Untrusted(f"{link.record} cannot be trusted: {link.problem}")
    for fork in history.forks:
        warn(f"fork of {name}: {fork}")
    if history.broken:
        warn(f"the history of {name} ends too early: {history.broken}")
    return channel, history
