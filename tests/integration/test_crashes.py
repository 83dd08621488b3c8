"""The agent dies, or finds its disk full, before every single one of its file operations."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.assertions.agent import condition
from tests.support.environments.embedded import Site

HERE = Path(__file__).parents[2]
OLD = {"app": "1", "gone": "1", "same": "1"}
NEW = {"app": "2", "new": "2", "same": "1"}


def run_crashes(site: Site, mode: str) -> list[dict[str, Any]]:
    before = site.root / "before"
    for name in ("state", "shop"):
        shutil.copytree(site.root / name, before / name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.crashes", str(site.root), mode],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=240,
        env={"PYTHONPATH": f"{HERE}:{HERE / 'scripts'}", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, trace, rest = done.stderr.partition("Traceback")
    assert not trace, rest[:3000]
    return [json.loads(line) for line in done.stdout.splitlines()]


def values(files: dict[str, str]) -> dict[str, str]:
    """The version in each manifest; one that is not whole would be no YAML, or have none."""
    return {
        name.removesuffix(".yaml"): yaml.safe_load(text)["data"]["v"]
        for name, text in files.items()
        if not name.startswith(".")  # a copy beside it, which no one reads
    }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.declare(site.shop())
    site.push(**OLD)
    assert site.once().returncode == 0
    return site


@pytest.mark.parametrize("mode", ["kill", "full"])
def test_a_rollout_is_finished_by_the_next_agent(site: Site, mode: str) -> None:
    digest = site.push(**NEW)

    runs = run_crashes(site, mode)

    print(f"{len(runs)} operations")
    assert len(runs) > 30
    assert runs[-1]["first"] == 0, "the last one came to no harm"
    for run in runs:
        assert run["first"] in ((-9, 0) if mode == "kill" else (1, 4, 0)), run
        assert run["second"] == 0, run
        for name, value in values(run["between"]).items():
            assert value in (OLD.get(name), NEW.get(name)), run
        assert values(run["between"]).keys() >= OLD.keys() & NEW.keys(), run
        assert run["after"].keys() == {f"{name}.yaml" for name in NEW}, run
        assert values(run["after"]) == NEW, run
        assert run["status"]["current"]["digest"] == digest
        assert condition(run["status"], "Ready")[1] == "Ready"
        assert run["litter"] == []


@pytest.mark.parametrize("mode", ["kill", "full"])
def test_a_removal_is_finished_by_the_next_agent(site: Site, mode: str) -> None:
    site.push(tag="other", app="1")
    site.declare(site.shop("other", source={"tag": "other"}))

    for run in run_crashes(site, mode):
        assert run["second"] == 0, run
        assert values(run["between"]).items() <= OLD.items(), run
        assert run["after"] == {}, run
        assert run["status"] is None, run
