"""Which cluster and namespace a command works on."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ocistate.cli.common.cluster import ClusterOptions, cluster_options, cluster_options_with


@click.command()
@cluster_options
def command(where: ClusterOptions) -> None:
    """Show what is given."""
    click.echo(repr((where.namespace, where.context, where.kubeconfig, where.is_given)))


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ([], ("", None, None, False)),
        (["-n", "shop"], ("shop", None, None, True)),
        (["--context", "east"], ("", "east", None, True)),
        (["--kubeconfig", "kc"], ("", None, Path("kc"), True)),
    ],
)
def test_the_options_come_as_one_value(args: list[str], shown: tuple[object, ...]) -> None:
    assert CliRunner().invoke(command, args).output.strip() == repr(shown)


def test_a_command_may_have_its_own_help() -> None:
    @click.command()
    @cluster_options_with("Only this one.", "For Stacks.")
    def other(where: ClusterOptions) -> None: ...

    output = CliRunner().invoke(other, ["--help"]).output
    assert "Only this one." in output
    assert "For Stacks." in output
