"""Where tests are: each beside the module that it is about, and none imports another."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
UNIT = TESTS / "unit"

# Tests of what several modules do together, or of what is no module of the package.
ACROSS = {
    "agent/test_isolation.py",
    "agent/test_truth.py",
    "api/test_generated.py",
    "channel/test_bounds.py",
    "cli/test_docs.py",
    "cli/test_foreign_text.py",
    "test_documents.py",
    "test_examples.py",
    "test_locks.py",
    "test_structure.py",
    "test_test_layout.py",
    "test_words.py",
    "watch/test_watch_rules.py",
}


def subject_exists(test: Path) -> bool:
    """Whether a package or the test bed has a module, or folder, of the test's name."""
    folder, name = test.parent, test.name.removeprefix("test_").removesuffix(".py")
    return any(
        (base / folder / f"{name}.py").exists() or (base / folder / name).is_dir()
        for base in (ROOT / "ocistate", ROOT / "scripts")
    )


def test_each_unit_test_module_has_the_path_of_the_module_that_it_tests() -> None:
    tests = {path.relative_to(UNIT) for path in UNIT.rglob("test_*.py")}
    assert tests
    assert not sorted(str(t) for t in tests if str(t) not in ACROSS and not subject_exists(t))


def test_no_test_module_imports_from_another_one() -> None:
    """What tests share is in tests/support, or in a conftest."""
    modules = [*TESTS.rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    shared = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and any(part.startswith("test_") for part in (node.module or "").split("."))
    ]
    assert not shared
