"""``ocistate keygen`` and ``public-key``, and the options that name a signer."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.output import note, result
from ocistate.errors import ConfigError, UsageError, WrongPassword

if TYPE_CHECKING:
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.keys import Signer

Load = Callable[[], "Signer | IdentitySigner"]
"""Loads the signer: unlocks the key, or fetches the identity's token."""

PASSWORD_VARIABLES = ("OCISTATE_PASSWORD", "COSIGN_PASSWORD")
"""Environment variables that hold the password of a private key; the first one set counts."""


@click.command("keygen")
@click.argument("prefix", default="ocistate", type=click.Path(path_type=Path))
def keygen_command(prefix: Path) -> None:
    """Make a key pair: PREFIX.key to sign with, PREFIX.pub to verify with.

    cosign can use the files too. The password is read from OCISTATE_PASSWORD or COSIGN_PASSWORD, or
    from the terminal.
    """
    from ocistate.signing.keys import write_key_pair

    password = _from_environment()
    if password is None:
        password = _ask("Password for the new private key", confirm=True)
    private, public = write_key_pair(prefix, password)
    note(f"{private} signs: keep it secret. {public} verifies: publish it.")
    result(str(public))


@click.command("public-key")
@click.option(
    "--key",
    required=True,
    metavar="KEY",
    help="The private key: a file, env://NAME, or exec:COMMAND for a KMS or HSM.",
)
def public_key_command(key: str) -> None:
    """Print the public key (PEM) of a private key, for a TrustPolicy or --key."""
    click.echo(load_signer_for(key).public_key.pem, nl=False)


def signer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Who signs, by key or identity: the command gets ``load``, or None when neither is given."""

    @click.option(
        "--key",
        metavar="KEY",
        help="The private key: a file, env://NAME, or exec:COMMAND for a KMS or HSM.",
    )
    @click.option(
        "--identity",
        is_flag=True,
        help="Sign keyless, as the OIDC identity of this CI job.",
    )
    @click.option(
        "--identity-token",
        metavar="FILE|env://NAME",
        help="Sign keyless, as the identity of this OIDC token.",
    )
    @click.option(
        "--trust-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="With an identity: the Sigstore instance (ClientTrustConfig) to use.",
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        key: str | None,
        identity: bool,
        identity_token: str | None,
        trust_config: Path | None,
        **kwargs: Any,
    ) -> Any:
        as_identity = identity or identity_token is not None or trust_config is not None
        if key and as_identity:
            raise UsageError(
                "--key cannot be combined with --identity, --identity-token or --trust-config",
                hint="sign twice, once with each",
            )
        load: Load | None = None
        if key:
            load = functools.partial(load_signer_for, key)
        elif as_identity:
            load = functools.partial(load_identity, identity_token, trust_config)
        return command(*args, load=load, **kwargs)

    return wrapper


def required_signer(load: Load | None) -> Signer | IdentitySigner:
    """The signer that the options name. Raises UsageError when they name none."""
    return checked_load(load)()


def checked_load(load: Load | None) -> Load:
    """What loads the signer. Raises UsageError when the options name none."""
    if load is None:
        raise UsageError(
            "no signer given",
            hint="give --key FILE ('ocistate keygen' makes one), or --identity in a CI job",
        )
    return load


def signer_facts(signer: Signer | IdentitySigner) -> dict[str, str]:
    """Who signed, for JSON output."""
    from ocistate.signing.identity import IdentitySigner

    if isinstance(signer, IdentitySigner):
        return {"key": "", "identity": signer.name}
    return {"key": signer.public_key.fingerprint, "identity": ""}


def load_identity(token: str | None, trust_config: Path | None) -> IdentitySigner:
    """The identity to sign as. Raises IdentityError for a token that cannot be used."""
    from ocistate.signing.identity import IdentitySigner, find_token

    try:
        config = trust_config.read_bytes() if trust_config else b""
    except OSError as error:
        raise ConfigError(f"{trust_config} cannot be read: {error.strerror}") from None
    signer = IdentitySigner(find_token(token), config)
    note(f"Signing as {signer.name}")
    return signer


def load_signer_for(source: str) -> Signer:
    """The signer that ``--key`` names; prompts for a password when it needs one."""
    from ocistate.signing.command import PREFIX, load_command
    from ocistate.signing.keys import load_private_key, read_key

    if source.startswith(PREFIX):
        return load_command(source, hidden=PASSWORD_VARIABLES)
    return load_private_key(read_key(source), lambda: _password(source), origin=source)


def _password(source: str) -> bytes:
    found = _from_environment()
    return _ask(f"Password of {source}", confirm=False) if found is None else found


def _from_environment() -> bytes | None:
    for name in PASSWORD_VARIABLES:
        if name in os.environ:
            return os.environ[name].encode()
    return None


def _ask(text: str, *, confirm: bool) -> bytes:
    if not sys.stdin.isatty():
        raise WrongPassword(
            "the key needs a password, and standard input is not a terminal",
            hint="set OCISTATE_PASSWORD (it may be empty)",
        )
    value: str = click.prompt(
        text, default="", hide_input=True, confirmation_prompt=confirm, show_default=False, err=True
    )
    return value.encode()
