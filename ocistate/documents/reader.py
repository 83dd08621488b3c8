"""The one reader of YAML and JSON that others wrote: as kubectl reads it, within bounds.

    for document in read_documents("web.yaml", data, Budget()): …

libyaml gives the events, and the values are built of them here: no C code recurses, nothing is
multiplied before it is counted, and a file's documents are never in memory together. Duplicate
keys, unknown tags, endless aliases and bottomless nesting are refused. Several files that one
source brings share a Budget, so that many small ones cost no more than a large one may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import yaml

from ocistate.canonical import parse_json_stream
from ocistate.documents.scalars import WORDS, plain_key, plain_value, whole
from ocistate.documents.text import count_tag_directives, decode, is_json_stream, template_marker
from ocistate.errors import InvalidManifest

MAX_DEPTH: Final = 200
"""Deeper than any real manifest: the deepest CRD schemas stay below 100."""

_NODE: Final = 64
"""What a value weighs beside its text: about the memory it takes."""
_MIB: Final = 1024 * 1024
_TOO_MUCH: Final = "more values than there is memory for"
_SPLIT: Final = "split the document, or the artifact"

_PREFIX: Final = "tag:yaml.org,2002:"
_STR: Final = _PREFIX + "str"
_MAP: Final = _PREFIX + "map"
_SEQ: Final = _PREFIX + "seq"
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    _PREFIX + "int": (int,),
    _PREFIX + "float": (int, float),
    _PREFIX + "bool": (bool,),
    _PREFIX + "null": (type(None),),
}
# Looked up for each of millions of events.
_Scalar: Final = yaml.ScalarEvent
_Alias: Final = yaml.AliasEvent
_MappingEnd: Final = yaml.MappingEndEvent
_SequenceEnd: Final = yaml.SequenceEndEvent


@dataclass(slots=True, kw_only=True)
class Budget:
    """What is left to read from one source, over all its files.

    ``weight`` is of all values, each 64 and its characters; ``document`` is the most that one
    document may weigh, ``aliased`` what aliases may add beyond four times the text itself.
    ``directives`` are ``%TAG``: libyaml compares each with all before it.
    """

    weight: int = 2560 * _MIB
    document: int = 256 * _MIB
    aliased: int = 16 * _MIB
    directives: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a file: its place among the documents, its first line, its value.

    Lines count from 1. Documents that hold nothing are not given out, but keep their place. Parts
    that aliases repeat are the same object.
    """

    path: str
    index: int
    line: int
    value: Any


def read_documents(
    path: str, data: bytes, budget: Budget | None = None, *, unique_keys: bool = True
) -> Iterator[Document]:
    """The documents of a YAML file, or of a JSON file when the name ends so.

    UTF-8, and UTF-16 with a byte order mark. JSON values may follow one another without ``---``,
    as kubectl takes them. Without ``unique_keys`` the last of equal keys counts. Raises
    InvalidManifest with the file and the line.
    """
    text = decode(path, data)
    budget = budget or Budget()
    if path.endswith(".json") or is_json_stream(text):
        yield from _read_json(path, text, budget)
        return
    raw = text.encode()
    del text
    budget.directives -= count_tag_directives(raw)
    if budget.directives < 0:
        raise InvalidManifest(f"{path}:1", "more %TAG directives than anyone needs")
    budget.aliased += 4 * len(raw)
    try:
        loader = yaml.CSafeLoader(raw)
    except yaml.YAMLError as error:
        raise _broken(path, raw, error) from None
    try:
        yield from _Builder(path, loader, budget, unique_keys).documents()
    except yaml.YAMLError as error:
        raise _broken(path, raw, error) from None
    except RecursionError:
        raise InvalidManifest(f"{path}:1", "nested too deeply") from None
    finally:
        loader.dispose()


def _broken(path: str, raw: bytes, error: yaml.YAMLError) -> InvalidManifest:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not valid YAML"
    # A character that YAML does not allow has no mark: libyaml counts bytes.
    number = mark.line if mark else raw.count(b"\n", 0, getattr(error, "position", 0))
    lines = raw.split(b"\n")
    hint = ""
    for near in (number, number - 1):
        if 0 <= near < len(lines) and template_marker(lines[near].decode("utf-8", "replace")):
            number = near
            hint = "this looks like an unrendered template: render it first, with helm or kustomize"
            break
    return InvalidManifest(f"{path}:{number + 1}", f"invalid YAML: {problem}", hint=hint)


def _read_json(path: str, text: str, budget: Budget) -> Iterator[Document]:
    if not text.strip():
        raise InvalidManifest(f"{path}:1", "not valid JSON: it is empty")
    # Commas in texts count as well: there are never more values than that.
    weight = len(text) + _NODE * (1 + sum(map(text.count, "[{,")))
    budget.weight -= weight
    if weight > 2 * budget.document or budget.weight < 0:
        raise InvalidManifest(f"{path}:1", _TOO_MUCH, hint=_SPLIT)
    line, counted = 1, 0
    try:
        for index, (at, value) in enumerate(parse_json_stream(text, most_deep=MAX_DEPTH)):
            line += text.count("\n", counted, at)
            counted = at
            yield Document(path=path, index=index, line=line, value=_normalise(value))
    except ValueError as error:
        line = getattr(error, "lineno", line)
        raise InvalidManifest(f"{path}:{line}", f"not valid JSON: {error}") from None


def _normalise(value: Any) -> Any:
    """A JSON value with its numbers as kubectl writes them: ``3.0`` is 3. Raises ValueError."""
    if isinstance(value, dict):
        return {key: _normalise(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normalise(item) for item in value]
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("a number too large for a float")
        return whole(value)
    return value


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What an anchor names: the value, what it weighs, how many levels it has; and its scalar."""

    value: Any
    weight: int
    height: int
    scalar: yaml.ScalarEvent | None


class _Builder:
    """Events to plain values, with everything counted before it is kept.

    An alias is the very value of its anchor, but weighs as much again: writing the values
    out writes it as often as it is named.
    """

    def __init__(
        self, path: str, loader: yaml.CSafeLoader, budget: Budget, unique_keys: bool
    ) -> None:
        self._path = path
        self._next: Any = loader.get_event
        self._budget = budget
        self._unique = unique_keys
        self._weight = 0
        self._most = 0
        self._deepest = 0
        # None for what is still being read.
        self._anchors: dict[str, _Anchored | None] = {}

    def documents(self) -> Iterator[Document]:
        index = 0
        while (event := self._next()) is not None and type(event) is not yaml.StreamEndEvent:
            if type(event) is not yaml.DocumentStartEvent:
                continue
            self._weight = 0
            self._most = min(self._budget.document, self._budget.weight)
            self._anchors = {}
            root = self._next()
            value = self._build(root, 0)
            self._budget.weight -= self._weight + _NODE
            if value is not None:
                line = root.start_mark.line + 1
                yield Document(path=self._path, index=index, line=line, value=value)
            index += 1

    def _build(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is _Alias:
            return self._alias(event, depth).value
        anchor = event.anchor
        if anchor is None:
            return self._scalar(event) if kind is _Scalar else self._collection(event, depth)
        self._anchors[anchor] = None
        before, deepest, self._deepest = self._weight, self._deepest, depth
        value = self._scalar(event) if kind is _Scalar else self._collection(event, depth)
        self._anchors[anchor] = _Anchored(
            value,
            self._weight - before,
            self._deepest - depth,
            event if kind is _Scalar else None,
        )
        self._deepest = max(deepest, self._deepest)
        return value

    def _collection(self, event: Any, depth: int) -> Any:
        self._weigh(event, _NODE)
        if depth > self._deepest:
            self._deepest = depth
        if depth > MAX_DEPTH:
            raise self._too_deep(event)
        mapping = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, "!", _MAP if mapping else _SEQ):
            raise self._unknown_tag(event)
        if mapping:
            return self._mapping(depth)
        items = []
        while type(item := self._next()) is not _SequenceEnd:
            items.append(self._build(item, depth + 1))
        return items

    def _alias(self, event: Any, depth: int) -> _Anchored:
        name = event.anchor
        if name not in self._anchors:
            raise self._error(event, f"invalid YAML: found undefined alias {name[:60]!r}")
        found = self._anchors[name]
        if found is None:
            raise self._error(event, f"what the anchor {name[:60]!r} names contains itself")
        if depth + found.height > MAX_DEPTH:
            raise self._too_deep(event)
        self._deepest = max(self._deepest, depth + found.height)
        self._budget.aliased -= found.weight
        if self._budget.aliased < 0:
            raise self._error(event, "its aliases multiply without end")
        self._weigh(event, found.weight)
        return found

    def _weigh(self, event: Any, weight: int) -> None:
        self._weight += weight
        if self._weight > self._most:
            raise self._error(event, _TOO_MUCH, hint=_SPLIT)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        self._weight += _NODE + len(text)
        if self._weight > self._most:
            self._weigh(event, 0)
        tag = event.tag
        if tag is None or tag == "!":
            return self._plain(event, text) if event.implicit[0] else text
        return text if tag == _STR else self._tagged(event, text)

    def _mapping(self, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: set[str] = set()
        while type(event := self._next()) is not _MappingEnd:
            scalar = self._key_scalar(event, depth)
            if scalar.value == "<<" and scalar.implicit[0]:
                merged = self._merge(event, depth)
                for key in merged:
                    if key in own:
                        raise self._error(
                            event,
                            f"the key {key!r} comes before a '<<' that has it too: kubectl lets "
                            "'<<' win, YAML's specification the key",
                            hint="put '<<' first",
                        )
                result.update(merged)
                continue
            key = self._key(event, scalar)
            if key in own and self._unique:
                raise self._error(event, f"the key {key!r} is there twice", hint="remove one")
            own.add(key)
            result[key] = self._build(self._next(), depth + 1)
        return result

    def _key_scalar(self, event: Any, depth: int) -> yaml.ScalarEvent:
        """The scalar that a key is, or an alias of one."""
        if type(event) is _Scalar:
            if event.anchor is None:
                self._weigh(event, _NODE + len(event.value))
            else:
                self._build(event, depth)
            return event
        scalar = self._alias(event, depth).scalar if type(event) is _Alias else None
        if scalar is None:
            hint = "quote it; if it is a template's marker, render the template first"
            raise self._error(event, "a key must be plain text", hint=hint)
        return scalar

    def _merge(self, event: Any, depth: int) -> dict[str, Any]:
        value = self._build(self._next(), depth + 1)
        merged: dict[str, Any] = {}
        for base in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(base, dict):
                raise self._error(event, "'<<' must name a mapping")
            merged.update(base)
        return merged

    def _key(self, event: Any, scalar: Any) -> str:
        text: str = scalar.value
        if scalar.tag not in (None, "!"):
            return text if scalar.tag == _STR else str(self._tagged(event, text, scalar.tag))
        if not scalar.implicit[0] or (text[:1].isalpha() and text not in WORDS):
            return text
        try:
            return plain_key(text)
        except ValueError as error:
            raise self._error(event, str(error), hint="quote it") from None

    def _plain(self, event: Any, text: str) -> Any:
        if text[:1].isalpha() and text not in WORDS:
            return text
        try:
            return plain_value(text)
        except ValueError as error:
            raise self._error(event, str(error), hint="quote it") from None

    def _tagged(self, event: Any, text: str, tag: str | None = None) -> Any:
        tag = tag or event.tag
        if tag == _PREFIX + "timestamp":
            return text
        types = _TYPES.get(tag or "")
        if types is None:
            raise self._unknown_tag(event, tag)
        value = self._plain(event, text)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise self._error(event, f"{text[:60]!r} does not match its tag {tag!r}")
        return value

    def _unknown_tag(self, event: Any, tag: str | None = None) -> InvalidManifest:
        shown = (tag or event.tag)[:60]
        return self._error(event, f"the tag {shown!r} means nothing to Kubernetes")

    def _too_deep(self, event: Any) -> InvalidManifest:
        return self._error(event, f"nested more than {MAX_DEPTH} levels deep")

    def _error(self, event: Any, message: str, *, hint: str = "") -> InvalidManifest:
        return InvalidManifest(f"{self._path}:{event.start_mark.line + 1}", message, hint=hint)
