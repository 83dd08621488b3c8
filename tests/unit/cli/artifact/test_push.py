"""Pushing and signing in one: before the tag, and once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, ocistate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "shop")
    ocistate("keygen", "one", cwd=tmp_path)
    ocistate("keygen", "two", cwd=tmp_path)
    return tmp_path


def push(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    done = ocistate("push", "shop", "layout:store:prod", "-o", "json", *options, cwd=folder)
    return json.loads(done.out), done.err


def signatures(folder: Path) -> int:
    done = ocistate("inspect", "layout:store:prod", "-o", "json", cwd=folder)
    return len(json.loads(done.out)["signatures"])


def test_a_push_repeated_signs_once_for_each_key(folder: Path) -> None:
    first, _ = push(folder, "--sign", "--key", "one.key")
    again, told = push(folder, "--sign", "--key", "one.key")
    assert (first["unchanged"], again["unchanged"]) == (False, True)
    assert "nothing was sent" in told
    assert signatures(folder) == 1

    _, told = push(folder, "--sign", "--key", "two.key")
    assert "one more signature was sent" in told
    assert signatures(folder) == 2
    for key in ("one.pub", "two.pub"):
        ocistate("verify", "layout:store:prod", "--key", key, cwd=folder)


def test_what_the_tag_holds_already_is_what_gets_the_signature(folder: Path) -> None:
    first, _ = push(folder)
    second, _ = push(folder, "--sign", "--key", "one.key")
    assert first["digest"] == second["digest"]
    assert signatures(folder) == 1
