"""Objects that are meant to vanish run once, also over a restart of the agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.objects import obj
from tests.support.factories.stacks import config_map

BATCH = "batch/v1"


def job(name: str = "migrate", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return obj("Job", name, BATCH, spec={"template": template, **spec})


def uids(world: World, namespace: str) -> set[str]:
    """The Jobs there ever were: each made one Pod, of which the Events stay."""
    answer = world.cluster.request("GET", f"/api/v1/namespaces/{namespace}/events")
    found = (event["involvedObject"] for event in answer.body["items"])
    return {each["uid"] for each in found if each["kind"] == "Job"}


def test_a_job_with_a_ttl_runs_once(world: World) -> None:
    team = world.tenant()
    digest = team.push(job(ttlSecondsAfterFinished=0), config_map("app", v="1"))
    team.create()
    wait_for("the Job has run", lambda: uids(world, team.namespace))
    team.wait_gone("Job", "migrate", BATCH)
    team.wait_ready(digest)
    (first,) = uids(world, team.namespace)
    (run,) = team.status()["runs"]
    assert (run["name"], run["ended"]) == ("migrate", "succeeded")

    world.agent.kill()
    world.agent.start()
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="1")
    team.wait_ready(digest)
    second = team.push(job(ttlSecondsAfterFinished=0), config_map("app", v="2"))
    team.wait_ready(second)
    assert uids(world, team.namespace) == {first}
    version = team.get("Stack", "app", "ocistate.dev/v1alpha1") or {}
    time.sleep(2)
    assert team.get("Stack", "app", "ocistate.dev/v1alpha1") == version, "nothing is written"

    changed = job(ttlSecondsAfterFinished=0, backoffLimit=3)
    third = team.push(changed, config_map("app", v="2"))
    wait_for("it runs again", lambda: len(uids(world, team.namespace)) == 2)
    team.wait_ready(third)


def test_a_job_deleted_before_it_ended_is_restored(world: World) -> None:
    team = world.tenant()
    stuck = job(ttlSecondsAfterFinished=0)
    stuck["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    team.push(stuck)
    team.create()
    wait_for("the Job", lambda: team.get("Job", "migrate", BATCH))
    team.wait_condition("Healthy", "Unknown", "Progressing")
    before = (team.get("Job", "migrate", BATCH) or {})["metadata"]["uid"]

    path = f"/apis/batch/v1/namespaces/{team.namespace}/jobs/migrate"
    world.cluster.request("DELETE", f"{path}?propagationPolicy=Background")

    def again() -> bool:
        live = team.get("Job", "migrate", BATCH)
        return live is not None and live["metadata"]["uid"] != before

    wait_for("another Job", again)


def test_objects_marked_apply_once_are_created_once_and_then_left(world: World) -> None:
    team = world.tenant()
    ticket = config_map("ticket", v="1")
    ticket["metadata"]["annotations"] = {"ocistate.dev/apply": "once"}
    digest = team.push(ticket, config_map("app", v="1"))
    team.create()
    team.wait_ready(digest)

    team.delete("ConfigMap", "ticket")
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="1")
    team.wait_ready(digest)

    assert team.get("ConfigMap", "ticket") is None
    assert condition(team.status(), "Healthy")[0] == "True"


def test_a_pod_that_has_ended_is_not_run_again(world: World) -> None:
    team = world.tenant()
    container = {"name": "c", "image": "busybox:1"}
    pod = obj("Pod", "task", spec={"restartPolicy": "Never", "containers": [container]})
    digest = team.push(pod, config_map("app", v="1"))
    team.create()
    wait_for("the Pod", lambda: team.get("Pod", "task"))
    path = f"/api/v1/namespaces/{team.namespace}/pods/task"
    world.merge(f"{path}/status", {"status": {"phase": "Succeeded"}})
    wait_for(
        "its end", lambda: [r["ended"] for r in team.status().get("runs", ())] == ["succeeded"]
    )

    world.cluster.request("DELETE", f"{path}?gracePeriodSeconds=0")
    team.wait_gone("Pod", "task")
    world.agent.kill()
    world.agent.start()
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="1")
    team.wait_ready(digest)

    assert team.get("Pod", "task") is None


def test_apply_reports_a_removed_job_and_succeeds(world: World, tmp_path: Path) -> None:
    team = world.tenant()
    public = tmp_path / "key.pub"
    public.write_text(world.key.pem)
    last = config_map("last", v="1")
    last["metadata"]["annotations"] = {"ocistate.dev/wave": "1"}
    team.push(job(ttlSecondsAfterFinished=0), last)

    done = subprocess.run(
        [
            *(sys.executable, "-m", "ocistate", "apply", f"{team.repository}:prod"),
            *("--key", str(public), "--kubeconfig", str(world.cluster.kubeconfig)),
            *("-n", team.namespace, "--timeout", "60", "-o", "json"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["healthy"] is True
    assert "ran to its end, and was removed" in done.stderr
    assert team.data("last") == {"v": "1"}
