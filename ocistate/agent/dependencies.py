"""Which Stacks wait for which, and which of them wait for each other for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ocistate.objects import StackKey


def find_cycle(
    start: StackKey, depends_on: Mapping[StackKey, Iterable[StackKey]]
) -> tuple[StackKey, ...]:
    """A way from a Stack back to itself, beginning and ending with it; empty: there is none.

    Of several it is a shortest one.
    """
    ways: dict[StackKey, tuple[StackKey, ...]] = {start: (start,)}
    edge = [start]
    while edge:
        following: list[StackKey] = []
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
    """Which Stack names which, looked up by the one that is named."""

    _named: dict[StackKey, Collection[StackKey]] = field(default_factory=dict)
    _by: defaultdict[StackKey, set[StackKey]] = field(default_factory=lambda: defaultdict(set))

    def set(self, key: StackKey, named: Collection[StackKey]) -> None:
        """A Stack names these now, and no others."""
        self.drop(key)
        if named:
            self._named[key] = named
        for each in named:
            self._by[each].add(key)

    def drop(self, key: StackKey) -> None:
        """A Stack names no one any more; it may still be named."""
        for each in self._named.pop(key, ()):
            self._by[each].discard(key)
            if not self._by[each]:
                del self._by[each]

    def of(self, key: StackKey) -> Collection[StackKey]:
        """Those who name a Stack."""
        return self._by.get(key, ())
