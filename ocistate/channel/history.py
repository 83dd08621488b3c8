"""A channel's history: its records, newest first, each linked to the one before by its digest.

The links are what counts: they are signed, the numbered tags are not. A tag that holds another
record than the chain has under its number is a fork, and is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ocistate.channel.record import Record, show_number

MAX_RECORDS = 20_000
"""How many records of one channel are read; a longer one is marked so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One record of a chain. ``signer`` is the channel key's name, empty when none signed it;
    ``problem`` is why it is not trusted, empty when it is or when no one asked."""

    digest: str
    record: Record
    signer: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A number under which there are two records: the chain's, and the one its tag holds."""

    number: tuple[int, int]
    chained: str
    tagged: str

    def __str__(self) -> str:
        return (
            f"number {show_number(*self.number)} is {self.chained} in the chain, and its tag "
            f"holds {self.tagged}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The records from the newest on. ``broken`` names where and why the chain ends too early,
    ``more`` that it goes on behind the limit."""

    links: tuple[Link, ...]
    forks: tuple[Fork, ...] = ()
    broken: str = ""
    more: bool = False


def check_link(follower: Record, record: Record) -> str:
    """What is wrong with a record as the one before another one; empty when nothing is."""
    if (record.channel, record.repository) != (follower.channel, follower.repository):
        return f"it is a record of the channel {record.channel} of {record.repository}"
    if record.number >= follower.number:
        return f"it has the number {show_number(*record.number)}, and {follower} comes after it"
    if record.epoch == follower.epoch and record.sequence != follower.sequence - 1:
        return f"numbers are missing between {record} and {follower}"
    return ""


def find_forks(links: Sequence[Link], tagged: Mapping[tuple[int, int], str]) -> tuple[Fork, ...]:
    """The numbers whose tags hold something else than the chain."""
    return tuple(
        Fork(number=link.record.number, chained=link.digest, tagged=tagged[link.record.number])
        for link in links
        if tagged.get(link.record.number, link.digest) != link.digest
    )


def find_release(links: Sequence[Link], wanted: str) -> Link | None:
    """The newest record of a number (``41``, ``2.1``), or pinning a digest, or of that digest."""
    for link in links:
        record = link.record
        if wanted in (show_number(*record.number), link.digest, *record.subjects.values()):
            return link
    return None


def find_previous(links: Sequence[Link]) -> Link | None:
    """The newest record that pins something else than the first of the links, for every cluster:
    what only some rings had was never proven."""
    first = links[0].record.subjects if links else {}
    return next(
        (
            link
            for link in links
            if link.record.rollout is None and dict(link.record.subjects) != dict(first)
        ),
        None,
    )
