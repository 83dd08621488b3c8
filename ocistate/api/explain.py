"""What is wrong with an object, in words that name the field and the fix.

msgspec says what it expected and where; this turns it into a ConfigError of the error tree.
"""

from __future__ import annotations

import difflib
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from ocistate.api.rules import RuleError
from ocistate.errors import ConfigError, OcistateError
from ocistate.text import plain

_PATH: Final = re.compile(
    r"(?P<message>.*) - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`", re.DOTALL
)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_CHOICE: Final = re.compile(r"Invalid enum value (?P<value>.*)", re.DOTALL)
_TYPE: Final = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<found>[^`]*)`")
_LENGTH: Final = re.compile(r"Expected `(?P<kind>[^`]*)` of length (?P<sign><=|>=) (?P<bound>\d+)")
_BOUND: Final = re.compile(r"Expected `[^`]*` (?:<=|>=) \S+")

_NAMES: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a mapping",
    "array": "a list",
}
_INTEGERS: Final = (-(2**53) + 1, 2**53 - 1)


def config_error(kind: Any, error: msgspec.ValidationError, path: str, origin: str) -> ConfigError:
    """The error for a value that can't be read as ``kind``; ``path`` is where the value is."""
    match = _PATH.fullmatch(str(error))
    message, inner = (match["message"], match["path"]) if match else (str(error), "")
    cause = error.__cause__
    deeper = cause.__cause__ if cause else None
    if isinstance(deeper, OcistateError):
        message, hint = deeper.message, deeper.hint
    elif match and match["key"]:
        message, hint = "has a key that is not a text", "quote it"
    elif isinstance(cause, ValueError):
        inner = _join(inner, cause.field) if isinstance(cause, RuleError) else inner
        message, _, hint = str(cause).partition("; ")
    elif unknown := _UNKNOWN.fullmatch(message):
        message, hint = "is not a known field", _known(kind, inner, unknown["name"])
        inner = _join(inner, plain(unknown["name"], most=80))
    elif missing := _MISSING.fullmatch(message):
        message, hint = "is required", ""
        inner = _join(inner, missing["name"])
    else:
        message, hint = _explained(_field_at(kind, inner), message)
    where = _join(path, inner)
    return ConfigError(": ".join(part for part in (origin, where, message) if part), hint=hint)


def _join(path: str, name: str) -> str:
    return ".".join(part for part in (path, name) if part).replace(".[", "[")


def _explained(field: Any, message: str) -> tuple[str, str]:
    meta = _meta(field)
    if choice := _CHOICE.fullmatch(message):
        choices = ", ".join(str(each) for each in get_args(_bare(field)))
        return f"is {plain(choice['value'], most=80)}", f"one of {choices}"
    if wrong := _TYPE.match(message):
        wanted, found = (_NAMES.get(wrong[each], wrong[each]) for each in ("wanted", "found"))
        return f"must be {wanted}, and is {found}", ""
    if length := _LENGTH.match(message):
        if length["sign"] == ">=" and length["bound"] == "1":
            return "must not be empty", ""
        unit = "characters" if length["kind"] == "str" else "items"
        limit = "least" if length["sign"] == ">=" else "most"
        return f"must have at {limit} {length['bound']} {unit}", ""
    if _BOUND.match(message):
        least = meta.ge if meta.ge is not None else _INTEGERS[0]
        most = meta.le if meta.le is not None else _INTEGERS[1]
        return "is out of bounds", f"give a whole number from {least} to {most}"
    if "matching regex" in message:
        allowed = (meta.extra or {}).get("allowed", f"what {meta.pattern} matches")
        return f"is not {(meta.extra or {}).get('what', 'valid')}", f"allowed: {allowed}"
    return message, ""


def _known(kind: Any, path: str, name: str) -> str:
    struct = _bare(_field_at(kind, path))
    known = sorted(field.encode_name for field in msgspec.structs.fields(struct))
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _field_at(kind: Any, path: str) -> Any:
    """The annotation of the field at a path."""
    for name in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        bare = _bare(kind)
        if name.startswith("["):
            kind = get_args(bare)[-1 if get_origin(bare) is dict else 0]
        else:
            kind = next(f.type for f in msgspec.structs.fields(bare) if f.encode_name == name)
    return kind


def _bare(kind: Any) -> Any:
    """A type without what annotates it and without None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return _bare(next(each for each in get_args(kind) if each is not NoneType))
    return kind


def _meta(kind: Any) -> Meta:
    if get_origin(kind) is Annotated:
        return next((each for each in get_args(kind) if isinstance(each, Meta)), Meta())
    if get_origin(kind) in (Union, UnionType):
        return _meta(next(each for each in get_args(kind) if each is not NoneType))
    return Meta()
