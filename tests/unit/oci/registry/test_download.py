"""Bytes as they come in, against what they should be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from ocistate.errors import DigestMismatch
from ocistate.oci.model import Descriptor, describe
from ocistate.oci.registry.download import Checked

MB = 1024 * 1024


def take(descriptor: Descriptor, pieces: Sequence[bytes]) -> tuple[list[bytes], bytes]:
    """What is given out on the way, and what only at the end."""

    async def main() -> tuple[list[bytes], bytes]:
        checked = Checked(descriptor, "fetching it")
        given = [await checked.feed(piece) for piece in pieces]
        assert checked.size == sum(map(len, pieces))
        return given, await checked.finish()

    return asyncio.run(main())


def test_the_last_piece_is_held_back_until_all_is_known_to_be_right() -> None:
    assert take(describe(b"abcdef", "x/y"), [b"ab", b"cd", b"ef"]) == ([b"", b"ab", b"cd"], b"ef")
    assert take(describe(b"", "x/y"), []) == ([], b"")


def test_large_blobs_and_many_small_pieces_are_hashed_in_their_order() -> None:
    data = random.Random(1).randbytes(5 * MB + 17)
    large = [data[at : at + MB] for at in range(0, len(data), MB)]
    small = [data[at : at + 7] for at in range(0, 7 * 1000, 7)]
    for whole, pieces in ((data, large), (data[:7000], small)):
        given, last = take(describe(whole, "x/y"), pieces)
        assert b"".join(given) + last == whole
        swapped = [pieces[1], pieces[0], *pieces[2:]]
        with pytest.raises(DigestMismatch):
            take(describe(whole, "x/y"), swapped)


@pytest.mark.parametrize("pieces", [[b"abcdef", b"g"], [b"abcdefg"], [b"", b"abcdef" * 2]])
def test_too_much_is_refused_at_once(pieces: list[bytes]) -> None:
    async def main() -> None:
        checked = Checked(describe(b"abcdef", "x/y"), "fetching it")
        for piece in pieces[:-1]:
            await checked.feed(piece)
        with pytest.raises(DigestMismatch, match="fetching it: more than the 6 bytes"):
            await checked.feed(pieces[-1])

    asyncio.run(main())


@pytest.mark.parametrize("pieces", [[], [b"abcde"], [b"abcdeF"], [b"abc", b"abc"]])
def test_too_little_or_something_else_is_never_whole(pieces: list[bytes]) -> None:
    with pytest.raises(DigestMismatch, match="bytes with the digest sha256:"):
        take(describe(b"abcdef", "x/y"), pieces)


def test_the_right_bytes_are_no_other_length_however_they_are_described() -> None:
    right = describe(b"abcdef", "x/y")
    longer = Descriptor(media_type="x/y", digest=right.digest, size=7)
    with pytest.raises(DigestMismatch, match="6 bytes"):
        take(longer, [b"abcdef"])
