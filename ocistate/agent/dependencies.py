"""Which Stacks wait for which, and which of them wait for each other for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Key = tuple[str, str]


def find_cycle(start: Key, depends_on: Mapping[Key, Iterable[Key]]) -> tuple[Key, ...]:
    """A way from a Stack back to itself, beginning and ending with it; empty: there is none.

    Of several it is a shortest one.
    """
    ways: dict[Key, tuple[Key, ...]] = {start: (start,)}
    edge = [start]
    while edge:
        following: list[Key] = []
        for key in edge:
            for other in depends_on.get(key, ()):
                if other == start:
                    return (*ways[key], start)
                if other not in ways:
                    ways[other] = (*ways[key], other)
                    following.append(other)
        edge = following
    return ()
