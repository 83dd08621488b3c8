"""An artifact that would remove most of what is there asks first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.stacks import config_map


def test_an_artifact_that_removes_most_objects_waits_until_it_is_allowed(world: World) -> None:
    team = world.tenant()
    before = team.push(*(config_map(f"app-{number}", v="1") for number in range(16)))
    team.create()
    team.wait_ready(before)

    after = team.push(config_map("app-0", v="2"), config_map("new", v="1"))
    message = team.wait_condition("Ready", "False", "MassPrune")
    assert "would delete 15 of 16 objects" in message
    assert after in message
    assert team.data("app-0") == {"v": "1"}
    assert team.get("ConfigMap", "new") is None
    team.change("app-3", {"data": {"v": "edited"}})
    team.wait_data("app-3", v="1")

    world.merge(
        team.stack_path(), {"metadata": {"annotations": {"ocistate.dev/allow-prune": after}}}
    )
    team.wait_ready(after)
    team.wait_gone("ConfigMap", "app-3")
    assert team.data("app-0") == {"v": "2"}


def test_apply_asks_for_confirmation_before_a_mass_prune(world: World, tmp_path: Path) -> None:
    team = world.tenant()
    public = tmp_path / "key.pub"
    public.write_text(world.key.pem)

    def apply(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "ocistate", "apply", f"{team.repository}:prod"),
                *("--key", str(public), "--kubeconfig", str(world.cluster.kubeconfig)),
                *("-n", team.namespace, "--no-wait", *options),
            ],
            capture_output=True,
            text=True,
            env=os.environ | {"NO_COLOR": "1"},
        )

    team.push(*(config_map(f"app-{number}", v="1") for number in range(12)))
    assert apply().returncode == 0
    team.push(config_map("other", v="1"))
    assert "would delete 12 of 12 objects" in apply("--dry-run").stderr
    done = apply()
    assert done.returncode == 55, done.stderr
    assert "--max-prune 100" in done.stderr
    assert team.data("app-3") == {"v": "1"}
    assert team.get("ConfigMap", "other") is None
    done = apply("--max-prune", "100")
    assert done.returncode == 0, done.stderr
    wait_for("pruned", lambda: team.get("ConfigMap", "app-3") is None)
