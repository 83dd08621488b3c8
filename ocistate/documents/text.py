"""The text of a YAML or JSON file before it is parsed: encodings, marks, where documents begin."""

from __future__ import annotations

import codecs
import json
import re
from itertools import pairwise
from typing import Final

from ocistate.errors import InvalidManifest

_BEGINS: Final = re.compile(rb"^---(?=[ \t\n]|\Z)", re.MULTILINE)
_NOT_ALONE: Final = re.compile(
    rb"^(?:%|\.\.\.)|[\r\x00]|\xc2\x85|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\A(?:\xff\xfe|\xfe\xff)",
    re.MULTILINE,
)
_NOTHING: Final = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*")
_TEMPLATE: Final = re.compile(r"\{\{|\{%|<%|\$\{\{")
_TAG_DIRECTIVE: Final = re.compile(rb"(?:^|\r|\xc2\x85|\xe2\x80[\xa8\xa9])%TAG", re.MULTILINE)
# A byte order mark may begin each document: before a marker, or first after one.
_LATER_MARK: Final = re.compile(
    "^\ufeff(?=\\s*(?:---|%|#|\\Z))"
    "|(?P<before>^(?:---|\\.\\.\\.)[^\\n]*\\n(?:[ \\t]*(?:#[^\\n]*|\\r)?\\n)*)\ufeff",
    re.MULTILINE,
)
_UTF16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def decode(path: str, data: bytes) -> str:
    """A file's text, without byte order marks. Raises InvalidManifest with the line."""
    encoding = _UTF16.get(data[:2], "utf-8")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = "UTF-8" if encoding == "utf-8" else "UTF-16, as its byte order mark says"
        raise InvalidManifest(f"{path}:{line}", f"not {name}", hint="save it as UTF-8") from None
    if "\ufeff" in text:
        text = _LATER_MARK.sub(lambda match: match["before"] or "", text)
    return text


def is_json_stream(text: str) -> bool:
    """Whether a text is JSON objects that follow one another, which YAML cannot express."""
    begin = re.match(r"\s*", text)
    if begin is None or not text.startswith("{", begin.end()):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin.end())
    except (ValueError, RecursionError):
        return False
    rest = re.compile(r"\s*").match(text, end)
    return rest is not None and text.startswith("{", rest.end())


def count_tag_directives(data: bytes) -> int:
    """How many ``%TAG`` lines there are, in directives or not."""
    return sum(1 for _ in _TAG_DIRECTIVE.finditer(data)) if b"%TAG" in data else 0


def split_documents(path: str, data: bytes) -> list[bytes] | None:
    """The documents of a YAML file as undecoded text, each with its ``---``, in their order.

    The same text has the same meaning at any place. None where that, or where the
    documents begin, cannot be found without parsing: directives, document ends, odd line breaks
    and encodings.
    """
    if path.endswith(".json") or _NOT_ALONE.search(data):
        return None
    starts = [match.start() for match in _BEGINS.finditer(data)]
    if not starts or not _NOTHING.fullmatch(data, 0, starts[0]):
        starts.insert(0, 0)
    starts[0] = 0
    return [data[start:end] for start, end in pairwise([*starts, len(data)])]


def template_marker(text: str) -> bool:
    """Whether a text holds a marker that a template engine should have replaced."""
    return _TEMPLATE.search(text) is not None
