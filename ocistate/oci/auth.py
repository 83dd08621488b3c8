"""Registry credentials: where they are found, and the tokens they buy.

A secret goes only to the host that asked for it: credentials to the registry they are stored for,
and to the token server that this registry names; a token to the registry that named the server.
Nothing here sends anything; ``oci/http.py`` does.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ocistate.errors import ConfigError, ProtocolError, Unauthorized
from ocistate.oci.links import web_address

_DOCKER_HUB: Final = "https://index.docker.io/v1/"
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_PARAMETER: Final = re.compile(r'([a-zA-Z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))')
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
"""What may stand in a header; a line break would begin another one."""

_DEFAULT_LIFETIME: Final = 60.0
"""Seconds: the distribution token spec, "expires_in" when it is left out."""
_MARGIN: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and password, or an identity token that is exchanged for access tokens."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a ``WWW-Authenticate`` header asks for: RFC 9110, section 11.6.1."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(slots=True)
class Tokens:
    """Bearer tokens by realm, service and scope, until shortly before they end."""

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
        self._tokens[key] = (token, now + max(0.0, min(float(seconds), 3600.0) - _MARGIN))
        return token

    def drop(self, key: tuple[str, str, str]) -> None:
        """Forget a token that was refused."""
        self._tokens.pop(key, None)


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
    if parts is None:
        raise ProtocolError(f"{asked.netloc} names {realm[:200]!r} as its token server")
    if parts.scheme == "http" and asked.scheme == "https":
        raise ProtocolError(
            f"{asked.netloc} wants credentials sent to {parts.netloc} without TLS",
            hint="the registry is set up wrongly, or somebody is in between",
        )
    return realm


def find_credentials(
    registry: str, docker_config: bytes | None = None, environ: Mapping[str, str] | None = None
) -> Credentials | None:
    """Credentials for ``host[:port]``; None when there are none and anonymous access must do.

    From ``docker_config`` (a pull secret's content) alone where it is given; else from
    ``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json``, then from podman's
    ``$REGISTRY_AUTH_FILE`` or ``$XDG_RUNTIME_DIR/containers/auth.json``. Raises ConfigError.
    """
    if docker_config is not None:
        return _from_config(_parse(docker_config, "the pull secret"), registry, "the pull secret")
    for path in _config_files(os.environ if environ is None else environ):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        found = _from_config(_parse(data, str(path)), registry, str(path))
        if found is not None:
            return found
    return None


def _config_files(environ: Mapping[str, str]) -> list[Path]:
    home = Path(environ.get("HOME") or Path.home())
    files = [Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"]
    if environ.get("REGISTRY_AUTH_FILE"):
        files.insert(0, Path(environ["REGISTRY_AUTH_FILE"]))
    elif environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    return files


def _parse(data: bytes, origin: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"{origin} is not a docker configuration", hint="it must be JSON")
    return value


def _from_config(config: dict[str, Any], registry: str, origin: str) -> Credentials | None:
    names = _names(registry)
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict):
        for name in names:
            if isinstance(helpers.get(name), str):
                return _ask_helper(helpers[name], name)
    store = config.get("credsStore")
    if isinstance(store, str) and store:
        for name in names:
            found = _ask_helper(store, name)
            if found is not None:
                return found
    auths = config.get("auths")
    for name in names:
        entry = auths.get(name) if isinstance(auths, dict) else None
        if isinstance(entry, dict) and entry:
            return _from_entry(entry, name, origin)
    return None


def _names(registry: str) -> list[str]:
    """The names a registry goes by in such files."""
    names = [registry, f"https://{registry}", f"https://{registry}/v2/", f"https://{registry}/v1/"]
    if registry in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        names = [_DOCKER_HUB, "docker.io", "index.docker.io", *names]
    return names


def _from_entry(entry: dict[str, Any], name: str, origin: str) -> Credentials | None:
    token = entry.get("identitytoken")
    username, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            pair = base64.b64decode(entry["auth"], validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigError(f"{origin}: auths[{name!r}].auth is not base64") from None
        username, _, password = pair.partition(":")
    if isinstance(token, str) and token:
        return Credentials(username=str(username or ""), identity_token=token)
    if isinstance(username, str) and isinstance(password, str) and username:
        return Credentials(username=username, password=password)
    return None


def _ask_helper(helper: str, server: str) -> Credentials | None:
    """Docker's credential helper protocol: the server's name in, JSON out."""
    if not _HELPER_NAME.fullmatch(helper):
        raise ConfigError(f"{helper!r} is not the name of a credential helper")
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [command, "get"], input=server.encode(), capture_output=True, check=False, timeout=30
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{command} is not installed", hint="install it, or mend credHelpers and credsStore"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{command} failed: {type(error).__name__}") from None
    if done.returncode != 0:
        if b"not found" in done.stdout.lower() + done.stderr.lower():
            return None
        # Its output may hold anything, so it is not shown.
        raise ConfigError(f"{command} failed with code {done.returncode} for {server}")
    try:
        answer = json.loads(done.stdout)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{command} answered something that is not a credential") from None
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret)


def refused(registry: str, has_credentials: bool, what: str) -> Unauthorized:
    """The error when a registry does not let us in."""
    if has_credentials:
        return Unauthorized(
            f"{registry} refuses {what} with the credentials there are",
            hint="check that they are right and allow this",
        )
    return Unauthorized(
        f"{registry} refuses {what} without credentials", hint=f"log in: docker login {registry}"
    )
