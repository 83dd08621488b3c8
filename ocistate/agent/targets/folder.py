"""A folder as the target: verified files put there, kept equal, and taken away again.

For k3s's auto-deploy folder, static pods, ``podman kube play`` and anything else that reads
manifests from a folder. Files that are not ours are never touched.

The record says which files are ours. It is written before the first change (with everything the
change may create) and again after the last one, so that a run that was cut short is completed by
the next one, and nothing is ever left behind unknown.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ocistate.canonical import canonical_json, parse_json
from ocistate.durable import write_file
from ocistate.errors import TargetError
from ocistate.nofollow import folder_below, read_below

FileVerb = Literal["create", "change", "keep", "prune"]

_TEMPORARY: Final = ".ocistate-tmp"
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What a path gives where nothing of the folder is: a link there leads somewhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAction:
    """What has to happen to one file, by its path in the folder."""

    path: str
    verb: FileVerb


@dataclass(slots=True)
class OwnedFolder:
    """One Stack's files in a folder. ``record`` is where it remembers which they are."""

    folder: Path
    record: Path
    _seen: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)

    def owned(self) -> dict[str, str]:
        """The files that are ours, with the SHA-256 they should have. Raises TargetError."""
        return self._recorded()[0]

    def objects(self) -> frozenset[str]:
        """The objects that our files hold, as `apply` was told. Raises TargetError."""
        return self._recorded()[1]

    def _recorded(self) -> tuple[dict[str, str], frozenset[str]]:
        try:
            value = parse_json(self.record.read_bytes())
        except FileNotFoundError:
            return {}, frozenset()
        except (OSError, ValueError) as error:
            raise TargetError(
                f"the record {self.record} cannot be read: {error}",
                hint="remove it to start again; files already in the folder are then adopted "
                "where they are equal",
            ) from None
        files: Any = value.get("files") if isinstance(value, dict) else None
        objects: Any = value.get("objects", []) if isinstance(value, dict) else None
        if (
            not isinstance(files, dict)
            or not isinstance(objects, list)
            or not all(isinstance(each, str) for each in (*files.values(), *objects))
        ):
            raise TargetError(f"the record {self.record} is not one", hint="remove it")
        return files, frozenset(objects)

    def plan(self, files: Mapping[str, bytes], *, prune: bool = True) -> tuple[FileAction, ...]:
        """What would make the folder equal to ``files``. Touches nothing.

        Raises TargetError when a file is in the way that is not ours and not equal.
        """
        owned = self.owned()
        actions: list[FileAction] = []
        for path in sorted(files):
            self._check_parents(path)
            live = self._hash(path)
            if live is None:
                actions.append(FileAction(path=path, verb="create"))
            elif live == _sha256(files[path]):
                actions.append(FileAction(path=path, verb="keep"))
            elif path in owned:
                actions.append(FileAction(path=path, verb="change"))
            else:
                raise TargetError(
                    f"{self.folder / path} is there already and not ours",
                    hint="move it away, or name another folder",
                )
        if prune:
            actions += [
                FileAction(path=path, verb="prune")
                for path in sorted(owned.keys() - files.keys())
                if self._hash(path) is not None
            ]
        return tuple(actions)

    def apply(
        self, files: Mapping[str, bytes], *, prune: bool = True, objects: Collection[str] = ()
    ) -> tuple[FileAction, ...]:
        """Make the folder equal to ``files``, which hold ``objects``; returns what was done.

        Each file changes in one step, all are written out before the first one changes. Raises
        TargetError; what was done by then stands in the record.
        """
        actions = self.plan(files, prune=prune)
        owned, before = self._recorded()
        desired = {path: _sha256(content) for path, content in files.items()}
        done = [action for action in actions if action.verb != "keep"]
        if not done and owned == desired and before == frozenset(objects):
            return actions
        self._remember(owned | desired, before.union(objects))
        with self._reported():
            self._sweep(owned)
            self.folder.mkdir(parents=True, exist_ok=True)
            staged = [action.path for action in done if action.verb != "prune"]
            for path in staged:
                self._stage(path, files[path])
            for path in staged:
                self._put(path)
            for path in {path.rpartition("/")[0]: path for path in staged}.values():
                with folder_below(self.folder, path) as (folder, _):
                    os.fsync(folder)
            for path in owned.keys() - files.keys() if prune else ():
                self._remove(path)  # also the folder of one that never came
        kept = {} if prune else {path: owned[path] for path in owned.keys() - desired.keys()}
        self._remember(desired | kept, objects if prune else before.union(objects))
        return actions

    def remove(self) -> tuple[FileAction, ...]:
        """Take away everything that is ours, and the record."""
        done = []
        owned = self.owned()
        with self._reported():
            self._sweep(owned)
        for path in sorted(owned):
            if self._hash(path) is not None:
                done.append(FileAction(path=path, verb="prune"))
            with self._reported():
                self._remove(path)
        self.record.unlink(missing_ok=True)
        return tuple(done)

    def _sweep(self, paths: Iterable[str]) -> None:
        """Remove what a run that was cut short had written out and not put in place."""
        for path in paths:
            self._unlink(_temporary(path))

    def _stage(self, path: str, content: bytes) -> None:
        """Write a file out beside its place."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with folder_below(self.folder, _temporary(path), make=True) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            with os.fdopen(os.open(name, flags, 0o644, dir_fd=folder), "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())

    def _put(self, path: str) -> None:
        """Put in its place what was written out."""
        with folder_below(self.folder, path) as (folder, name):
            aside = _temporary(path).rpartition("/")[2]
            os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _remove(self, path: str) -> None:
        self._unlink(path)
        while (path := path.rpartition("/")[0]) != "":
            try:
                with folder_below(self.folder, path) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            except OSError:
                break  # something else lives there

    def _unlink(self, path: str) -> None:
        """Remove a file of the folder; what lies behind a link is not of the folder."""
        try:
            with folder_below(self.folder, path) as (folder, name):
                os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise

    def _hash(self, path: str) -> str | None:
        """The file's SHA-256, ``""`` for what is not a regular file, None where nothing is.

        A file whose status (size, times, inode) has not changed since is not read again.
        """
        try:
            with folder_below(self.folder, path) as (folder, name):
                status = os.lstat(name, dir_fd=folder)
                if not stat.S_ISREG(status.st_mode):
                    return ""
                mark = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                known = self._seen.get(path)
                if known and known[0] == mark:
                    return known[1]
                digest = _sha256(read_below(self.folder, path))
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise TargetError(f"{self.folder / path} cannot be read: {error.strerror}") from None
        self._seen[path] = (mark, digest)
        return digest

    def _check_parents(self, path: str) -> None:
        """A link among the parents would lead the write somewhere else."""
        current = self.folder
        for part in path.split("/")[:-1]:
            current = current / part
            if current.is_symlink() or (current.exists() and not current.is_dir()):
                raise TargetError(
                    f"{current} is not a folder, but {path} belongs below it",
                    hint="move it away, or name another folder",
                )

    def _remember(self, files: Mapping[str, str], objects: Iterable[str] = ()) -> None:
        with self._reported():
            self.record.parent.mkdir(parents=True, exist_ok=True)
            value = {"files": dict(files), "objects": sorted(objects)}
            write_file(self.record, canonical_json(value))

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetError(
                f"cannot write {error.filename or self.folder}: {error.strerror or error}",
                hint="check its permissions and the space left; the next run goes on from here",
            ) from None


def _temporary(path: str) -> str:
    """A dot file with no manifest's suffix: the programs that watch such folders pass it over."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}.{name}{_TEMPORARY}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
