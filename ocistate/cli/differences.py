"""How differences between artifacts are shown, by ``diff`` and before a promotion."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

if TYPE_CHECKING:
    from ocistate.steps.compare import ObjectDiff

_SIGNS: Final = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}
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
            "fields": [
                {"pointer": field.pointer, "before": field.before, "after": field.after}
                for field in item.fields
            ],
        }
        for item in differences
    ]


def print_differences(differences: Sequence[ObjectDiff], *, err: bool = False) -> None:
    """A line an object, the fields below it, to stdout or, with ``err``, to stderr."""
    stream = sys.stderr if err else sys.stdout
    for item in differences:
        click.echo(change_line(item.difference.change, str(item.difference.id), stream), err=err)
        for field in item.fields:
            click.echo(field_line(field.pointer, field.before, field.after, stream), err=err)


def change_line(change: str, text: str, stream: TextIO | None = None) -> str:
    """A line with the sign and the colour of a change, as far as the stream shows colours."""
    sign, color = _SIGNS[change]
    return _styled(click.style(f"{sign} {text}", fg=color), stream)


def field_line(pointer: str, before: Any, after: Any, stream: TextIO | None = None) -> str:
    """A line that shows one field's change."""
    old, new = click.style(show_value(before), fg="red"), click.style(show_value(after), fg="green")
    return _styled(f"    {pointer}: {old} → {new}", stream)


def summary_of(differences: Sequence[ObjectDiff]) -> str:
    """``2 added, 1 changed, 0 removed``."""
    counts = Counter(item.difference.change for item in differences)
    return ", ".join(f"{counts[change]} {change}" for change in ("added", "changed", "removed"))


def _styled(text: str, stream: TextIO | None) -> str:
    shows = (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR")
    return text if shows else click.unstyle(text)


def show_value(value: Any) -> str:
    """A value on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
