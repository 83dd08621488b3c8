"""What the user sees: results on stdout, everything else on stderr.

``-o json`` and ``-o yaml`` print one plain value, an API that scripts rely on; a table is for
people. Colour follows the terminal and NO_COLOR.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from ocistate.errors import OcistateError
from ocistate.text import plain, plain_json

if TYPE_CHECKING:
    from ocistate.objects import GroupKind

_LONG = 100
"""From how many items on a list is printed densely."""

OutputFormat = Literal["json", "yaml", "table", "name"]
F = TypeVar("F", bound=Callable[..., Any])


def output_option(*formats: OutputFormat) -> Callable[[F], F]:
    """``-o/--output`` with the formats a command offers, the first being the default."""
    return click.option(
        "-o",
        "--output",
        "output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print the result.",
    )


def emit(value: Any, output: str) -> None:
    """Print a plain value to stdout as JSON or YAML."""
    if output == "yaml":
        import yaml

        click.echo(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False), nl=False)
    elif isinstance(value, list) and len(value) > _LONG:
        # A line an item: indenting takes json ten times as long.
        lines = (json.dumps(item, ensure_ascii=False) for item in value)
        click.echo(plain_json("[\n" + ",\n".join(lines) + "\n]"))
    else:
        click.echo(plain_json(json.dumps(value, indent=2, ensure_ascii=False)))


def result(text: str) -> None:
    """A line of the result, to stdout: one, whatever is in it."""
    click.echo(plain(text))


def note(text: str) -> None:
    """A line for the person watching, to stderr: one, whatever is in it."""
    click.echo(plain(text), err=True)


def warn(text: str) -> None:
    """A warning, to stderr."""
    click.echo(click.style("Warning: ", fg="yellow") + plain(text), err=True, color=_color())


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """An aligned table to stdout, as kubectl prints one: no borders, upper-case heads."""
    heads = [column.upper() for column in columns]
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [
        max(len(head), *(len(row[place]) for row in rows)) if rows else len(head)
        for place, head in enumerate(heads)
    ]
    for row in [heads, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("   ".join(cells).rstrip())


def short(origin: str) -> str:
    """A digest or a tag made from one, cut down to what tells it from others."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1", origin)


def _color() -> bool | None:
    import os

    if os.environ.get("NO_COLOR"):
        return False
    return sys.stderr.isatty() or None


def note_unlisted(unlisted: Mapping[GroupKind, OcistateError]) -> None:
    """Name kinds that are broken, and left out."""
    from ocistate.kube.discovery import kind_text

    for kind, error in unlisted.items():
        note(f"{kind_text(kind)} cannot be listed, and is left alone: {error.message}")
