"""What a registry asks for before it lets us in, and the tokens that credentials buy.

A secret goes only to the host that asked for it: credentials to the registry they are stored for,
and to the token server that this registry names; a token to the registry that named the server.
Nothing here sends anything; ``oci/registry/authorize.py`` does.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ocistate.errors import ProtocolError, Unauthorized
from ocistate.oci.registry.links import web_address

if TYPE_CHECKING:
    from ocistate.oci.registry.credentials import Credentials

_PARAMETER: Final = re.compile(r'([a-zA-Z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))')
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
"""What a header may contain; a line break would begin another one."""

_DEFAULT_LIFETIME: Final = 60.0
"""Seconds: the distribution token spec, "expires_in" when it is left out."""
_MARGIN: Final = 10.0
_MOST_TOKENS: Final = 16
"""A repository has a handful of scopes; a token may take 64 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a ``WWW-Authenticate`` header asks for: RFC 9110, section 11.6.1."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(slots=True)
class Tokens:
    """Bearer tokens by realm, service and scope, until shortly before they end.

    A registry may name another realm at each answer: only the last few tokens are kept.
    """

    _tokens: dict[tuple[str, str, str], tuple[str, float]] = field(default_factory=dict)

    def get(self, key: tuple[str, str, str], now: float) -> str | None:
        """A token that still holds."""
        token, until = self._tokens.get(key, ("", 0.0))
        return token if token and now < until else None

    def put(self, key: tuple[str, str, str], answer: Any, now: float) -> str:
        """Keep the token that a token server answered with. Raises ProtocolError."""
        token = (
            answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        )
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ProtocolError(f"the token server {key[0]} answered without a usable token")
        seconds = answer.get("expires_in", _DEFAULT_LIFETIME)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            seconds = _DEFAULT_LIFETIME
        # A server that lies about the time is not believed for longer than an hour.
        self._tokens.pop(key, None)
        self._tokens[key] = (token, now + max(0.0, float(min(seconds, 3600)) - _MARGIN))
        if len(self._tokens) > _MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        return token

    def __len__(self) -> int:
        return len(self._tokens)

    def drop(self, token: str) -> None:
        """Forget a token that was refused."""
        self._tokens = {key: kept for key, kept in self._tokens.items() if kept[0] != token}


@dataclass(slots=True)
class RegistryAccess:
    """What a registry was seen to ask for, and what was shown and bought there.

    It may only be shared by those who have the very same credentials. ``seconds`` is how long
    credentials hold that were found in files or came from a helper.
    """

    seconds: float = math.inf
    tokens: Tokens = field(default_factory=Tokens, repr=False)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while credentials are looked for and tokens asked for: one is enough for all."""
    challenge: Challenge | None = None
    credentials: Credentials | None = field(default=None, repr=False)
    _until: float = -math.inf
    _given: bool = False

    def give(self, credentials: Credentials) -> None:
        """These credentials and no others, wherever others may be found."""
        self.credentials, self._until, self._given = credentials, math.inf, True

    def keep(self, credentials: Credentials | None, now: float) -> None:
        """These credentials, or none, were found where they are kept."""
        if credentials != self.credentials:
            self.tokens = Tokens()
        self.credentials, self._until = credentials, now + self.seconds

    def must_look(self, now: float) -> bool:
        """Whether credentials have to be looked for."""
        return now >= self._until

    def refused(self, authorization: str) -> None:
        """The registry does not let us in with this: another token may be allowed what this one is
        not, and there may be other credentials by now."""
        self.tokens.drop(authorization.removeprefix("Bearer "))
        self.forget_open_access()

    def forget_open_access(self) -> None:
        """Look for credentials again before they are used."""
        if not self._given:
            self._until = -math.inf


def parse_challenges(headers: list[str]) -> list[Challenge]:
    """The challenges of ``WWW-Authenticate`` headers, the ones we know first."""
    challenges = []
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        parameters = {
            match[1].lower(): re.sub(r"\\(.)", r"\1", match[2])
            if match[2] is not None
            else match[3]
            for match in _PARAMETER.finditer(rest[:8192])
        }
        challenges.append(Challenge(scheme=scheme.lower(), parameters=parameters))
    return sorted(challenges, key=lambda c: ("bearer", "basic", c.scheme).index(c.scheme))


def check_realm(realm: str, registry: str) -> str:
    """The token server's URL, if a registry at that URL may name it. Raises ProtocolError."""
    parts, asked = web_address(realm), urlsplit(registry)
    # The query is ours to write: with one of its own it asks for something else than a token.
    if parts is None or parts.query or parts.fragment:
        raise ProtocolError(f"{asked.netloc} names {realm[:200]!r} as its token server")
    if parts.scheme == "http" and asked.scheme == "https":
        raise ProtocolError(
            f"{asked.netloc} wants credentials sent to {parts.netloc} without TLS",
            hint="the registry is set up wrongly, or something in between answers for it",
        )
    return realm


def refused(registry: str, has_credentials: bool, what: str) -> Unauthorized:
    """The error when a registry does not let us in."""
    if has_credentials:
        return Unauthorized(
            f"{registry} refuses {what} with the credentials there are",
            hint="check that they are right and allow this",
        )
    return Unauthorized(
        f"{registry} refuses {what} without credentials", hint=f"log in: ocistate login {registry}"
    )
