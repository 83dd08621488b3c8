"""Read a public object strictly, or a status tolerantly, into its struct.

    stack = decode(StackSpec, value, path="spec", origin="stack.yaml:1")

Strict: what is misspelt, of another type or out of bounds is a ConfigError that names the origin,
the field's path and, where there is one, the fix. A field that is null is a field left out, as for
the API server. Tolerant: what has another shape is as if it were not there, since a status may have
been written by another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from ocistate.api.explain import config_error
from ocistate.api.scalars import scalar_of
from ocistate.errors import ConfigError, OcistateError

T = TypeVar("T")

_MOST_LEVELS: Final = 100


class _TooDeepError(Exception):
    """A value has more levels than any public object."""


def decode(kind: type[T], value: Any, *, path: str = "", origin: str = "") -> T:
    """Read a value strictly. Raises ConfigError."""
    try:
        return msgspec.convert(_without_nulls(value), kind, dec_hook=_read_scalar)
    except msgspec.ValidationError as error:
        raise config_error(kind, error, path, origin) from None
    except _TooDeepError:
        where = ": ".join(part for part in (origin, path) if part)
        raise ConfigError(f"{where}: is nested too deeply", hint="remove levels") from None


def decode_tolerantly(kind: type[T], value: Any) -> T:
    """Read a struct whose fields all have defaults, leaving out what can't be read.

    A field of another type is as if it were not there, and so is an item of a list or a map.
    """
    found = _tolerated(kind, value)
    return kind() if found is _UNREADABLE else found


def encode(value: Struct) -> Any:
    """The plain data of a struct, without what is not given: what `decode` reads."""
    return _without_nulls(msgspec.to_builtins(value, enc_hook=_write_scalar))


_UNREADABLE: Final = object()


def _tolerated(kind: Any, value: Any) -> Any:
    """The value as a type, or `_UNREADABLE`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        # What bounds a field in a spec is no reason to forget a status.
        return _tolerated(arguments[0], value)
    if origin in (Union, UnionType):
        return _tolerated(next(each for each in arguments if each is not NoneType), value)
    if origin is tuple:
        items = value if isinstance(value, list) else []
        found = [_tolerated(arguments[0], item) for item in items]
        return tuple(item for item in found if item is not _UNREADABLE)
    if origin is dict:
        pairs = value.items() if isinstance(value, Mapping) else ()
        known = {str(key): _tolerated(arguments[1], item) for key, item in pairs}
        return {key: item for key, item in known.items() if item is not _UNREADABLE}
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _tolerated_struct(kind, value)
    try:
        found = msgspec.convert(value, kind, dec_hook=_read_scalar)
    except (msgspec.ValidationError, RecursionError):
        return _UNREADABLE
    return _UNREADABLE if isinstance(found, int) and abs(found) >= 2**63 else found


def _tolerated_struct(kind: type[Struct], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _UNREADABLE
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        given = value.get(field.encode_name)
        found = _UNREADABLE if given is None else _tolerated(field.type, given)
        if found is not _UNREADABLE:
            known[field.name] = found
        elif field.required:
            return _UNREADABLE
    try:
        return kind(**known)
    except ValueError:  # a rule over several fields
        return _UNREADABLE


def _without_nulls(value: Any, levels: int = _MOST_LEVELS) -> Any:
    if levels == 0:
        raise _TooDeepError
    below = levels - 1
    if isinstance(value, Mapping):
        return {key: _without_nulls(item, below) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item, below) for item in value]
    return value


def _read_scalar(kind: type, value: Any) -> Any:
    try:
        return scalar_of(kind).read(value)
    except OcistateError as error:
        # msgspec adds the path to a ValueError only; `explain` finds the cause below it.
        raise ValueError(error.message) from error


def _write_scalar(value: Any) -> Any:
    return scalar_of(type(value)).write(value)
