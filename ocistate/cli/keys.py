"""``ocistate keygen`` and ``public-key``, and how every verb comes by a private key."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocistate.cli.output import note, result
from ocistate.errors import WrongPassword

if TYPE_CHECKING:
    from ocistate.signing.keys import Signer

PASSWORD_VARIABLES = ("OCISTATE_PASSWORD", "COSIGN_PASSWORD")
"""Environment variables that hold the password of a private key; the first one set counts."""


@click.command("keygen")
@click.argument("prefix", default="ocistate", type=click.Path(path_type=Path))
def keygen_command(prefix: Path) -> None:
    """Make a key pair: PREFIX.key to sign with, PREFIX.pub to verify with.

    The files are cosign's too. The password comes from OCISTATE_PASSWORD or COSIGN_PASSWORD, or is
    asked for.
    """
    from ocistate.signing.keys import write_key_pair

    password = _from_environment()
    if password is None:
        password = _ask("Password for the new private key", confirm=True)
    private, public = write_key_pair(prefix, password)
    note(f"{private} signs: keep it secret. {public} verifies: give it to everyone.")
    result(str(public))


@click.command("public-key")
@click.option(
    "--key",
    required=True,
    metavar="KEY",
    help="The private key: a file, env://NAME, or exec:COMMAND for a KMS or HSM.",
)
def public_key_command(key: str) -> None:
    """Print the public key (PEM) that belongs to a private key, for a TrustPolicy or --key."""
    click.echo(load_signer_for(key).public_key.pem, nl=False)


def load_signer_for(source: str) -> Signer:
    """The signer that ``--key`` names; the password is asked for when it is needed."""
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
            "the key's password is needed, and there is no terminal to ask on",
            hint="set OCISTATE_PASSWORD (it may be empty)",
        )
    value: str = click.prompt(
        text, default="", hide_input=True, confirmation_prompt=confirm, show_default=False, err=True
    )
    return value.encode()
