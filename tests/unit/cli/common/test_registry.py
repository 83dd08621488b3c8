"""How to reach registries, by flags: one side, or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from ocistate.cli.common import registry
from ocistate.errors import UsageError
from ocistate.oci import StoreOptions


@click.command()
@registry.registry_options
def one(options: StoreOptions) -> None:
    certificate = options.client_certificate
    click.echo(f"{options.insecure} {options.ca_file} {certificate.key if certificate else None!r}")


def invoke(command: click.Command, *args: str) -> str:
    ran = CliRunner().invoke(command, args, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output.strip()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    return {name: str(tmp_path / name) for name in ("ca", "cert", "key")}


def test_flags_become_the_options_of_a_store(files: dict[str, str]) -> None:
    assert invoke(one) == "False None None"
    certificate = ("--client-cert", files["cert"], "--client-key", files["key"])
    assert (
        invoke(one, "--insecure", "--ca-file", files["ca"], *certificate)
        == f"True {files['ca']} b'key'"
    )


@pytest.mark.parametrize("flag", ["--client-cert", "--client-key"])
def test_certificate_and_key_need_each_other(files: dict[str, str], flag: str) -> None:
    with pytest.raises(UsageError, match="--client-cert and --client-key go together"):
        invoke(one, flag, files["key"])


def test_each_of_two_sides_has_its_own_flags(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_connect", lambda options: options)

    @click.command()
    @registry.two_store_options
    def two(connect_from: Any, connect_to: Any) -> None:
        sides = (connect_from, connect_to)
        click.echo(str([(side.insecure, side.ca_file is not None) for side in sides]))

    assert invoke(two, "--insecure") == "[(True, False), (True, False)]"
    assert invoke(two, "--from-insecure") == "[(True, False), (False, False)]"
    assert invoke(two, "--to-ca-file", files["ca"]) == "[(False, False), (False, True)]"
    with pytest.raises(UsageError, match="--to-client-cert and --to-client-key"):
        invoke(two, "--to-client-key", files["key"])


def test_a_mirror_is_a_repository(files: dict[str, str]) -> None:
    @click.command()
    @registry.source_options
    def source(connect: Any) -> None: ...

    assert invoke(source, "--mirror", "reg.io/mirror") == ""
    with pytest.raises(UsageError, match=r"--mirror reg\.io/mirror:v1"):
        invoke(source, "--mirror", "reg.io/mirror:v1")
