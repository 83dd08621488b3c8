"""``ocistate pack`` and ``push``: signed before the tag moves, once, and nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments.shop import Ran, config_map, run
from tests.support.factories.keys import Key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a manifest and two keys."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.yaml").write_text(yaml.safe_dump(config_map("1")))
    for name in ("one", "two"):
        Key.make().write(tmp_path / name)
    return tmp_path


def push(folder: Path, *options: str, code: int = 0) -> Ran:
    store = f"layout:{folder}/store:prod"
    return run("push", folder / "app", store, "-o", "json", *options, code=code)


def signatures(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]]
    found = run("inspect", f"layout:{folder}/store:prod", "-o", "json").json["signatures"]
    return found


def test_a_repeated_push_signs_once_for_each_key(folder: Path) -> None:
    one, two = (("--sign", "--key", str(folder / f"{name}.key")) for name in ("one", "two"))
    first, again = push(folder, *one), push(folder, *one)
    assert (first.json["unchanged"], again.json["unchanged"]) == (False, True)
    assert "nothing was sent" in again.err
    assert len(signatures(folder)) == 1

    assert "one more signature was sent" in push(folder, *two).err
    assert len(signatures(folder)) == 2
    for name in ("one", "two"):
        run("verify", f"layout:{folder}/store:prod", "--key", folder / f"{name}.pub")


def test_the_artifact_that_the_tag_holds_gets_the_signature(folder: Path) -> None:
    first = push(folder)
    second = push(folder, "--sign", "--key", str(folder / "one.key"))
    assert first.json["digest"] == second.json["digest"]
    assert len(signatures(folder)) == 1


def test_a_dry_run_has_the_digest_that_a_push_gets(folder: Path) -> None:
    dry = push(folder, "--dry-run")
    assert not (folder / "store").exists()
    assert dry.json["digest"] == push(folder).json["digest"]


def test_pack_writes_a_layout_from_standard_input(folder: Path) -> None:
    manifest = (folder / "app" / "app.yaml").read_text()
    ran = run("pack", "-", f"layout:{folder}/packed:v1", "-t", "v2", stdin=manifest)
    assert ran.line.startswith(f"layout:{folder}/packed@sha256:")
    assert {row["tag"] for row in run("ls", f"layout:{folder}/packed", "-o", "json").json} == {
        "v1",
        "v2",
    }


@pytest.mark.parametrize(
    ("command", "reference", "options", "code", "said"),
    [
        ("pack", "registry.example.com/shop:v1", (), 2, "ocistate push"),
        ("push", "layout:{}/store@sha256:" + "0" * 64, (), 2, "names a digest"),
        ("push", "layout:{}/store:v1", ("--key", "one.key"), 2, "--sign"),
        ("push", "layout:{}/store:v1", ("--sign",), 2, "ocistate keygen"),
        ("push", "layout:{}/store:v1", ("--sign", "--key", "{}/none.key"), 30, "none.key"),
        ("push", "layout:{}/store:v1", ("--annotation", "novalue"), 4, "KEY=VALUE"),
        ("push", "layout:{}/store:channel-prod", (), 2, "channel"),
    ],
)
def test_wrong_options_leave_nothing_behind(
    folder: Path, command: str, reference: str, options: tuple[str, ...], code: int, said: str
) -> None:
    given = [text.replace("{}", str(folder)) for text in (reference, *options)]
    assert said in run(command, folder / "app", *given, code=code).err
    assert not (folder / "store").exists()


def test_secrets_with_plain_values_are_refused_unless_allowed(folder: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"a": "b"},
    }
    (folder / "app" / "secret.yaml").write_text(yaml.safe_dump(secret))
    assert "--allow-secrets" in push(folder, code=3).err
    assert not (folder / "store").exists()
    assert push(folder, "--allow-secrets").json["resources"] == 2
