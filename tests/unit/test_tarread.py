"""Tars of every packer's form, and tars that no packer makes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from ocistate.errors import UnsafeContent
from ocistate.tarread import read_entries


def tar(
    *names: str,
    form: int = tarfile.PAX_FORMAT,
    change: Callable[[tarfile.TarInfo], None] | None = None,
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            if change is not None:
                change(info)
            archive.addfile(info, io.BytesIO(b"data") if info.isfile() else None)
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_of_every_form_are_read(form: int) -> None:
    names = ("a.yaml", "folder/" + "b" * 90 + ".yaml")
    data = tar(*names, form=form)
    entries = list(read_entries(data))
    assert [entry.name for entry in entries] == list(names)
    assert [data[entry.start : entry.start + entry.size] for entry in entries] == [b"data"] * 2


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(form: int) -> None:
    name = "n" * 300
    assert [entry.name for entry in read_entries(tar(name, form=form))] == [name]


@pytest.mark.parametrize(
    ("kind", "found"),
    [(tarfile.DIRTYPE, "folder"), (tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link")],
)
def test_folders_and_links_are_named_as_such(kind: bytes, found: str) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.size, info.linkname = kind, 0, "target"

    (entry,) = read_entries(tar("entry", change=change))
    assert (entry.kind, entry.size) == (found, 0)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE])
def test_devices_are_refused(kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.size = kind, 0

    with pytest.raises(UnsafeContent, match="not a regular file"):
        list(read_entries(tar("device", change=change)))


@pytest.mark.parametrize("cut", [0, 100, 512, 600, 1023])
def test_a_tar_that_ends_too_early_is_refused(cut: int) -> None:
    with pytest.raises(UnsafeContent, match="ends too early"):
        list(read_entries(tar("a.yaml", form=tarfile.USTAR_FORMAT)[:cut]))


def test_a_changed_header_is_refused_by_its_checksum() -> None:
    data = bytearray(tar("a.yaml", form=tarfile.USTAR_FORMAT))
    data[0] ^= 1
    with pytest.raises(UnsafeContent, match="checksum is wrong"):
        list(read_entries(bytes(data)))


def test_something_behind_the_end_is_refused() -> None:
    with pytest.raises(UnsafeContent, match="behind the tar's end"):
        list(read_entries(tar("a.yaml") + b"more"))


def test_a_path_for_all_files_is_refused_and_a_comment_is_not() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"comment": "commit 1"}) as archive:
        archive.addfile(tarfile.TarInfo("a.yaml"))
    assert [entry.name for entry in read_entries(out.getvalue())] == ["a.yaml"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"path": "all.yaml"}) as archive:
        archive.addfile(tarfile.TarInfo("a.yaml"))
    with pytest.raises(UnsafeContent, match="for all its files"):
        list(read_entries(out.getvalue()))
