"""``ocistate completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell, to be sourced.

    For bash:

    \b
        ocistate completion bash > ~/.local/share/bash-completion/completions/ocistate
    """
    from ocistate.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(cli, {}, "ocistate", "_OCISTATE_COMPLETE").source())
