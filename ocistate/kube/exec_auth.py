"""Credentials from an exec plugin of a kubeconfig: tokens and client certificates, v1 and v1beta1.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from ocistate.canonical import parse_json
from ocistate.errors import ConfigError

API_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
TIMEOUT: Final = 60.0
_EARLY: Final = timedelta(seconds=10)
_STDERR_LIMIT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a plugin gave: a bearer token, a certificate with its key, or both.

    Secrets are left out of its ``repr``.
    """

    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlugin:
    """A kubeconfig's ``exec`` entry, and the cluster it is to be told of."""

    api_version: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    install_hint: str = ""
    interactive_mode: str = "IfAvailable"
    cluster: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, entry: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path) -> ExecPlugin:
        """Read the entry of a user. ``cluster`` is the kubeconfig's cluster entry, ``folder``
        where the kubeconfig lies. Raises ConfigError."""
        api_version = entry.get("apiVersion") or ""
        if api_version not in API_VERSIONS:
            raise ConfigError(
                f"exec plugin: apiVersion {api_version!r} is not supported",
                hint=f"use {' or '.join(API_VERSIONS)}",
            )
        command = entry.get("command")
        if not isinstance(command, str) or not command:
            raise ConfigError("exec plugin: the kubeconfig names no command")
        if "/" in command and not Path(command).is_absolute():
            command = str(folder / command)
        args, env = entry.get("args") or [], entry.get("env") or []
        if not isinstance(args, list) or not isinstance(env, list):
            raise ConfigError("exec plugin: args or env of the kubeconfig is not a list")
        if not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in env):
            raise ConfigError("exec plugin: env of the kubeconfig has an entry without a name")
        return cls(
            api_version=api_version,
            command=command,
            args=tuple(str(arg) for arg in args),
            env={each["name"]: str(each.get("value", "")) for each in env},
            install_hint=str(entry.get("installHint") or ""),
            interactive_mode=str(entry.get("interactiveMode") or "IfAvailable"),
            cluster=_cluster_info(cluster) if entry.get("provideClusterInfo") else None,
        )


def _cluster_info(cluster: Mapping[str, Any]) -> dict[str, Any]:
    info = {
        key: cluster[key]
        for key in (
            "server",
            "tls-server-name",
            "insecure-skip-tls-verify",
            "certificate-authority-data",
            "proxy-url",
        )
        if cluster.get(key)
    }
    for extension in cluster.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


class ExecCredentials:
    """Runs a plugin when a credential is needed: at first, before it expires, and on refusal."""

    def __init__(
        self,
        plugin: ExecPlugin,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        is_terminal: Callable[[], bool] = sys.stdin.isatty,
    ) -> None:
        self._plugin = plugin
        self._now = now
        self._is_terminal = is_terminal
        self._current: Credential | None = None
        self._lock = asyncio.Lock()

    async def get(self, *, refused: Credential | None = None) -> Credential:
        """The credential to use now. ``refused`` is one the server did not take: it is replaced,
        once, however many requests saw the refusal. Raises ConfigError."""
        current = self._current
        if current is not None and current is not refused and self._fresh(current):
            return current
        async with self._lock:
            current = self._current
            if current is None or current is refused or not self._fresh(current):
                current = self._current = await self._run()
            return current

    def _fresh(self, credential: Credential) -> bool:
        return credential.expires is None or self._now() + _EARLY < credential.expires

    async def _run(self) -> Credential:
        plugin = self._plugin
        terminal = self._is_terminal()
        if plugin.interactive_mode == "Always" and not terminal:
            raise ConfigError(
                f"exec plugin {plugin.command}: wants a terminal, and there is none",
                hint="log in from a terminal first, or use a credential that needs no person",
            )
        interactive = terminal and plugin.interactive_mode != "Never"
        spec: dict[str, Any] = {"interactive": interactive}
        if plugin.cluster is not None:
            spec["cluster"] = plugin.cluster
        info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
        env = {**os.environ, **plugin.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *plugin.args,
                env=env,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if interactive else asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ConfigError(
                f"exec plugin {plugin.command}: cannot be started: {error.strerror}",
                hint=plugin.install_hint or "install it, or put it on PATH",
            ) from None
        try:
            out, err = await asyncio.wait_for(
                process.communicate(), None if interactive else TIMEOUT
            )
        except BaseException as error:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if isinstance(error, TimeoutError):
                raise ConfigError(
                    f"exec plugin {plugin.command}: no answer within {TIMEOUT:.0f} s"
                ) from None
            raise
        if process.returncode:
            # The last words of stderr are where plugins say "log in first"; stdout may hold tokens.
            words = (err or b"").decode(errors="replace").strip()[-_STDERR_LIMIT:]
            raise ConfigError(
                f"exec plugin {plugin.command}: ended with code {process.returncode}"
                + (f": {words}" if words else "")
            )
        try:
            return parse_credential(out, plugin.api_version)
        except ValueError as error:
            raise ConfigError(f"exec plugin {plugin.command}: {error}") from None


def parse_credential(data: bytes, api_version: str) -> Credential:
    """Read an ``ExecCredential``. Raises ValueError, with none of its content in the message."""
    try:
        document = parse_json(data)
    except ValueError:
        raise ValueError("its output is not JSON") from None
    if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
        raise ValueError("its output is not an ExecCredential")
    if document.get("apiVersion") != api_version:
        raise ValueError(f"its output is not of the version asked for, {api_version}")
    status = document.get("status")
    if not isinstance(status, dict):
        raise ValueError("its output has no status")
    token, certificate, key = (
        status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData")
    )
    if not all(isinstance(value, str) for value in (token, certificate, key)):
        raise ValueError("its token, certificate or key is not text")
    if bool(certificate) != bool(key):
        raise ValueError("a client certificate and its key must come together")
    if not token and not certificate:
        raise ValueError("its output holds neither a token nor a client certificate")
    expires = None
    if stamp := status.get("expirationTimestamp"):
        try:
            expires = datetime.fromisoformat(stamp)
        except (TypeError, ValueError):
            raise ValueError("its expirationTimestamp is not a time") from None
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
    return Credential(token=token, certificate=certificate, key=key, expires=expires)
