"""Which release gave each field of an object the value it has.

    blame([("prod@7", newest), ("prod@6", older), ("prod@3", oldest)])

An item of a list is known again by its ``name`` where all items have one of their own, so that a
container stays the same container when another one is put before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ocistate.artifact.diff import mask_secret

Release = TypeVar("Release")
FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """One field: its JSON pointer in the newest object, its value, and ``since`` which release."""

    pointer: str
    value: Any
    since: int
    """The place of the release in what `blame` was given."""


def blame(states: Sequence[Mapping[str, Any] | None]) -> tuple[Blamed, ...]:
    """The fields of the first state, each with the oldest state since which it never changed.

    ``states`` are an object's, the newest first, None where there was no such object. A Secret's
    values are compared, but never given out. Empty when the newest state is None.
    """
    if not states or states[0] is None:
        return ()
    newest = dict(_leaves(states[0]))
    since = dict.fromkeys(newest, 0)
    alive = set(newest)
    for place, state in enumerate(states[1:], 1):
        older = dict(_leaves(state)) if state is not None else {}
        alive = {key for key in alive if key in older and _same(older[key][1], newest[key][1])}
        for key in alive:
            since[key] = place
        if not alive:
            break
    shown = {pointer: value for _, (pointer, value) in _leaves(mask_secret(states[0]))}
    return tuple(
        Blamed(pointer=pointer, value=shown.get(pointer, "***"), since=since[key])
        for key, (pointer, _) in newest.items()
    )


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _leaves(
    value: Any, key: FieldPath = (), pointer: str = ""
) -> Iterator[tuple[FieldPath, tuple[str, Any]]]:
    """Every value that holds no others, by what names it and by its JSON pointer."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            escaped = name.replace("~", "~0").replace("/", "~1")
            yield from _leaves(item, (*key, name), f"{pointer}/{escaped}")
    elif isinstance(value, list) and value:
        names = [item.get("name") if isinstance(item, Mapping) else None for item in value]
        named = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
        for place, item in enumerate(value):
            known = f"name={names[place]}" if named else place
            yield from _leaves(item, (*key, known), f"{pointer}/{place}")
    else:
        yield key, (pointer, value)
