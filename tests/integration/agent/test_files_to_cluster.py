"""Stacks from files, objects in a cluster: the agent beside a cluster, with a person's rights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.environments.agent import World
from tests.support.factories.stacks import config_map, policy, stack


def test_a_stack_from_a_file_is_applied_and_taken_away_again(world: World, tmp_path: Path) -> None:
    team = world.tenant(applier=False)
    team.push(config_map("app", team.namespace, v="1"))
    file = tmp_path / "stacks.yaml"

    def once(*names: str) -> subprocess.CompletedProcess[str]:
        stacks = [
            stack(name, team.repository, source={"tag": tag})
            for name, tag in (("app", "prod"), ("other", "other"))
            if name in names
        ]
        file.write_text(yaml.safe_dump_all([policy(world.key), *stacks]))
        command = [
            *(sys.executable, "-m", "ocistate", "agent", "--once"),
            *("--stacks", str(file), "--state", str(tmp_path / "state")),
            *("--kubeconfig", str(world.cluster.kubeconfig)),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    team.push(config_map("other", team.namespace, v="1"), tag="other")
    done = once("app", "other")
    assert done.returncode == 0, done.stderr
    assert team.data("app") == team.data("other") == {"v": "1"}

    team.change("other", {"data": {"v": "9"}})
    done = once("app", "other")
    assert done.returncode == 0, done.stderr
    assert team.data("other") == {"v": "1"}

    done = once("other")
    assert done.returncode == 0, done.stderr
    assert team.data("app") == {}
    assert team.data("other") == {"v": "1"}
