"""What scripts/lock wrote down: the image holds what the tests run with, each file by its hash."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.command import ROOT

CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
)
LOCKS = ("requirements.txt", "build-requirements.txt")


def entries(name: str) -> list[str]:
    text = (ROOT / "scripts" / "image" / name).read_text().replace("\\\n", " ")
    return text.splitlines()


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_by_version_and_hash_and_by_nothing_else(name: str) -> None:
    assert entries(name)
    for entry in entries(name):
        wanted, *hashes = re.split(r" +--hash=", entry.strip())
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", wanted), entry
        assert hashes, entry
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), entry


def test_the_image_has_the_versions_that_the_tests_run_with() -> None:
    pinned = [re.match(r"([^=]+)==(\S+) *(.*)", entry) for entry in entries(LOCKS[0])]
    here = {m[1]: m[2] for m in pinned if m and "== 'emscripten'" not in m[3]}
    assert here == {name: CONSTRAINTS.get(name) for name in here}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[\[<>=]", each)[0].lower() for each in project["dependencies"]}
    assert wanted <= here.keys()
