"""What is made from the code is what lies in the tree."""

import runpy
from pathlib import Path

import pytest

from ocistate.install.crds import crds

ROOT = Path(__file__).resolve().parents[3]
GENERATED: dict[Path, str] = runpy.run_path(str(ROOT / "scripts/generate"))["generated"]()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == GENERATED[path], "run scripts/generate"


def test_definitions_are_found_by_kind() -> None:
    assert [crd["spec"]["names"]["kind"] for crd in crds()] == ["Stack", "TrustPolicy"]
