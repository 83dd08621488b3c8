"""YAML and JSON documents as the Kubernetes API server would read them.

PyYAML's C parser makes the nodes; the values are built here, because YAML 1.1 as PyYAML resolves it
differs from what kubectl sends: times of day would become numbers and dates would become objects.
Duplicate keys, unknown tags, endless aliases and bottomless nesting are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from ocistate.canonical import parse_json
from ocistate.errors import InvalidManifest

MAX_DEPTH: Final = 200
"""Deeper than any real manifest: the deepest CRD schemas stay below 100."""

_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_INT_BASE: Final = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_STR: Final = "tag:yaml.org,2002:str"
_MAP: Final = "tag:yaml.org,2002:map"
_SEQ: Final = "tag:yaml.org,2002:seq"
_SCALARS: Final = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")
}
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
        try:
            value = parse_json(data)
        except ValueError as error:
            line = data.count(b"\n", 0, error.pos) + 1 if hasattr(error, "pos") else 1
            raise InvalidManifest(f"{path}:{line}", f"not valid JSON: {error}") from None
        yield Document(path=path, index=0, line=1, value=value)
        return
    text = _decode(path, data)
    try:
        loader = yaml.CSafeLoader(text)
    except yaml.YAMLError as error:
        raise _broken(path, text, error) from None
    try:
        index = 0
        builder = _Builder(path, budget=len(text) + 100_000)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # check_node said so
            value = builder.build(node, 0)
            if value is not None:
                yield Document(path=path, index=index, line=node.start_mark.line + 1, value=value)
            index += 1
    except yaml.YAMLError as error:
        raise _broken(path, text, error) from None
    except (RecursionError, UnboundLocalError):
        # The C composer answers bottomless nesting with either of them.
        raise InvalidManifest(path, "nested too deeply to be a manifest") from None
    finally:
        loader.dispose()


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
    problem = getattr(error, "problem", None) or "not valid YAML"
    number = mark.line if mark is not None else 0
    lines = text.splitlines()
    near = lines[max(0, number - 1) : number + 1]
    hint = ""
    if any(template_marker(line) for line in near):
        hint = "this looks like an unrendered template: render it first, with helm or kustomize"
    return InvalidManifest(f"{path}:{number + 1}", f"invalid YAML: {problem}", hint=hint)


class _Builder:
    """Nodes to plain values. ``budget`` bounds how many nodes aliases may multiply into."""

    def __init__(self, path: str, *, budget: int) -> None:
        self._path = path
        self._budget = budget

    def build(self, node: yaml.Node, depth: int) -> Any:
        self._budget -= 1
        if self._budget < 0:
            raise self._error(node, "its aliases multiply without end")
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested more than {MAX_DEPTH} levels deep")
        tag = node.tag
        if isinstance(node, yaml.ScalarNode):
            return node.value if tag == _STR else self._scalar(node)
        if isinstance(node, yaml.MappingNode) and tag == _MAP:
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and tag == _SEQ:
            return [self.build(item, depth + 1) for item in node.value]
        raise self._error(node, f"the tag {tag!r} means nothing to Kubernetes")

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                hint = "quote it; if it is a template's marker, render the template first"
                raise self._error(key_node, "a key must be plain text", hint=hint)
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged.extend(self._merge(value_node, depth))
                continue
            key = key_node.value if key_node.tag == _STR else self._key(key_node)
            if key in result:
                raise self._error(key_node, f"the key {key!r} is there twice", hint="remove one")
            result[key] = self.build(value_node, depth + 1)
        for base in merged:
            result = {**base, **result}
        return result

    def _merge(self, node: yaml.Node, depth: int) -> list[dict[str, Any]]:
        value = self.build(node, depth + 1)
        bases = value if isinstance(value, list) else [value]
        if not all(isinstance(base, dict) for base in bases):
            raise self._error(node, "'<<' must name a mapping")
        return bases

    def _key(self, node: yaml.ScalarNode) -> str:
        """Numbers and booleans as keys become text, as the API server's reader makes them."""
        value = self._scalar(node)
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            raise self._error(node, "a key must not be null")
        return str(value)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        if node.tag not in _SCALARS:
            if node.tag == "tag:yaml.org,2002:value":
                return text
            raise self._error(node, f"the tag {node.tag!r} means nothing to Kubernetes")
        if node.style in ("'", '"', "|", ">"):
            return text
        if text in _NULLS:
            return None
        boolean = _BOOLS.get(text)
        if boolean is not None:
            return boolean
        return self._number(node, text)

    def _number(self, node: yaml.ScalarNode, text: str) -> Any:
        if _INT.fullmatch(text):
            if len(text) > 30:
                raise self._error(node, "a number no API server can hold")
            return int(text.replace("_", ""))
        if _INT_BASE.fullmatch(text):
            return _based_int(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return float(text)
        if text.lower().lstrip("+-") in (".inf", ".nan"):
            raise self._error(node, f"{text} is not a number JSON can hold")
        return text

    def _error(self, node: yaml.Node, message: str, *, hint: str = "") -> InvalidManifest:
        return InvalidManifest(f"{self._path}:{node.start_mark.line + 1}", message, hint=hint)


def _based_int(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2])
    return sign * (int(digits[2:], base) if base else int(digits, 8))
