"""``ocistate status``: what explains the rest comes first."""

from __future__ import annotations

from tests.support.environments.shop import run
from tests.support.fakes.kube_objects import stack_object
from tests.unit.cli.cluster.conftest import Cluster

APPLIED = {
    "type": "Applied",
    "status": "False",
    "reason": "ApplyFailed",
    "message": "the Deployment web is refused",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def test_a_ready_stack_shows_what_runs(cluster: Cluster) -> None:
    cluster(stack_object("shop", resources={"total": 3, "healthy": 3}))
    out = run("status", "shop").out
    for text in ("Stack default/shop is ready: Ready", "Follows: reg.io/shop prod", "Signed:  ci",
                 "Objects: 3, 3 healthy"):  # fmt: skip
        assert text in out


def test_causes_come_before_what_follows_from_them(cluster: Cluster) -> None:
    ready = ("False", "ApplyFailed", "one object failed")
    cluster(stack_object("shop", ready=ready, conditions=[APPLIED]))
    ran = run("status", "shop", "-o", "json", code=1)
    assert [cause["type"] for cause in ran.json["causes"]] == ["Applied", "Ready"]
    lines = run("status", "shop", code=1).out.splitlines()
    assert lines[0] == "Stack default/shop is not ready: ApplyFailed"
    assert "the Deployment web is refused" in lines[1]


def test_a_stack_without_status_hints_at_the_agent(cluster: Cluster) -> None:
    stack = stack_object("shop")
    del stack["status"]
    cluster(stack)
    out = run("status", "shop", code=1).out
    assert "in progress" in out
    assert "Runs:    nothing yet" in out


def test_an_unknown_stack_is_an_error(cluster: Cluster) -> None:
    cluster()
    assert "ocistate get -A" in run("status", "web", code=50).err
