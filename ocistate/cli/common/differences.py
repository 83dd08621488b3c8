"""How differences between objects are shown, by ``diff`` and ``log`` and before a promotion."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.text import plain

if TYPE_CHECKING:
    from ocistate.artifact.diff import FieldChange
    from ocistate.ops.artifact.compare import ObjectDiff

_SIGNS: Final = {
    "added": ("+", "green"),
    "changed": ("~", "yellow"),
    "removed": ("-", "red"),
    "refused": ("!", "red"),
}
_LONGEST: Final = 200


def difference_rows(differences: Sequence[ObjectDiff]) -> list[dict[str, Any]]:
    """Differences as the plain values that ``-o json`` prints."""
    return [
        {
            "change": item.difference.change,
            "group": item.difference.id.group,
            "kind": item.difference.id.kind,
            "namespace": item.difference.id.namespace,
            "name": item.difference.id.name,
            "fields": field_rows(item.fields),
        }
        for item in differences
    ]


def field_rows(fields: Iterable[FieldChange]) -> list[dict[str, Any]]:
    """Changed fields as the plain values that ``-o json`` prints."""
    return [
        {"pointer": field.pointer, "before": field.before, "after": field.after} for field in fields
    ]


def print_differences(differences: Sequence[ObjectDiff], *, err: bool = False) -> None:
    """A line an object, the fields below it, to stdout or, with ``err``, to stderr."""
    for item in differences:
        print_change(item.difference.change, str(item.difference.id), err=err)
        print_fields(field_rows(item.fields), err=err)


def print_change(change: str, text: str, *, err: bool = False) -> None:
    """A line with the sign and the colour of a change."""
    sign, color = _SIGNS[change]
    _echo(click.style(f"{sign} {plain(text)}", fg=color), err)


def print_fields(fields: Iterable[dict[str, Any]], *, err: bool = False) -> None:
    """A line for each changed field, of those that ``field_rows`` makes."""
    for field in fields:
        old = click.style(show_value(field["before"]), fg="red")
        new = click.style(show_value(field["after"]), fg="green")
        _echo(f"    {plain(field['pointer'])}: {old} → {new}", err)


def summary_of(differences: Sequence[ObjectDiff]) -> str:
    """``2 added, 1 changed, 0 removed``."""
    counts = Counter(item.difference.change for item in differences)
    return ", ".join(f"{counts[change]} {change}" for change in ("added", "changed", "removed"))


def _echo(text: str, err: bool) -> None:
    shows = (sys.stderr if err else sys.stdout).isatty() and not os.environ.get("NO_COLOR")
    click.echo(text if shows else click.unstyle(text), err=err)


def show_value(value: Any) -> str:
    """A value on one line, cut where it is long; what cannot be seen is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
