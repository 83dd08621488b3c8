"""Did the API server store what we sent? Read from the answer to an apply, field by field.

An admission webhook or policy may put other values in place of ours. Our manager goes on holding
these fields, so metadata alone does not tell: the object itself must be looked at, and only in the
answer to the very request, since no one else has written to it yet.

A difference is told only where it can be nothing else. The server fills in what was left out,
writes quantities, times and base64 in its own way, and puts others' items between those of a list;
our entry of ``managedFields`` tells by which keys to find ours again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from ocistate.apply.fields.managed import NOT_FIELDS, ItemKey, KeyedItems, key_of, our_fields
from ocistate.kube import codec
from ocistate.objects import GroupKind, ObjectId, object_id

MOST_FIELDS: Final = 10
"""So many are told of one object; the first ones show where to look."""

_GONE: Final = object()
_HELD: Final[Mapping[str, Any]] = {}
"""The field set of what is held as a whole."""
_METADATA: Final = ("labels", "annotations")
# The server sorts and joins the subsets of these before it stores them.
_REPACKED: Final = frozenset({("", "Endpoints")})

_LONGEST: Final = 40
"""No longer text is taken for a number with a unit."""
_QUANTITY: Final = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?"
)
_SUFFIXES: Final = {
    **{suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate("num", -3)},
    **{suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)")
_SECONDS: Final = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
}


def overruled(sent: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of ``sent`` whose values are others in the API server's ``answer``, or missing.

    At most `MOST_FIELDS`; never the values.
    """
    id: ObjectId = object_id(sent)
    if GroupKind(id.group, id.kind) in _REPACKED:
        return ()
    return tuple(islice(_of_object(sent, answer, our_fields(answer["metadata"])), MOST_FIELDS))


def _of_object(
    sent: Mapping[str, Any], answer: Mapping[str, Any], held: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in sent.items():
        if key in NOT_FIELDS:
            continue
        if key == "metadata":
            value = {name: value[name] for name in _METADATA if name in value}
        yield from _differs(value, answer.get(key, _GONE), held.get(f"f:{key}"), f".{key}")


def _differs(value: Any, stored: Any, held: Any, path: str) -> Iterator[str]:
    if value == stored or held is None or _may_be_filled_in(value):
        return
    if stored is _GONE:
        if value is not False:  # which is often left out
            yield path
    elif isinstance(value, Mapping):
        if not isinstance(stored, Mapping):
            yield path
            return
        for key, each in value.items():
            inner = held.get(f"f:{key}") if held else _HELD
            yield from _differs(each, stored.get(key, _GONE), inner, f"{path}.{key}")
    elif isinstance(value, list):
        if not isinstance(stored, list):
            yield path
        elif held and not any(key.startswith("i:") for key in held):
            yield from _items_differ(value, stored, held, path)
        else:
            yield from _lists_differ(value, stored, path)
    elif not _same(value, stored):
        yield path


def _may_be_filled_in(value: Any) -> bool:
    """Whether the server may take it for left out, and put a default in its place."""
    return value is None or value in ("", {}, []) or (value == 0 and value is not False)


def _items_differ(
    items: Sequence[Any], stored: Sequence[Any], held: Mapping[str, Any], path: str
) -> Iterator[str]:
    """Of a list whose items have keys, or of a set: order and others' items do not matter."""
    keyed, places = KeyedItems(held).assign(items), _StoredItems(stored)
    for position, (item, ours) in enumerate(zip(items, keyed, strict=True)):
        place = f"{path}[{position}]"
        if not isinstance(item, Mapping):
            if not places.hold(item):
                yield place
        elif ours is not None:
            found = [
                list(_differs(item, other, ours.fields, place)) for other in places.find(ours.keys)
            ]
            yield from min(found, key=len)


class _StoredItems:
    """The items of a stored list, by their keys or as values."""

    def __init__(self, stored: Sequence[Any]) -> None:
        self._stored = stored
        self._by_keys: dict[tuple[str, ...], dict[ItemKey, list[Any]]] = {}
        self._values = {each for each in stored if isinstance(each, (str, int, float))}

    def find(self, keys: Mapping[str, Any]) -> Sequence[Any]:
        """The items with these keys, mostly one; `_GONE` when there is none."""
        names = tuple(keys)
        if names not in self._by_keys:
            found = self._by_keys[names] = {}
            for each in self._stored:
                if isinstance(each, Mapping):
                    found.setdefault(key_of(each, names), []).append(each)
        return self._by_keys[names].get(key_of(keys, names), (_GONE,))

    def hold(self, value: Any) -> bool:
        """Whether a value is among them."""
        return value in self._values or any(_same(value, each) for each in self._stored)


def _lists_differ(items: Sequence[Any], stored: Sequence[Any], path: str) -> Iterator[str]:
    """Of a list that is held as a whole; the server may have put items of its own in between."""
    if len(items) == len(stored):
        for position, (item, other) in enumerate(zip(items, stored, strict=True)):
            yield from _differs(item, other, _HELD, f"{path}[{position}]")
        return
    rest = iter(stored)
    for item in items:
        if not any(next(_differs(item, other, _HELD, ""), None) is None for other in rest):
            yield path
            return


def _same(value: Any, stored: Any) -> bool:
    """Whether two scalars mean the same."""
    if isinstance(value, bool) or isinstance(stored, bool):
        return value is stored
    if value == stored:
        return True
    if not isinstance(value, (str, int, float)) or not isinstance(stored, (str, int, float)):
        return False
    one, other = str(value), str(stored)
    if "".join(one.split()) == "".join(other.split()):
        return True  # base64, as people break it into lines
    for read in (_quantity, _duration, _moment):
        meant = read(one)
        if meant is not None and meant == read(other):
            return True
    return False


def _quantity(text: str) -> Decimal | None:
    """``1000m`` and ``1``, ``1Gi`` and ``1024Mi``, ``1e3`` and ``1k``."""
    found = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    if exponent and abs(int(exponent[1:])) > 30:
        return None
    return Decimal(number + (exponent or "")) * _SUFFIXES.get(suffix or "", Decimal(1))


def _duration(text: str) -> Decimal | None:
    """``60m`` and ``1h0m0s``."""
    parts = _DURATION.findall(text) if len(text) <= _LONGEST else ()
    if not parts or "".join(map("".join, parts)) != text:
        return None
    return sum((Decimal(number) * _SECONDS[unit] for number, unit in parts), Decimal(0))


def _moment(text: str) -> datetime | None:
    """The same time in another zone, or with a fraction of zeros."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else None
    return None


def read_answer(sent: Mapping[str, Any], data: bytes) -> tuple[codec.Metadata, tuple[str, ...]]:
    """The metadata of an answer that holds the whole object, and what it overrules."""
    return codec.decode_as(codec.PARTIAL, data).metadata, overruled(sent, codec.decode(data))
