"""Collect the manifest files a user names: a folder, files, or standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from ocistate.artifact.manifests import MANIFEST_SUFFIXES, is_manifest_path
from ocistate.artifact.unpack import DEFAULT_LIMITS
from ocistate.errors import InputError, PolicyRefused
from ocistate.nofollow import open_below, open_regular

IGNORE_FILES: Final = (".sourceignore", ".ocistateignore")
STDIN_PATH: Final = "manifests.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Files by their path in the artifact, and the folder to ask git about."""

    files: dict[str, bytes]
    origin: Path


def collect(inputs: Sequence[str], *, stdin: bytes | None = None) -> Collected:
    """Read what ``DIR``, ``FILE…`` or ``-`` name.

    ``stdin`` is what standard input holds, needed when the only input is ``-``. Raises InputError
    or PolicyRefused, naming the file.
    """
    if list(inputs) == ["-"]:
        if stdin is None or not stdin.strip():
            raise InputError(
                "standard input is empty", hint="pipe in manifests, e.g. from kustomize build"
            )
        return Collected(files={STDIN_PATH: stdin}, origin=Path.cwd())
    if "-" in inputs:
        raise InputError("'-' cannot be combined with files", hint="give '-' alone, or files")
    paths = [Path(item) for item in inputs]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise InputError(
            f"{folders[0]} is a folder: one folder alone, or files", hint="put them in one folder"
        )
    if folders:
        return Collected(files=_read_folder(folders[0]), origin=folders[0])
    return _read_files(paths)


def _read_files(paths: Sequence[Path]) -> Collected:
    for path in paths:
        if not is_manifest_path(path.name):
            raise InputError(
                f"{path} is not a manifest file by its name",
                hint=f"manifests end in {', '.join(MANIFEST_SUFFIXES)}; or pipe it in with '-'",
            )
    full = [Path(os.path.abspath(path)) for path in paths]
    base = Path(os.path.commonpath([path.parent for path in full]))
    named: dict[str, Path] = {}
    for path in full:
        name = path.relative_to(base).as_posix()
        if name in named:
            raise InputError(f"{path} is named twice")
        named[name] = path
    return Collected(files=_read_all(named), origin=base)


def _read_folder(root: Path) -> dict[str, bytes]:
    named = {name: path for name, path in _walk(root, root, []) if is_manifest_path(name)}
    if not named:
        raise InputError(
            f"{root} holds no manifest files",
            hint=f"manifests end in {', '.join(MANIFEST_SUFFIXES)} and are not ignored",
        )
    return _read_all(named, root.resolve())


def _read_all(named: Mapping[str, Path], below: Path | None = None) -> dict[str, bytes]:
    """The files by name; what is too much for an artifact is refused before any is read.

    Of those ``below`` a folder, what was no link when it was looked at must be none now.
    """
    total = 0
    for path in named.values():
        try:
            total += path.stat().st_size
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if total > DEFAULT_LIMITS.total_bytes:
        raise InputError(
            f"the manifests weigh {total // 1024**2} MiB, "
            f"and an artifact may have {DEFAULT_LIMITS.total_bytes // 1024**2}",
            hint="split them into several artifacts",
        )
    if below is None:
        return {name: _read(path) for name, path in named.items()}
    # Only the file itself may be a link, never a folder on the way to it.
    inside = {
        name: path.resolve().relative_to(below) if path.is_symlink() else Path(name)
        for name, path in named.items()
    }
    return {name: _read(path, below) for name, path in inside.items()}


def _walk(
    root: Path, folder: Path, ignores: list[tuple[Path, GitIgnoreSpec]]
) -> Iterator[tuple[str, Path]]:
    ignores = ignores + [
        (folder, GitIgnoreSpec.from_lines(_read(folder / name).decode().splitlines()))
        for name in IGNORE_FILES
        if (folder / name).is_file()
    ]
    for path in sorted(folder.iterdir()):
        # Dot files are for tools (.git, .github, editors); no one applies them.
        if path.name.startswith("."):
            continue
        name = path.relative_to(root).as_posix()
        if _ignored(path, ignores):
            continue
        if path.is_symlink():
            _check_link(root, path)
        if path.is_dir():
            yield from _walk(root, path, ignores)
        elif not path.is_file():
            if is_manifest_path(name):
                raise InputError(
                    f"{path} is not a regular file", hint="remove it, or list it in .ocistateignore"
                )
        else:
            if any(ord(c) < 0x20 or 0xD800 <= ord(c) <= 0xDFFF for c in name) or "\\" in name:
                raise InputError(f"{name!r} is not a name that can be packed", hint="rename it")
            yield name, path


def _ignored(path: Path, ignores: list[tuple[Path, GitIgnoreSpec]]) -> bool:
    """gitignore's rule: of all files, the one nearest to the path has the last word."""
    for folder, spec in reversed(ignores):
        name = path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
        verdict = spec.check_file(name).include
        if verdict is not None:
            return verdict
    return False


def _check_link(root: Path, path: Path) -> None:
    target = path.resolve()
    if not target.is_relative_to(root.resolve()):
        raise PolicyRefused(
            f"{path} is a link that leaves {root}",
            hint="copy the file into the folder, or list the link in .ocistateignore",
        )
    if not target.exists():
        raise InputError(f"{path} is a link to nothing", hint="remove it, or fix it")
    if target.is_dir():
        raise InputError(
            f"{path} is a link to a folder",
            hint="its files would be packed twice: list the link in .ocistateignore",
        )


def _read(path: Path, below: Path | None = None) -> bytes:
    """A file's bytes; of one ``below`` a folder, no link on the way is followed."""
    try:
        with open_below(below, str(path)) if below else open_regular(path) as stream:
            return stream.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
