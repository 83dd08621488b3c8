"""Log in to a registry and out: check credentials with it, and keep them where docker does."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocistate.durable import write_file
from ocistate.errors import ConfigError, ProtocolError
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.credentials import (
    Credentials,
    call_helper,
    config_files,
    helper_of,
    parse_config,
    read_config,
    registry_names,
)
from ocistate.oci.registry.http import Http


@dataclass(frozen=True, slots=True)
class Kept:
    """Where credentials were put: a file, or a credential helper that the file names."""

    path: Path
    helper: str = ""


async def check_credentials(registry: str, credentials: Credentials, options: StoreOptions) -> bool:
    """Ask the registry; False when it asks no one who they are. Raises Unauthorized, StoreError."""
    http = Http(registry, options, credentials=credentials)
    try:
        answer = await http.send("GET", "/v2/", scope="", doing=f"logging in to {registry}")
    finally:
        await http.close()
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise ProtocolError(f"{registry} answers with a web page: it is not a registry")
    return http.asks


def keep_credentials(
    registry: str, credentials: Credentials, environ: Mapping[str, str] | None = None
) -> Kept:
    """Put credentials where ``find_credentials`` finds them first. Raises ConfigError.

    In the credential helper that the file names, if it names one; else in the file itself, which
    only its owner may read.
    """
    path = config_files(os.environ if environ is None else environ)[0]
    name = registry_names(registry)[0]
    config = parse_config(read_config(path) or b"{}", str(path))
    helper = helper_of(config, registry)
    if helper is not None:
        secret = {
            "ServerURL": helper[1],
            "Username": credentials.username,
            "Secret": credentials.password,
        }
        if call_helper(helper[0], "store", json.dumps(secret), server=registry) is None:
            raise ConfigError(f"docker-credential-{helper[0]} did not keep the credentials")
        return Kept(path, helper[0])
    pair = f"{credentials.username}:{credentials.password}".encode()

    def put(config: dict[str, Any]) -> None:
        auths = config.setdefault("auths", {})
        if not isinstance(auths, dict):
            raise ConfigError(f"{path}: auths is not a mapping")
        auths[name] = {"auth": base64.b64encode(pair).decode()}

    _change(path, put)
    return Kept(path)


def forget_credentials(registry: str, environ: Mapping[str, str] | None = None) -> list[Kept]:
    """Remove a registry's credentials wherever they are found. Raises ConfigError."""
    removed = []
    for path in config_files(os.environ if environ is None else environ):
        data = read_config(path)
        if data is None:
            continue
        config = parse_config(data, str(path))
        helper = helper_of(config, registry)
        if helper is not None:
            known = call_helper(helper[0], "get", helper[1], server=registry) is not None
            if known and call_helper(helper[0], "erase", helper[1], server=registry) is not None:
                removed.append(Kept(path, helper[0]))
        auths = config.get("auths")
        names = registry_names(registry)
        if isinstance(auths, dict) and any(name in auths for name in names):

            def drop(config: dict[str, Any], names: list[str] = names) -> None:
                for name in names:
                    config.get("auths", {}).pop(name, None)

            _change(path, drop)
            removed.append(Kept(path))
    return removed


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Read, change and replace a file in one turn; a link stays one. Raises ConfigError."""
    path = path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            config = parse_config(read_config(path) or b"{}", str(path))
            change(config)
            write_file(path, json.dumps(config, indent="\t").encode() + b"\n", mode=0o600)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or path} cannot be written: {error.strerror}",
            hint="set DOCKER_CONFIG to a folder you may write to",
        ) from None
