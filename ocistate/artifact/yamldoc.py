"""YAML and JSON documents as kubectl would send them to the API server.

PyYAML's C parser makes the nodes; the values are built here, because YAML 1.1 as PyYAML resolves it
differs from what kubectl sends: times of day would become numbers, dates would become objects, and
``1e3`` or ``0o17`` would stay texts. Duplicate keys, unknown tags, endless aliases and bottomless
nesting are refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Final

import yaml

from ocistate.canonical import parse_json
from ocistate.errors import InvalidManifest

MAX_DEPTH: Final = 200
"""Deeper than any real manifest: the deepest CRD schemas stay below 100."""

# How sigs.k8s.io/yaml resolves plain scalars, seen by running it: underscores go first, then
# strconv.ParseInt with base 0, then a float.
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED: Final = re.compile(r"([-+]?)0(?:[bB]([01]+)|[oO]?([0-7]+)|[xX]([0-9a-fA-F]+))")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BOOLS: Final = {
    word: truth
    for words, truth in (
        ("y Y yes Yes YES true True TRUE on On ON", True),
        ("n N no No NO false False FALSE off Off OFF", False),
    )
    for word in words.split()
}
_WORDS: Final[dict[str, bool | None]] = {
    **_BOOLS,
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_MOST_INT: Final = 2**64 - 1
_LEAST_INT: Final = -(2**63)

_PREFIX: Final = "tag:yaml.org,2002:"
_STR: Final = _PREFIX + "str"
_MAP: Final = _PREFIX + "map"
_SEQ: Final = _PREFIX + "seq"
_PLAIN: Final = "ocistate:plain"  # what the reader gives scalars without quotes and tag
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    _PREFIX + "int": (int,),
    _PREFIX + "float": (int, float),
    _PREFIX + "bool": (bool,),
    _PREFIX + "null": (type(None),),
}
_BEGINS: Final = re.compile(rb"^---(?=[ \t\n]|\Z)", re.MULTILINE)
_NOT_ALONE: Final = re.compile(rb"^(?:%|\.\.\.)|\r|\xc2\x85|\xe2\x80[\xa8\xa9]", re.MULTILINE)
_NOTHING: Final = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*")
_TEMPLATE: Final = re.compile(r"\{\{|\{%|<%|\$\{\{")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a file: its place among the documents, its first line, its value.

    Lines count from 1. Documents that hold nothing are not given out, but keep their place.
    """

    path: str
    index: int
    line: int
    value: Any


def read_documents(path: str, data: bytes) -> Iterator[Document]:
    """The documents of a YAML file, or of a JSON file when the name ends so.

    Raises InvalidManifest with the file and the line.
    """
    if path.endswith(".json"):
        yield Document(path=path, index=0, line=1, value=_read_json(path, data))
        return
    text = _decode(path, data)
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        raise _broken(path, text, error) from None
    try:
        index = 0
        builder = _Builder(path, budget=10 * len(text) + 1_000_000)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # check_node said so
            value = builder.build(node, 0)
            if value is not None:
                yield Document(path=path, index=index, line=node.start_mark.line + 1, value=value)
            index += 1
    except yaml.YAMLError as error:
        raise _broken(path, text, error) from None
    except _TooDeep as error:
        raise _too_deep(f"{path}:{error.line}") from None
    finally:
        loader.dispose()


def split_documents(path: str, data: bytes) -> list[bytes] | None:
    """The documents of a YAML file as undecoded text, each with its ``---``, in their order.

    What the same text says is the same, wherever it stands. None where that, or where the documents
    begin, cannot be told without parsing: directives, document ends, odd line breaks.
    """
    if path.endswith(".json") or _NOT_ALONE.search(data) or data.startswith(codecs.BOM_UTF8):
        return None
    starts = [match.start() for match in _BEGINS.finditer(data)]
    if not starts or not _NOTHING.fullmatch(data, 0, starts[0]):
        starts.insert(0, 0)
    starts[0] = 0
    return [data[start:end] for start, end in pairwise([*starts, len(data)])]


def template_marker(text: str) -> bool:
    """Whether a text holds a marker that a template engine should have replaced."""
    return _TEMPLATE.search(text) is not None


def _decode(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidManifest(f"{path}:{line}", "not UTF-8", hint="save it as UTF-8") from None


def _broken(path: str, text: str, error: yaml.YAMLError) -> InvalidManifest:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not valid YAML"
    if mark is not None:
        number = mark.line
    else:
        # A character that YAML does not allow: libyaml counts bytes.
        number = text.encode().count(b"\n", 0, getattr(error, "position", 0))
    lines = text.split("\n")
    hint = ""
    for near in (number, number - 1):
        if 0 <= near < len(lines) and template_marker(lines[near]):
            number = near
            hint = "this looks like an unrendered template: render it first, with helm or kustomize"
            break
    return InvalidManifest(f"{path}:{number + 1}", f"invalid YAML: {problem}", hint=hint)


def _too_deep(location: str) -> InvalidManifest:
    return InvalidManifest(location, f"nested more than {MAX_DEPTH} levels deep")


def _read_json(path: str, data: bytes) -> Any:
    _decode(path, data)
    try:
        value = parse_json(data.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        hint = "one object a file, or a List" if "Extra data" in str(error) else ""
        raise InvalidManifest(f"{path}:{line}", f"not valid JSON: {error}", hint=hint) from None
    return _normalise(path, value, 0)


def _normalise(path: str, value: Any, depth: int) -> Any:
    """A JSON value with its numbers as kubectl writes them: ``3.0`` is 3."""
    if depth > MAX_DEPTH:
        raise _too_deep(f"{path}:1")
    if isinstance(value, dict):
        return {key: _normalise(path, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_normalise(path, item, depth + 1) for item in value]
    if isinstance(value, float):
        if not isfinite(value):
            raise InvalidManifest(f"{path}:1", "not valid JSON: a number too large for a float")
        return _whole(value)
    return value


def _whole(value: float) -> int | float:
    """Go writes whole floats below 1e21 without a fraction, and an int field takes only that."""
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(yaml.CSafeLoader):
    """PyYAML's C composer, stopped before bottomless nesting overflows the C stack.

    The composer calls these methods for each node, which lets it be bounded from Python, and lets
    plain scalars be told from quoted and tagged ones.
    """

    _depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:
            raise _TooDeep(current_node.start_mark.line + 1)

    def ascend_resolver(self) -> None:
        self._depth -= 1

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STR
        return _MAP if kind is yaml.MappingNode else _SEQ


class _Builder:
    """Nodes to plain values. ``budget`` bounds how many characters aliases may multiply into."""

    def __init__(self, path: str, *, budget: int) -> None:
        self._path = path
        self._budget = budget

    def build(self, node: yaml.Node, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested more than {MAX_DEPTH} levels deep")
        tag = node.tag
        if isinstance(node, yaml.ScalarNode):
            text = node.value
            self._spend(node, len(text) + 1)
            if tag == _PLAIN:
                return self._plain(node, text)
            return text if tag == _STR else self._tagged(node, text)
        self._spend(node, 1)
        if isinstance(node, yaml.MappingNode) and tag == _MAP:
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and tag == _SEQ:
            return [self.build(item, depth + 1) for item in node.value]
        raise self._error(node, f"the tag {tag!r} means nothing to Kubernetes")

    def _spend(self, node: yaml.Node, cost: int) -> None:
        self._budget -= cost
        if self._budget < 0:
            raise self._error(node, "its aliases multiply without end")

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                hint = "quote it; if it is a template's marker, render the template first"
                raise self._error(key_node, "a key must be plain text", hint=hint)
            self._spend(key_node, len(key_node.value))
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merged = self._merge(key_node, value_node, depth)
                for key in merged:
                    if key in own:
                        raise self._error(
                            key_node,
                            f"the key {key!r} stands before a '<<' that has it too: kubectl lets "
                            "'<<' win, YAML's specification the key",
                            hint="put '<<' first",
                        )
                result.update(merged)
                continue
            key = key_node.value if key_node.tag == _STR else self._key(key_node)
            if key in own:
                raise self._error(key_node, f"the key {key!r} is there twice", hint="remove one")
            own.add(key)
            result[key] = self.build(value_node, depth + 1)
        return result

    def _merge(self, key_node: yaml.Node, node: yaml.Node, depth: int) -> dict[str, Any]:
        value = self.build(node, depth + 1)
        merged: dict[str, Any] = {}
        for base in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(base, dict):
                raise self._error(key_node, "'<<' must name a mapping")
            merged.update(base)
        return merged

    def _key(self, node: yaml.ScalarNode) -> str:
        """Numbers and booleans as keys become text, as kubectl makes them."""
        if node.tag != _PLAIN:
            return str(self._tagged(node, node.value))
        text: str = node.value
        if text in _WORDS:
            truth = _WORDS[text]
            if truth is None:
                raise self._error(node, "a key must not be null", hint="quote it")
            return "true" if truth else "false"
        number = _number(text) if text[0] in _NUMBER_STARTS else None
        if number is None:
            return text
        if isinstance(number, int):
            return str(number)
        key = f"{number:.6g}"
        if float(key) != number:
            raise self._error(node, f"the key {text} would be rounded to {key}", hint="quote it")
        return key

    def _plain(self, node: yaml.Node, text: str) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in _NUMBER_STARTS:
            return text
        number = _number(text)
        if isinstance(number, float):
            return _whole(number)
        if number is None and _NOT_FINITE.fullmatch(text):
            raise self._error(node, f"{text} is not a number JSON can hold", hint="quote it")
        return text if number is None else number

    def _tagged(self, node: yaml.ScalarNode, text: str) -> Any:
        if node.tag == _PREFIX + "timestamp":
            return text
        types = _TYPES.get(node.tag)
        if types is None:
            raise self._error(node, f"the tag {node.tag!r} means nothing to Kubernetes")
        value = self._plain(node, text)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise self._error(node, f"{text!r} is not what its tag {node.tag!r} says")
        return value

    def _error(self, node: yaml.Node, message: str, *, hint: str = "") -> InvalidManifest:
        return InvalidManifest(f"{self._path}:{node.start_mark.line + 1}", message, hint=hint)


def _number(text: str) -> int | float | None:
    """The number that a plain scalar is to kubectl, None for text.

    What fits no 64 bits is a float, and what fits no float is text: a commit like ``9e12345`` is.
    """
    plain = text.replace("_", "")
    if len(plain) <= 21 and _DECIMAL.fullmatch(plain):
        value = int(plain)
        if _LEAST_INT <= value <= _MOST_INT:
            return value
    based = _BASED.fullmatch(plain)
    if based and len(plain) <= 70:
        sign, binary, octal, hexadecimal = based.groups()
        digits, base = (binary, 2) if binary else (octal, 8) if octal else (hexadecimal, 16)
        value = int(digits, base) * (-1 if sign == "-" else 1)
        if _LEAST_INT <= value <= _MOST_INT:
            return value
    if len(plain) <= 1000 and _FLOAT.fullmatch(plain):
        number = float(plain)
        if isfinite(number):
            return number
    return None
