"""Helm's hooks among rendered manifests: objects that Helm would make at certain moments only.

Applied like any other object, a test would run at once, and what is to run before a deletion too.
Those are left out; the others are what an installation needs, if not in that order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ocistate.artifact.manifests import read_resources
from ocistate.errors import InvalidManifest
from ocistate.objects import Resource

HOOK: Final = "helm.sh/hook"

_MARK: Final = HOOK.encode()
_MARK_UTF16: Final = HOOK[:-1].encode("utf-16-le")
_BEGINS: Final = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_ELSEWHEN: Final = frozenset(
    (
        *("pre-delete", "post-delete", "pre-rollback", "post-rollback"),
        *("test", "test-success", "test-failure"),
    )
)


def hooks_of(resource: Resource) -> tuple[str, ...]:
    """The moments that an object is annotated for; none for an ordinary one."""
    if _MARK not in resource.json:
        return ()
    annotations = resource.object["metadata"].get("annotations") or {}
    moments = annotations.get(HOOK)
    if not isinstance(moments, str):
        return ()
    return tuple(moment for part in moments.split(",") if (moment := part.strip()))


def is_for_elsewhen(hooks: tuple[str, ...]) -> bool:
    """Whether hooks are for none of the moments that an apply may be."""
    return bool(hooks) and _ELSEWHEN.issuperset(hooks)


def leave_out_hooks(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """The files without the documents that are hooks for other moments, and what was left out.

    All other bytes stay as they are. A document that can't be taken out of its file by itself
    stays in it.
    """
    kept: dict[str, bytes] = {}
    notes: list[str] = []
    for path, data in files.items():
        if _MARK not in data and _MARK_UTF16 not in data:
            kept[path] = data
            continue
        pieces = _pieces(path, data)
        rest = [piece for piece in pieces if not _is_left_out(path, piece, notes)]
        if len(rest) == len(pieces):
            kept[path] = data
        elif any(piece.strip() for piece in rest):
            kept[path] = b"".join(rest)
    return kept, notes


def _pieces(path: str, data: bytes) -> list[bytes]:
    if path.endswith(".json"):
        return [data]
    starts = [0, *(match.start() for match in _BEGINS.finditer(data) if match.start())]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def _is_left_out(path: str, piece: bytes, notes: list[str]) -> bool:
    try:
        resources = list(read_resources(path, piece))
    except InvalidManifest:
        return False  # reported when all of the file is read
    found = [(resource, hooks_of(resource)) for resource in resources]
    if not found or not all(is_for_elsewhen(hooks) for _, hooks in found):
        return False
    notes += [
        f"{path}: {resource.id} is a Helm hook ({', '.join(hooks)}), and left out"
        for resource, hooks in found
    ]
    return True
