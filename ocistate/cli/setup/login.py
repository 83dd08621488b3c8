"""``ocistate login`` and ``ocistate logout``: credentials for a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import note, result, warn
from ocistate.cli.common.registry import registry_options
from ocistate.errors import UsageError
from ocistate.reference import parse_reference

if TYPE_CHECKING:
    from ocistate.oci import StoreOptions


@click.command("login")
@click.argument("registry", metavar="REGISTRY")
@click.option("-u", "--username", help="The user's name; prompted for by default.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@registry_options
def login_command(
    registry: str, username: str | None, password_stdin: bool, options: StoreOptions
) -> None:
    """Check credentials with a registry and keep them where docker does.

    That is $REGISTRY_AUTH_FILE or docker's config.json, or the credential helper it names.
    """
    from ocistate.oci.registry.credentials import Credentials
    from ocistate.oci.registry.login import check_credentials, keep_credentials

    host = _host(registry)
    if password_stdin and not username:
        raise UsageError("--password-stdin needs --username", hint="add --username NAME")
    if not password_stdin and not sys.stdin.isatty():
        raise UsageError(
            "cannot prompt for the password: standard input is not a terminal",
            hint="add --password-stdin and pipe the password in",
        )
    username = username or click.prompt("Username", err=True)
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, err=True)
    if not password or ":" in username or not (username + password).isprintable():
        raise UsageError(
            "the password is empty, the user's name has a ':', or something is unprintable",
            hint="give the registry's user name and password or token",
        )
    credentials = Credentials(username=username, password=password)
    if not run_async(check_credentials(host, credentials, options)):
        warn(f"{host} asks for no credentials, so these could not be checked")
    kept = keep_credentials(host, credentials)
    if kept.helper:
        note(f"Kept by docker-credential-{kept.helper}")
    else:
        note(f"Kept unencrypted in {kept.path}; a credential helper would keep it safer")
    result(host)


@click.command("logout")
@click.argument("registry", metavar="REGISTRY")
def logout_command(registry: str) -> None:
    """Remove a registry's credentials from where they are kept."""
    from ocistate.oci.registry.login import forget_credentials

    host = _host(registry)
    removed = forget_credentials(host)
    if not removed:
        note(f"There were no credentials for {host}")
    for kept in removed:
        place = f"docker-credential-{kept.helper}" if kept.helper else str(kept.path)
        note(f"Removed from {place}")
    result(host)


def _host(text: str) -> str:
    """``HOST[:PORT]``, which may be written as the URL of a registry. Raises UsageError."""
    bare = text.removeprefix("https://").removeprefix("oci://").rstrip("/")
    if "/" in bare or "@" in bare or not bare:
        raise UsageError(f"{text!r} is not a registry", hint="write HOST[:PORT] and nothing else")
    return parse_reference(f"{bare}/x").registry
