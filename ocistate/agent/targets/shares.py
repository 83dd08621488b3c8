"""Which kinds are watched, where not all can be: so many for a Stack, and so many in all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from ocistate.objects import GroupKind

MOST: Final = 300
"""Each takes a connection to the API server, and there and here the memory for it."""
MOST_OF_ONE: Final = 100


def share(
    needs: Mapping[str, Set[GroupKind]],
    watched: Set[GroupKind],
    *,
    most: int = MOST,
    most_of_one: int = MOST_OF_ONE,
) -> set[GroupKind]:
    """The kinds to watch of those that each Stack needs.

    What is ``watched`` already and still needed stays so: no one loses a watch to another Stack.
    """
    chosen = set(watched).intersection(set().union(*needs.values()))
    for kinds in needs.values():
        mine = len(kinds & chosen)
        for kind in sorted(kinds - chosen):
            if mine >= most_of_one or len(chosen) >= most:
                break
            chosen.add(kind)
            mine += 1
    return chosen
