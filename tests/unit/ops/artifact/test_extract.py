"""Extraction: all or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocistate.errors import TargetError
from ocistate.ops.artifact import extract as module
from ocistate.ops.artifact.extract import extract

FILES = {"a.yaml": b"a", "sub/b.yaml": b"b"}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_folder_holds_the_files(tmp_path: Path) -> None:
    extract(FILES, tmp_path / "x" / "out")
    assert content(tmp_path / "x" / "out") == FILES


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    extract(FILES, tmp_path / "out")
    assert content(tmp_path / "out") == FILES


def test_the_umask_rules(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        extract(FILES, tmp_path / "out")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "out" / "a.yaml").stat().st_mode & 0o777 == 0o640


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for name in ("full", "file", "link"):
        with pytest.raises(TargetError):
            extract(FILES, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "full", "link"]
    assert content(tmp_path / "full") == {"x": b"x"}


def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._write

    def broken(files: dict[str, bytes], staging: Path) -> None:
        real({"a.yaml": b"a"}, staging)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", broken)
    with pytest.raises(TargetError, match="No space left"):
        extract(FILES, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
