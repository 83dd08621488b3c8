"""The shape of the code: small functions, small modules, small folders, the field's words."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ocistate"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAX_FUNCTION = 60
MAX_MODULE = 400
MAX_FOLDER = 16  # with its __init__


def lines_of(function: ast.AST) -> int:
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return (function.end_lineno or 0) - function.lineno + 1


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines_of(node)} lines"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_of(node) > MAX_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in MODULES}
    long = [f"{path.relative_to(ROOT)}: {n}" for path, n in sizes.items() if n > MAX_MODULE]
    assert not long, "\n".join(long)


def test_no_folder_holds_more_than_fifteen_modules() -> None:
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {p.parent for p in MODULES}}
    full = [f"{folder.relative_to(ROOT)}: {n}" for folder, n in counts.items() if n > MAX_FOLDER]
    assert not full, "\n".join(full)


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    twice = [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]
    assert not twice, "\n".join(twice)
