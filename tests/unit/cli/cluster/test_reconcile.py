"""``ocistate reconcile``, ``suspend`` and ``resume``: what is patched, and when one waits."""

from __future__ import annotations

import pytest

from tests.support.environments.shop import run
from tests.support.fakes.kube_objects import stack_object
from tests.unit.cli.cluster.conftest import Cluster


def test_without_waiting_only_the_request_is_written(cluster: Cluster) -> None:
    kube = cluster(stack_object("shop"))
    found = run("reconcile", "shop", "--no-wait", "-o", "json").json
    assert (found["handled"], found["name"]) == (False, "shop")
    assert "ocistate.dev/reconcile" in kube.objects[0]["metadata"]["annotations"]


def test_a_request_that_is_not_answered_times_out(cluster: Cluster) -> None:
    cluster(stack_object("shop"))
    ran = run("reconcile", "shop", "--timeout", "0.01", code=53)
    assert "is the agent running?" in ran.err


@pytest.mark.parametrize(
    ("ready", "code"),
    [(("True", "Ready", "ok"), 0), (("False", "Failed", "no"), 1), (("True", "Stale", "old"), 1)],
)
def test_the_exit_code_follows_the_result(
    cluster: Cluster, ready: tuple[str, str, str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(stack_object("shop", ready=ready, lastHandledReconcileAt="now"))
    monkeypatch.setattr("ocistate.cli.cluster.reconcile.format_micros", lambda _: "now")
    assert run("reconcile", "shop", code=code).line == f"stack/shop {ready[1]}: {ready[2]}"


def test_suspend_and_resume_change_all_or_none(cluster: Cluster) -> None:
    kube = cluster(stack_object("shop"), stack_object("web"))
    assert run("suspend", "shop", "web").out.split("\n")[:2] == [
        "stack/shop suspended",
        "stack/web suspended",
    ]
    assert all(obj["spec"]["suspend"] for obj in kube.objects)
    run("resume", "shop", "none", code=50)
    assert all(obj["spec"]["suspend"] for obj in kube.objects)
    run("resume", "shop")
    assert not kube.objects[0]["spec"]["suspend"]
