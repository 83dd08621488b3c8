"""Run a benchmark, print its table, and fail when a bar is missed."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path

from benches.common.measure import Figures


def main() -> int:
    """The command line; the exit code is 1 when a bar is missed."""
    folder = Path(__file__).parent
    names = sorted(
        module.name
        for module in pkgutil.iter_modules([str(folder)])
        if not module.ispkg and module.name != "__main__"
    )
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("what", choices=[*names, "all"], help="which benchmark")
    parser.add_argument("--size", type=int, help="how many objects; each has its own default")
    parser.add_argument("--only", default="", help="one part of a benchmark that has several")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    figures: Figures = {}
    for name in names if options.what == "all" else [options.what]:
        print(f"{name} …", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benches.{name}")
        if options.only and options.only not in getattr(module, "PARTS", ()):
            parser.error(f"{name} has no part {options.only!r}")
        only = {"only": options.only} if options.only else {}
        figures |= module.run(options.size, **only)
    _print(figures)
    if options.json:
        print(json.dumps(figures, separators=(",", ":")))
    return 0 if all(figure["ok"] for figure in figures.values()) else 1


def _print(figures: Figures) -> None:
    heads = ("what", "value", "floor", "ratio", "bar", "")
    rows = [
        (
            name,
            f"{figure['value']:.3f} {figure['unit']}",
            "" if figure["floor"] is None else f"{figure['floor']:.3f}",
            "" if figure["ratio"] is None else f"{figure['ratio']:.2f}",
            figure["bar"],
            "ok" if figure["ok"] else "MISSED",
        )
        for name, figure in figures.items()
    ]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
