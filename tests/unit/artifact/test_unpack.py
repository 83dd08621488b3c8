from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocistate.artifact.unpack import FileSet, Limits, decompress, safe_path, untar, untar_into
from ocistate.errors import UnsafeContent

END = b"\0" * 1024
SMALL = Limits(total_bytes=4096, file_bytes=2048, files=5, path_length=60, path_depth=4)


def header(
    name: bytes = b"f.yaml",
    *,
    size: bytes | int = 0,
    kind: bytes = b"0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    start = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field.ljust(12, b"\0")
    rest = kind + link.ljust(100, b"\0") + magic + b"\0" * 80
    block = start + b"0" * 12 + b" " * 8 + rest + prefix.ljust(155, b"\0") + b"\0" * 12
    if checksum is None:
        checksum = b"%06o\0 " % sum(block)
    return block[:148] + checksum + block[156:]


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 512)


def entry(name: bytes, content: bytes = b"", **more: bytes) -> bytes:
    return header(name, size=len(content), **more) + padded(content)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest) + 1
    while len(b"%d" % size) + len(rest) != size:
        size += 1
    return b"%d" % size + rest


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return entry(b"PaxHeader", b"".join(record(*item) for item in records), kind=kind)


def good_tar(files: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


LONG = "/".join(["folder-with-a-long-name"] * 6) + "/" + "é" * 60 + ".yaml"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read(form: int) -> None:
    name = "a/" * 60 + "b.yaml" if form == tarfile.USTAR_FORMAT else LONG
    files = {"a.yaml": b"1", "b/c.yaml": b"x" * 513, name: b"long", "empty.yaml": b""}
    assert untar(good_tar(files.items(), form), limits=Limits(path_depth=70)) == files


def test_folders_are_passed_over_and_names_made_plain() -> None:
    data = entry(b"./", kind=b"5") + entry(b"a/", kind=b"5") + entry(b"./a//b.yaml", b"1") + END
    assert untar(data) == {"a/b.yaml": b"1"}


def test_tars_older_than_ustar_are_read() -> None:
    blank = b"\0" * 8
    data = entry(b"d/", kind=b"\0", magic=blank) + entry(b"d/f", b"1", kind=b"\0", magic=blank)
    assert untar(data + END) == {"d/f": b"1"}


def test_the_prefix_counts_only_in_posix_form() -> None:
    posix = entry(b"f", b"1", prefix=b"a/b")
    gnu = entry(b"g", b"2", prefix=b"14000000000", magic=b"ustar  \0")
    assert untar(posix + gnu + END) == {"a/b/f": b"1", "g": b"2"}


def test_a_global_header_with_a_comment_is_passed_over() -> None:
    data = pax((b"comment", b"c" * 40), kind=b"g") + entry(b"f", b"1") + END
    assert untar(data) == {"f": b"1"}


def test_other_pax_records_mean_nothing() -> None:
    records = [
        (b"mtime", b"1.5"),
        (b"uname", b"\xff"),
        (b"SCHILY.xattr.user.x", b"\0\n=1"),
        (b"hdrcharset", b"ISO-IR 10646 2000 UTF-8"),
        (b"linkpath", b"/etc/passwd"),
    ]
    assert untar(pax(*records) + entry(b"f", b"1") + END) == {"f": b"1"}


def test_a_pax_size_rules_over_the_headers() -> None:
    data = pax((b"size", b"3")) + header(b"f", size=0) + padded(b"abc") + END
    assert untar(data) == {"f": b"abc"}


def test_zeros_behind_the_end_are_padding() -> None:
    assert untar(entry(b"f", b"1") + b"\0" * 10240) == {"f": b"1"}
    assert untar(entry(b"f", b"1") + b"\0" * 512) == {"f": b"1"}


def test_links_are_left_out_where_other_tools_pack_them() -> None:
    links = entry(b"l", kind=b"2", link=b"/etc/passwd") + entry(b"h", kind=b"1", link=b"f")
    assert untar(entry(b"f", b"1") + links + END, skip_links=True) == {"f": b"1"}


PAX_PATH = [b"/etc/passwd", b"../x", b"a/../../x", b"a\\b", b"c:x", b"a\nb", b"\xff", b"a\x7f"]

HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"x",
    "garbage": bytes(range(256)) * 40,
    "text": b"apiVersion: v1\nkind: ConfigMap\n" * 40,
    "gzip": gzip.compress(entry(b"f", b"1") + END),
    "absolute": entry(b"/etc/passwd", b"1") + END,
    "double slash": entry(b"//etc/passwd", b"1") + END,
    "parent": entry(b"../x", b"1") + END,
    "parent inside": entry(b"a/../../x", b"1") + END,
    "parent of a folder": entry(b"../", kind=b"5") + END,
    "absolute folder": entry(b"/tmp/", kind=b"5") + END,
    "backslash": entry(b"a\\..\\x", b"1") + END,
    "drive": entry(b"C:/x", b"1") + END,
    "control character": entry(b"a\x1bb", b"1") + END,
    "newline": entry(b"a\nb", b"1") + END,
    "delete": entry(b"a\x7f", b"1") + END,
    "c1 control": entry("a\x9b".encode(), b"1") + END,
    "not utf-8": entry(b"a\xff", b"1") + END,
    "surrogate": entry("a\udc80".encode("utf-8", "surrogatepass"), b"1") + END,
    "no name": entry(b"", b"1") + END,
    "the folder as a file": entry(b".", b"1") + END,
    "prefix that climbs": entry(b"x", b"1", prefix=b"..") + END,
    "absolute prefix": entry(b"x", b"1", prefix=b"/etc") + END,
    "symlink": entry(b"l", kind=b"2", link=b"f") + END,
    "hard link": entry(b"l", kind=b"1", link=b"f") + END,
    "symlink then file through it": entry(b"l", kind=b"2", link=b"/etc") + entry(b"l/x") + END,
    "link with a size": header(b"l", size=512, kind=b"1", link=b"f") + entry(b"x", b"1") + END,
    "folder with a size": header(b"d/", size=512, kind=b"5") + entry(b"x", b"1") + END,
    "old folder with a size": header(b"d/", size=512) + padded(b"1") + END,
    "character device": entry(b"d", kind=b"3") + END,
    "block device": entry(b"d", kind=b"4") + END,
    "fifo": entry(b"d", kind=b"6") + END,
    "gnu sparse": entry(b"f", b"1", kind=b"S") + END,
    "gnu dump folder": entry(b"f", b"1", kind=b"D") + END,
    "gnu multi-volume": entry(b"f", b"1", kind=b"M") + END,
    "gnu volume name": entry(b"f", kind=b"V") + END,
    "solaris header": entry(b"f", b"1", kind=b"X") + END,
    "unknown kind": entry(b"f", b"1", kind=b"Z") + END,
    "pax sparse 0.0": pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.offset", b"0")) + entry(b"f"),
    "pax sparse 0.1": pax((b"GNU.sparse.map", b"0,1")) + entry(b"f", b"1") + END,
    "pax sparse 1.0": pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"))
    + entry(b"f", b"1")
    + END,
    "the same file twice": entry(b"f", b"1") + entry(b"f", b"2") + END,
    "the same file twice by another spelling": entry(b"f", b"1") + entry(b"./f", b"2") + END,
    "case twins": entry(b"a.yaml", b"1") + entry(b"A.yaml", b"2") + END,
    "sharp s": entry("ß".encode(), b"1") + entry(b"SS", b"2") + END,
    "unicode twins": entry("é".encode(), b"1") + entry("e\u0301".encode(), b"2") + END,
    "file as folder": entry(b"a", b"1") + entry(b"a/b", b"2") + END,
    "folder as file": entry(b"a/b", b"1") + entry(b"a", b"2") + END,
    "deep file as folder": entry(b"a/b/c/d", b"1") + entry(b"a/b", b"2") + END,
    "file as folder by case": entry(b"A", b"1") + entry(b"a/b", b"2") + END,
    "empty folder as file": entry(b"a/", kind=b"5") + entry(b"a", b"2") + END,
    "file as empty folder": entry(b"a", b"1") + entry(b"a/", kind=b"5") + END,
    "size beyond the end": header(b"f", size=10**9) + END,
    "enormous size": header(b"f", size=b"\x80" + b"\xff" * 11) + END,
    "negative size": header(b"f", size=b"\xff" * 12) + END,
    "size that is no number": header(b"f", size=b"zzzzzzzzzzz\0") + END,
    "size with a sign": header(b"f", size=b"-0000000001\0") + END,
    "size in decimal": header(b"f", size=b"00000000009\0") + END,
    "wrong checksum": header(b"f", checksum=b"000001\0 ") + END,
    "checksum that is no number": header(b"f", checksum=b"xxxxxx\0 ") + END,
    "second header broken": entry(b"f", b"1") + header(b"g", checksum=b"000001\0 ") + END,
    "half a header": entry(b"f", b"1")[:300],
    "content cut": header(b"f", size=600) + b"x" * 512,
    "padding cut": entry(b"f", b"1")[:-1],
    "no end": entry(b"f", b"1"),
    "data behind the end": entry(b"f", b"1") + END + entry(b"g", b"1") + END,
    "a byte behind the end": entry(b"f", b"1") + END + b"x",
    "an odd byte behind the end": entry(b"f", b"1") + END + b"\0x",
    "data behind one zero block": entry(b"f", b"1") + b"\0" * 512 + entry(b"g", b"1") + END,
    "pax header alone": pax((b"path", b"f")) + END,
    "pax headers in a row": pax((b"path", b"f")) + pax((b"path", b"g")) + entry(b"h", b"1") + END,
    "pax headers without end": pax((b"path", b"f")) * 5000,
    "empty pax headers without end": entry(b"p", kind=b"x") * 5000,
    "long names without end": entry(b"l", b"f", kind=b"L") * 5000,
    "long name alone": entry(b"l", b"f", kind=b"L") + END,
    "long name that climbs": entry(b"l", b"../f\0", kind=b"L") + entry(b"x", b"1") + END,
    "long name not utf-8": entry(b"l", b"\xff\0", kind=b"L") + entry(b"x", b"1") + END,
    "long name and pax path": entry(b"l", b"a", kind=b"L") + pax((b"path", b"b")) + entry(b"c"),
    "pax path and long name": pax((b"path", b"b")) + entry(b"l", b"a", kind=b"L") + entry(b"c"),
    "huge pax header": header(b"p", size=2 << 20, kind=b"x") + b"\0" * (2 << 20) + END,
    "huge long name": header(b"p", size=2 << 20, kind=b"L") + b"a" * (2 << 20) + END,
    "pax header cut": header(b"p", size=1000, kind=b"x") + b"1" * 512,
    "pax without equals": entry(b"p", b"7 path\n", kind=b"x") + entry(b"f") + END,
    "pax without key": entry(b"p", b"5 =f\n", kind=b"x") + entry(b"f") + END,
    "pax without length": entry(b"p", b"path=f\n", kind=b"x") + entry(b"f") + END,
    "pax length too long": entry(b"p", b"99 path=f\n", kind=b"x") + entry(b"f") + END,
    "pax length too short": entry(b"p", b"3 path=f\n", kind=b"x") + entry(b"f") + END,
    "pax length zero": entry(b"p", b"0 path=f\n", kind=b"x") + entry(b"f") + END,
    "pax length huge": entry(b"p", b"9" * 5000 + b" path=f\n", kind=b"x") + entry(b"f") + END,
    "pax of digits": entry(b"p", b"1" * 500_000, kind=b"x") + entry(b"f") + END,
    "pax of blanks": entry(b"p", b" " * 5000, kind=b"x") + entry(b"f") + END,
    "pax length in other digits": entry(b"p", "\u0661\u0661 path=f\n".encode(), kind=b"x")
    + entry(b"f"),
    "pax path empty": pax((b"path", b"")) + entry(b"f", b"1") + END,
    "pax path with NUL": pax((b"path", b"a\0b")) + entry(b"f", b"1") + END,
    "pax size with sign": pax((b"size", b"-1")) + entry(b"f", b"1") + END,
    "pax size of many digits": pax((b"size", b"9" * 5000)) + entry(b"f", b"1") + END,
    "pax size in other digits": pax((b"size", "\u0661".encode())) + entry(b"f", b"1") + END,
    "pax size beyond the end": pax((b"size", b"99999999999")) + entry(b"f", b"1") + END,
    "pax binary charset": pax((b"hdrcharset", b"BINARY")) + entry(b"f", b"1") + END,
    "global path": pax((b"path", b"f"), kind=b"g") + entry(b"g", b"1") + END,
    "global size": pax((b"size", b"0"), kind=b"g") + entry(b"g", b"1") + END,
    "global sparse": pax((b"GNU.sparse.major", b"1"), kind=b"g") + entry(b"g", b"1") + END,
    "very long path": pax((b"path", b"a" * 5000)) + entry(b"f", b"1") + END,
    "very long part": pax((b"path", b"a" * 300)) + entry(b"f", b"1") + END,
    "very deep path": pax((b"path", b"a/" * 200 + b"b")) + entry(b"f", b"1") + END,
    **{f"pax path {p!r}": pax((b"path", p)) + entry(b"f", b"1") + END for p in PAX_PATH},
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("skip_links", [False, True])
def test_hostile_tars_are_refused(name: str, skip_links: bool) -> None:
    data = HOSTILE[name]
    if skip_links and name in ("symlink", "hard link"):
        assert untar(data, skip_links=True) == {}
        return
    if skip_links and name.startswith("symlink then"):
        assert untar(data, skip_links=True) == {"l/x": b""}
        return
    with pytest.raises(UnsafeContent):
        untar(data, skip_links=skip_links)


def test_names_end_at_their_first_nul_as_in_every_tar() -> None:
    assert untar(entry(b"a\0/../b", b"1") + END) == {"a": b"1"}


@pytest.mark.parametrize(
    "data",
    [
        b"".join(entry(b"f%d" % n, b"1") for n in range(6)) + END,
        b"".join(entry(b"d%d/" % n, kind=b"5") for n in range(6)) + END,
        b"".join(entry(b"d%d" % n, kind=b"2") for n in range(6)) + END,
        entry(b"f", b"1" * 2049) + END,
        b"".join(entry(b"f%d" % n, b"1" * 1100) for n in range(4)) + END,
        entry(b"a" * 61, b"1") + END,
        entry(b"a/b/c/d/e", b"1") + END,
    ],
    ids=["files", "folders", "links", "file size", "all sizes", "path length", "path depth"],
)
def test_each_limit_is_kept(data: bytes) -> None:
    with pytest.raises(UnsafeContent):
        untar(data, limits=SMALL, skip_links=True)


@pytest.mark.parametrize(
    ("data", "files"),
    [
        (b"".join(entry(b"f%d" % n, b"1") for n in range(5)), 5),
        (b"".join(entry(b"d%d/" % n, kind=b"5") for n in range(5)), 0),
        (entry(b"f", b"1" * 2048), 1),
        (b"".join(entry(b"f%d" % n, b"1" * 1024) for n in range(4)), 4),
        (entry(b"a" * 60, b"1"), 1),
        (entry(b"a/b/c/d", b"1"), 1),
    ],
    ids=["files", "folders", "file size", "all sizes", "path length", "path depth"],
)
def test_what_is_just_within_each_limit_is_read(data: bytes, files: int) -> None:
    assert len(untar(data + END, limits=SMALL)) == files


def test_links_are_refused_unless_they_are_to_be_left_out() -> None:
    link = entry(b"l", kind=b"2", link=b"/etc/passwd") + END
    with pytest.raises(UnsafeContent, match="is a link"):
        untar(link)
    with pytest.raises(UnsafeContent, match="is a link"):
        untar_into(FileSet(), link)


def test_files_that_come_in_one_by_one_are_bounded_too() -> None:
    found = FileSet(SMALL)
    for number in range(3):
        found.add(str(number), b"1" * 1365)
    with pytest.raises(UnsafeContent, match="too large"):
        found.add("x", b"12")
    found.add("x", b"1")
    assert found.total_bytes == 4096
    found.add("y", b"")
    with pytest.raises(UnsafeContent, match="more than 5 files"):
        found.add("z", b"")
    with pytest.raises(UnsafeContent, match="too large"):
        FileSet(SMALL).add("x", b"1" * 2049)


def test_one_file_is_never_in_another_ones_way() -> None:
    found = FileSet()
    found.add("a/b", b"1")
    found.add_folder("c/d")
    for path, says in (
        ("a/b", "is there twice"),
        ("A/B", "are one file on some file systems"),
        ("a", "is a file and a folder"),
        ("c", "is a file and a folder"),
        ("C/D", "is a file and a folder"),
        ("a/b/c", "'a/b' is a file, and a folder too"),
    ):
        with pytest.raises(UnsafeContent, match=says):
            found.add(path, b"2")
    with pytest.raises(UnsafeContent, match="is a file and a folder"):
        found.add_folder("a/b")
    assert found.files == {"a/b": b"1"}


def test_an_entry_without_a_name_is_no_path() -> None:
    with pytest.raises(UnsafeContent):
        safe_path("")
    assert safe_path("./") == ""


def test_a_declared_size_is_refused_before_it_is_read() -> None:
    size = 100 * 1024 * 1024
    data = header(b"f", size=size) + b"\0" * size + END
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeContent, match="too large: one file may have 64 MiB"):
            untar(data, limits=Limits(file_bytes=64 * 1024 * 1024))
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_any_cut_of_a_tar_is_refused() -> None:
    data = good_tar([("a.yaml", b"1" * 700), (LONG, b"2"), ("c.yaml", b"")])
    last = len(data.rstrip(b"\0"))
    for end in range(0, last + 1, 64):
        with pytest.raises(UnsafeContent):
            untar(data[:end])


BASE = good_tar([("a.yaml", b"kind: A\n"), (LONG, b"2" * 600), ("d/c.yaml", b"")])
BASE_GNU = good_tar([("a.yaml", b"kind: A\n"), (LONG, b"2" * 600)], tarfile.GNU_FORMAT)


def fix_checksums(data: bytearray) -> bytes:
    for start in range(0, len(data) - 511, 512):
        block = data[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(data)


def unpacked_or_refused(data: bytes) -> dict[str, bytes]:
    try:
        return untar(data, skip_links=True)
    except UnsafeContent:
        return {}


@settings(max_examples=500)
@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_a_mutated_tar_is_read_safely_or_refused(
    gnu: bool, edits: list[tuple[int, int]], mend: bool
) -> None:
    # By name, since Hypothesis warns of arguments as long as a tar.
    data = bytearray(BASE_GNU if gnu else BASE)
    for place, byte in edits:
        data[place % len(data)] = byte
    for path in unpacked_or_refused(fix_checksums(data) if mend else bytes(data)):
        assert os.path.normpath(path) == path
        assert not path.startswith("/")
        assert ".." not in path.split("/")


@settings(max_examples=200)
@given(st.lists(st.sampled_from([k for k, v in HOSTILE.items() if len(v) < 9999]), max_size=4))
def test_hostile_pieces_in_a_row_are_read_safely_or_refused(names: list[str]) -> None:
    pieces = b"".join(HOSTILE[name] for name in names)
    for path in unpacked_or_refused(entry(b"f", b"1") + pieces + END):
        assert safe_path(path) == path


paths = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\:"), min_size=1)
    .filter(lambda part: part not in (".", "..") and len(part.encode()) < 256)
    .map(lambda part: part[:40]),
    min_size=1,
    max_size=5,
).map("/".join)


@settings(max_examples=300)
@given(paths, st.binary(max_size=1500), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_what_pythons_tarfile_writes_is_read_back(path: str, content: bytes, form: int) -> None:
    if safe_path(path) == path:
        assert untar(good_tar([(path, content)], form)) == {path: content}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "a"),
        ("./a", "a"),
        ("a//b/", "a/b"),
        ("./", ""),
        ("a/./b", "a/b"),
        ("...", "..."),
        ("a b", "a b"),
        ("a/b:c", "a/b:c"),
        ("\u202e", "\u202e"),
    ],
)
def test_plain_names_are_kept(name: str, path: str) -> None:
    assert safe_path(name) == path


def members(*parts: bytes) -> bytes:
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def test_gzip_of_one_and_of_several_members_is_read() -> None:
    noise = random.Random(1).randbytes(200_000)
    assert decompress(members(noise), 1 << 20) == noise
    assert decompress(members(b"a", b"", noise, b"b"), 1 << 20) == b"a" + noise + b"b"
    assert decompress(members(b"x" * 100), 100) == b"x" * 100


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\x1f",
        b"\x1f\x8b",
        b"PK\x03\x04" * 20,
        members(b"a")[:-1],
        members(b"a")[:-8],
        members(b"a" * 100_000)[:50],
        members(b"a") + members(b"b")[:-1],
        members(b"a") + b"\x1f",
        members(b"a") + b"garbage",
        members(b"a") + b"\0" * 512,
        members(b"a")[:-8] + b"\0\0\0\0" + members(b"a")[-4:],
        members(b"a")[:-4] + b"\xff\0\0\0",
        zlib.compress(b"a"),
    ],
)
def test_broken_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(UnsafeContent):
        decompress(data, 1 << 20)


@pytest.mark.parametrize("sizes", [[1 << 27], [1 << 20] * 200, [101], [50, 51]])
def test_a_gzip_bomb_is_refused_before_it_is_unpacked(sizes: list[int]) -> None:
    one = {size: gzip.compress(b"\0" * size, mtime=0) for size in set(sizes)}
    data = b"".join(one[size] for size in sizes)
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeContent, match="unpacks to more"):
            decompress(data, 100)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_gzip_members_without_end_are_refused() -> None:
    with pytest.raises(UnsafeContent, match="without end"):
        decompress(members(b"") * 150_000, 1 << 20)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3), st.integers(0, 9))
def test_mutated_gzip_is_read_or_refused(edits: list[tuple[int, int]], cut: int) -> None:
    content = b"".join(b"%d" % n for n in range(60))
    data = bytearray(members(content, content))
    for place, byte in edits:
        data[place % len(data)] = byte
    try:
        got = decompress(bytes(data[: len(data) - cut]), 10_000)
    except UnsafeContent:
        return
    assert got == content * 2
