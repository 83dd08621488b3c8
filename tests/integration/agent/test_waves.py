"""Waves on a real cluster: later ones wait for the health of the earlier."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.objects import deployment
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import in_wave


def web(**selector: str) -> dict[str, Any]:
    made = in_wave(deployment("web"), 1)
    made["metadata"].pop("namespace", None)
    made["spec"]["template"]["spec"]["nodeSelector"] = selector
    return made


def test_a_wave_waits_for_the_one_before_and_does_not_block_a_fix(world: World) -> None:
    team = world.tenant()
    objects = [config_map("settings", v="1"), in_wave(config_map("last", v="1"), 2)]
    stuck = team.push(*objects, web(no="such-node"))
    team.create()
    wait_for("web", lambda: team.get("Deployment", "web", "apps/v1"))
    message = team.wait_condition("Applied", "Unknown", "Progressing")
    assert "wave 1" in message
    team.wait_condition("Ready", "Unknown", "Progressing")
    assert team.data("settings") == {"v": "1"}
    assert team.get("ConfigMap", "last") is None
    assert (team.status().get("current") or {}).get("digest") != stuck

    fixed = team.push(*objects, web())
    team.wait_ready(fixed, seconds=60)
    assert team.data("last") == {"v": "1"}
    # Waves order a rollout; a repair waits for no one.
    team.delete("ConfigMap", "last")
    team.wait_data("last", v="1")


def test_apply_by_hand_waits_between_waves_too(world: World, tmp_path: Path) -> None:
    team = world.tenant()
    public = tmp_path / "key.pub"
    public.write_text(world.key.pem)

    def apply(timeout: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "ocistate", "apply", f"{team.repository}:prod"),
                *("--key", str(public), "--kubeconfig", str(world.cluster.kubeconfig)),
                *("-n", team.namespace, "--timeout", timeout, *more),
            ],
            capture_output=True,
            text=True,
            env=os.environ | {"NO_COLOR": "1"},
        )

    last = in_wave(config_map("last", v="1"), 2)
    team.push(web(no="such-node"), last)
    done = apply("2")
    assert done.returncode == 53, done.stderr
    assert "wave 2 was not begun" in done.stdout
    assert team.get("ConfigMap", "last") is None

    team.push(web(), last)
    done = apply("60", "-o", "json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["healthy"] is True
    assert (facts["plan"]["create"], facts["plan"]["change"]) == (1, 1)
    applied = {each["object"]: each["verb"] for each in facts["results"]}
    assert applied["ConfigMap/" + team.namespace + "/last"] == "create"
    assert team.data("last") == {"v": "1"}
