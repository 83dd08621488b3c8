"""What channel commands share: whose records count, who signs, how long a record is valid."""

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

from ocistate.cli.common.options import REFERENCE
from ocistate.cli.common.output import warn
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
    """Whose records count, as ``--policy`` or ``--channel-key`` say it."""

    policy: str | None
    keys: tuple[str, ...]

    @property
    def is_given(self) -> bool:
        """Whether anything is said; records are not verified otherwise."""
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

        Where nothing else is named, a ``signer``'s own key counts. Without any key, and where
        trust is not ``required``, nothing is verified, and a warning says so. Raises UsageError,
        NoPolicy.
        """
        from ocistate.channel.record import check_channel
        from ocistate.channel.trust import ChannelTrust as Trust
        from ocistate.ops.channel.reader import Channel, channel_of, repository_of
        from ocistate.signing.keys import load_public_key, read_key
        from ocistate.signing.policy.model import trusted_key

        if self.policy is not None and self.keys:
            raise UsageError("--policy and --channel-key exclude each other")
        if self.policy is not None:
            return channel_of(name, repository, self.policies())
        public = [load_public_key(read_key(key), origin=key) for key in self.keys]
        if signer is not None and not public:
            public.append(signer.public_key)
        if not public and required:
            raise UsageError(
                "whose records count is not said",
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
    help="Take an artifact that no one signed; where nothing else says who must sign it.",
)


def check_unsigned(allow_unsigned: bool, policies: Sequence[TrustPolicy]) -> None:
    """That unsigned artifacts are not let in past a policy. Raises UsageError."""
    if allow_unsigned and policies:
        raise UsageError(
            "--allow-unsigned has no meaning where it is said who must sign the artifact",
            hint="a policy's mode says whether it is enforced",
        )


def channel_trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whose records count: the command gets ``trust``."""

    @click.option(
        "--policy",
        metavar="FILE",
        help="A file with TrustPolicies: their channelKeys sign channels, their keys artifacts.",
    )
    @click.option(
        "--channel-key",
        "channel_keys",
        multiple=True,
        metavar="KEY",
        help="A public key that signs channels; repeatable; instead of --policy.",
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


def writer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Who signs the new record, why, and for how long: the command gets ``writing``."""

    @click.option(
        "--key",
        required=True,
        metavar="KEY",
        help="The private channel key: a file, env://NAME, or exec:COMMAND for a KMS or HSM.",
    )
    @click.option("--reason", default="", help="Why; it is part of the signed record.")
    @click.option(
        "--expires",
        metavar="7d",
        help="How long the record is valid (d, h, m), or 'never'; else as the one before.",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, key: str, reason: str, expires: str | None, **kwargs: Any) -> Any:
        writing = Writing(key=key, reason=reason, expires=expires)
        return command(*args, writing=writing, **kwargs)

    return wrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenArtifact:
    """The one artifact that is meant: what a channel pins, a digest, or what a tag names."""

    reference: Reference
    channel: str | None

    @property
    def tag(self) -> str:
        """The tag that names it, if one does."""
        return self.reference.tag or ""


def choice_options(does: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``REPO[:TAG|@DIGEST]``, ``--from``, ``--digest`` and ``--tag``: the command gets ``choice``.

    ``does`` is what the command does to it, as a word. Raises UsageError unless it is said once.
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
                    f"what to {does} must be said once",
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
        raise UsageError(f"--expires {text!r} is no duration", hint="write 7d, 12h, 30m or never")
    unit = {"d": "days", "h": "hours", "m": "minutes"}[match[2]]
    lifetime = timedelta(**{unit: int(match[1])})
    if lifetime > _LONGEST_LIFETIME:
        raise UsageError(f"--expires {text} is too long", hint="at most 36500d, or never")
    return lifetime


def actor_here() -> str:
    """Who runs this, as CI or the system call them."""
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

    Verified as far as the options say whose records count; what is not to be believed, and where
    the history is cut, is an error then, else a warning. Raises UsageError, NotFound, Untrusted.
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
            raise Untrusted(f"{link.record} is not to be believed: {link.problem}")
    for fork in history.forks:
        warn(f"fork of {name}: {fork}")
    if history.broken:
        warn(f"the history of {name} ends too early: {history.broken}")
    return channel, history
