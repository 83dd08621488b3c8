"""Which signatures of an artifact count: keys, identities, or policies from a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ocistate.signing.policy.model import TrustPolicy


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Required trust options: the command gets the ``policies`` that they name."""
    return _trust_options(command, required=True)


def optional_trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Optional trust options: the command gets no ``policies`` when none is given."""
    return _trust_options(command, required=False)


def _trust_options(command: Callable[..., Any], *, required: bool) -> Callable[..., Any]:
    @click.option(
        "--key", "keys", multiple=True, metavar="KEY", help="A trusted public key; repeatable."
    )
    @click.option(
        "--identity",
        "identities",
        multiple=True,
        metavar="issuer=URL,subject=WHO",
        help="A keyless signer (also issuer-regexp=, subject-regexp=); repeatable.",
    )
    @click.option(
        "--trusted-root",
        metavar="FILE",
        help="With --identity: the trusted_root.json to use instead of the public Sigstore's.",
    )
    @click.option(
        "--allow-legacy",
        is_flag=True,
        help="With --key: accept cosign's legacy signatures too.",
    )
    @click.option(
        "--policy",
        metavar="FILE",
        help="A file with TrustPolicies; the most specific match for the repository applies.",
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        keys: tuple[str, ...],
        identities: tuple[str, ...],
        trusted_root: str | None,
        allow_legacy: bool,
        policy: str | None,
        **kwargs: Any,
    ) -> Any:
        given = keys or identities or trusted_root or allow_legacy or policy
        policies = (
            ()
            if not given and not required
            else policies_of(
                keys,
                policy,
                identities=identities,
                trusted_root=trusted_root,
                allow_legacy=allow_legacy,
            )
        )
        return command(*args, policies=policies, **kwargs)

    return wrapper


def policies_of(
    keys: tuple[str, ...],
    policy: str | None,
    *,
    identities: tuple[str, ...] = (),
    trusted_root: str | None = None,
    allow_legacy: bool = False,
) -> tuple[TrustPolicy, ...]:
    """The policies that the trust options name. Raises UsageError when none is given."""
    flags = bool(keys or identities)
    if flags == bool(policy):
        raise UsageError(
            "no trust source given"
            if not flags
            else "--policy cannot be combined with --key or --identity",
            hint="give --key FILE.pub, --identity issuer=…,subject=…, or --policy FILE",
        )
    if trusted_root and not identities:
        raise UsageError("--trusted-root requires --identity")
    if policy:
        if allow_legacy:
            raise UsageError(
                "--allow-legacy cannot be combined with --policy",
                hint="set allowLegacy: true in the policy",
            )
        from ocistate.api.loader import load_files

        return load_files(Path(policy)).policies
    from ocistate.signing.keys import load_public_key, read_key
    from ocistate.signing.policy.model import (
        PUBLIC_GOOD,
        parse_identity,
        policy_of_flags,
        trust_root,
    )

    root = PUBLIC_GOOD
    if trusted_root:
        root = trust_root(_read(Path(trusted_root)), trusted_root)
    return (
        policy_of_flags(
            [load_public_key(read_key(key), origin=key) for key in keys],
            [parse_identity(text, root) for text in identities],
            allow_legacy=allow_legacy,
        ),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
