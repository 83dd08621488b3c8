"""What the documents say exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]

INSIDE = {  # folders that architecture.md names below the package that it describes
    folder.name + "/" for folder in (ROOT / "ocistate").glob("*/*") if folder.is_dir()
}


@pytest.mark.parametrize("name", ["threat-model.md", "trust.md"])
def test_tests_that_a_document_names_exist(name: str) -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (ROOT / "docs" / name).read_text()))
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        there.update(re.findall(r"^def (test_[a-z0-9_]+)", path.read_text(), re.MULTILINE))
    assert named
    assert named - there == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|mailto:)([^)]+)\)", path.read_text())
    assert [link for link in links if not leads_somewhere(path, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, fragment = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists() or not fragment:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
    return fragment in {anchor(heading) for heading in headings}


def anchor(heading: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    pages = {page.name: page.read_text().splitlines()[0] for page in folder.glob("[0-9]*.md")}
    assert pages
    unlisted = [
        n for n, title in pages.items() if f"[{title.removeprefix('# ')}]({n})" not in index
    ]
    assert unlisted == []


def test_files_and_folders_that_documents_name_exist() -> None:
    """Where architecture.md, CONTRIBUTING.md and a decision send a reader."""
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]
    missing = []
    for page in [*pages, *(ROOT / "docs" / "adr").glob("*.md")]:
        for name in re.findall(r"`([a-z_./]+(?:/|\.py))`", page.read_text()):
            places = (ROOT, ROOT / "ocistate", ROOT / "ocistate" / "agent")
            if not any((place / name).exists() for place in places) and name not in INSIDE:
                missing.append(f"{page.name}: {name}")
    assert missing == []
