"""How differences between artifacts are shown, by ``diff`` and before a promotion."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.cli.output import result

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
    for item in differences:
        sign, color = _SIGNS[item.difference.change]
        _line(click.style(f"{sign} {item.difference.id}", fg=color), err)
        for field in item.fields:
            before, after = _show(field.before), _show(field.after)
            _line(
                f"    {field.pointer}: {click.style(before, fg='red')} → "
                f"{click.style(after, fg='green')}",
                err,
            )


def summary_of(differences: Sequence[ObjectDiff]) -> str:
    """``2 added, 1 changed, 0 removed``."""
    counts = Counter(item.difference.change for item in differences)
    return ", ".join(f"{counts[change]} {change}" for change in ("added", "changed", "removed"))


def _line(text: str, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    plain = bool(os.environ.get("NO_COLOR")) or not stream.isatty()
    text = click.unstyle(text) if plain else text
    if err:
        click.echo(text, err=True)
    else:
        result(text)


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
