"""Where a registry's credentials are found: docker's and podman's files, helpers, pull secrets.

https://github.com/docker/docker-credential-helpers, containers-auth.json(5), and for pull secrets
https://kubernetes.io/docs/concepts/containers/images/#config-json.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from ocistate.canonical import parse_json
from ocistate.errors import ConfigError

_DOCKER_HUB: Final = "https://index.docker.io/v1/"
_HUB_HOSTS: Final = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


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


def find_credentials(
    registry: str,
    docker_config: bytes | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    repository: str = "",
) -> Credentials | None:
    """Credentials for ``host[:port]``; None when there are none and anonymous access must do.

    From the ``auths`` of ``docker_config`` (a pull secret's content) alone where it is given: it is
    not this machine's, and runs no helper program here. Else from
    ``$REGISTRY_AUTH_FILE`` where that is set, then ``$DOCKER_CONFIG/config.json`` or
    ``~/.docker/config.json``, then podman's ``$XDG_RUNTIME_DIR/containers/auth.json``. An entry for
    ``host/path`` goes before the host's own when it leads to the repository. Raises ConfigError.
    """
    if docker_config is not None:
        origin = "the pull secret"
        return _from_auths(parse_config(docker_config, origin), registry, repository, origin)
    for path in config_files(os.environ if environ is None else environ):
        data = read_config(path)
        if data is None:
            continue
        found = _from_config(parse_config(data, str(path)), registry, repository, str(path))
        if found is not None:
            return found
    return None


def config_files(environ: Mapping[str, str]) -> list[Path]:
    """The files that may hold credentials; the first is where new ones go."""
    home = Path(environ.get("HOME") or Path.home())
    files = [Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"]
    if environ.get("REGISTRY_AUTH_FILE"):
        files.insert(0, Path(environ["REGISTRY_AUTH_FILE"]))
    elif environ.get("XDG_RUNTIME_DIR"):
        files.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    return files


def read_config(path: Path) -> bytes | None:
    """A file's bytes; None when it is not there. Raises ConfigError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def parse_config(data: bytes, origin: str) -> dict[str, Any]:
    """A docker configuration. Raises ConfigError."""
    try:
        value = parse_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"{origin} is not a docker configuration", hint="it must be JSON")
    return value


def helper_of(config: Mapping[str, Any], registry: str) -> tuple[str, str] | None:
    """The credential helper for a registry, and the name it knows it by: the registry's own before
    the one for all."""
    names = registry_names(registry)
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict):
        for name in names:
            if isinstance(helpers.get(name), str):
                return helpers[name], name
    store = config.get("credsStore")
    return (store, names[0]) if isinstance(store, str) and store else None


def registry_names(registry: str) -> list[str]:
    """The names a registry goes by in such files; the first is the one to write."""
    names = [registry, f"https://{registry}", f"https://{registry}/v2/", f"https://{registry}/v1/"]
    return [_DOCKER_HUB, *_HUB_HOSTS, *names] if registry in _HUB_HOSTS else names


def _from_config(
    config: dict[str, Any], registry: str, repository: str, origin: str
) -> Credentials | None:
    helper = helper_of(config, registry)
    if helper is not None:
        own = isinstance(config.get("credHelpers"), dict) and helper[1] in config["credHelpers"]
        for name in [helper[1]] if own else registry_names(registry):
            found = _ask_helper(helper[0], name)
            if found is not None or own:
                return found
    return _from_auths(config, registry, repository, origin)


def _from_auths(
    config: dict[str, Any], registry: str, repository: str, origin: str
) -> Credentials | None:
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return None
    for name in _entry_names(auths, registry, repository):
        entry = auths.get(name)
        if isinstance(entry, dict) and entry:
            return _from_entry(entry, name, origin)
    return None


def _entry_names(auths: Mapping[str, Any], registry: str, repository: str) -> Iterator[str]:
    """The names an entry may have, the most exact first."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield f"{registry}/{'/'.join(parts[:count])}"
    yield from registry_names(registry)
    # Pull secrets may name several hosts at once: *.registry.example.com; one label for each star.
    labels = registry.count(".")
    for name in auths:
        bare = name.removeprefix("https://").rstrip("/")
        if "*" in bare and bare.count(".") == labels and fnmatchcase(registry, bare):
            yield name


def _from_entry(entry: dict[str, Any], name: str, origin: str) -> Credentials | None:
    token = entry.get("identitytoken")
    username, password = entry.get("username"), entry.get("password")
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            pair = base64.b64decode(entry["auth"], validate=True).decode().rstrip("\0")
        except ValueError:  # no base64, no ASCII, or no UTF-8 within
            raise ConfigError(f"{origin}: auths[{name!r}].auth is not base64") from None
        username, _, password = pair.partition(":")
    if isinstance(token, str) and token:
        return Credentials(username=str(username or ""), identity_token=token)
    if isinstance(username, str) and isinstance(password, str) and username:
        return Credentials(username=username, password=password)
    return None


def _ask_helper(helper: str, server: str) -> Credentials | None:
    """Docker's credential helper protocol: the server's name in, JSON out."""
    output = call_helper(helper, "get", server, server=server)
    if output is None:
        return None
    try:
        answer = parse_json(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ConfigError(f"docker-credential-{helper} answered something that is not a credential")
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret)


def call_helper(helper: str, action: str, text: str, *, server: str) -> bytes | None:
    """Run a credential helper; None when it does not know the server. Raises ConfigError."""
    if not _HELPER_NAME.fullmatch(helper):
        raise ConfigError(f"{helper!r} is not the name of a credential helper")
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [command, action], input=text.encode(), capture_output=True, check=False, timeout=30
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{command} is not installed", hint="install it, or fix credHelpers and credsStore"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{command} failed: {type(error).__name__}") from None
    if done.returncode != 0:
        if b"not found" in done.stdout.lower() + done.stderr.lower():
            return None
        # Its output may hold anything, so it is not shown.
        raise ConfigError(f"{command} failed with code {done.returncode} for {server}")
    return done.stdout
