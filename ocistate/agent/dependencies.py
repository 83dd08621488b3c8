"""Which Stacks wait for which, and which of them wait for each other for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Followers:
    """Who names whom, looked up from the one that is named."""

    _named: dict[Key, Collection[Key]] = field(default_factory=dict)
    _by: defaultdict[Key, set[Key]] = field(default_factory=lambda: defaultdict(set))

    def set(self, key: Key, named: Collection[Key]) -> None:
        """A Stack names these now, and no others."""
        self.drop(key)
        if named:
            self._named[key] = named
        for each in named:
            self._by[each].add(key)

    def drop(self, key: Key) -> None:
        """A Stack names nobody any more; it may still be named."""
        for each in self._named.pop(key, ()):
            self._by[each].discard(key)
            if not self._by[each]:
                del self._by[each]

    def of(self, key: Key) -> Collection[Key]:
        """Those who name a Stack."""
        return self._by.get(key, ())
