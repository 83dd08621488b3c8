"""Write an artifact's files into a new folder, all or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ocistate.errors import TargetError


def extract(files: Mapping[str, bytes], folder: Path) -> None:
    """Make ``folder`` hold exactly these files. It must not exist yet, or be empty.

    The paths must have come from ``artifact.unpack``, which lets no bad one out. The files are
    written beside the folder and renamed into place at the end, so that no one sees half of them.
    Raises TargetError.
    """
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise TargetError(f"{folder} is not a folder", hint="name a new one")
        if folder.exists() and any(folder.iterdir()):
            raise TargetError(
                f"{folder} is not empty", hint="name a new folder, or remove this one first"
            )
        parent = folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
        try:
            _write(files, staging)
            staging.chmod(0o777 & ~_umask())
            # rename() replaces an empty folder, and fails when someone filled it meanwhile.
            staging.rename(folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    except OSError as error:
        raise TargetError(
            f"cannot write to {folder}: {error.strerror or error}",
            hint="check the path, its permissions and the space left",
        ) from None


def _write(files: Mapping[str, bytes], staging: Path) -> None:
    for path in sorted(files):
        target = staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            stream.write(files[path])


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
