"""JSON pointers (RFC 6901), and which of them name fields that can be left to others."""

from __future__ import annotations

from collections.abc import Sequence

from ocistate.documents.shapes import POINTER
from ocistate.labels import OUR_PREFIX


def tokens(pointer: str) -> list[str]:
    """The parts of a JSON pointer."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def ignore_fault(pointer: str) -> str:
    """Why a field can't be left to others; empty when it can.

    Of the metadata only single labels and annotations can: the rest says which object it is, and
    with the label that says whose it is we would no longer know it as ours.
    """
    if not POINTER.fits(pointer) or pointer == "/":
        return "is not a JSON pointer"
    first, *inner = tokens(pointer)
    if first in ("apiVersion", "kind") or (first == "metadata" and not _is_mark_of_others(inner)):
        return "says which object it is, or whose"
    return ""


def _is_mark_of_others(path: Sequence[str]) -> bool:
    """Whether a path below the metadata is a label or an annotation, and none of ours."""
    return (
        len(path) == 2
        and path[0] in ("labels", "annotations")
        and not path[1].startswith(OUR_PREFIX)
    )
