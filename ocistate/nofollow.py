"""Files below a folder that others may write to: no link among them is followed, and nothing is
read but regular files.

A link leads out of the folder, and a FIFO or a device has no end, or never begins. What is opened
is looked at after it was opened, so that no one can put something else there in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Opening a FIFO would wait for a writer.
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading that the user named: it may be a link, but not lead to a FIFO or
    device. Raises OSError."""
    return _open(str(path), None, os.O_RDONLY, str(path))


def open_below(root: Path, path: str) -> BinaryIO:
    """Open a file for reading by its path below ``root``, following no link. Raises OSError."""
    with folder_below(root, path) as (folder, name):
        return _open(name, folder, os.O_NOFOLLOW, str(root / path))


def read_below(root: Path, path: str) -> bytes:
    """The bytes of a file as `open_below` opens it. Raises OSError."""
    with open_below(root, path) as stream:
        return stream.read()


@contextlib.contextmanager
def folder_below(root: Path, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The open folder in which ``path`` lies, below ``root``, and the name it has in there.

    No link on the way is followed; ``root`` itself may be one. With ``make``, folders that are not
    there are made. Raises OSError.
    """
    *parents, name = path.split("/")
    folder = os.open(root, _FOLDER)
    try:
        for part in parents:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
            try:
                inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            except OSError as error:
                raise _explained(error, str(root / path)) from None
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def _open(name: str, folder: int | None, more: int, shown: str) -> BinaryIO:
    try:
        descriptor = os.open(name, _READ | more, dir_fd=folder)
    except OSError as error:
        raise _explained(error, shown) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", shown)
    return os.fdopen(descriptor, "rb")


def _explained(error: OSError, shown: str) -> OSError:
    words = "it is a link, which is not followed" if error.errno == errno.ELOOP else error.strerror
    return OSError(error.errno, words, shown)
