"""``ocistate get``: rows of Stacks, in each output format."""

from __future__ import annotations

from tests.support.environments.shop import run
from tests.support.fakes.kube_objects import stack_object
from tests.unit.cli.cluster.conftest import Cluster


def test_json_has_what_runs_and_its_conditions(cluster: Cluster) -> None:
    cluster(stack_object("shop"), stack_object("web", "other"))
    (row,) = run("get", "-o", "json").json
    assert (row["namespace"], row["name"], row["revision"]) == ("default", "shop", "main")
    assert row["ready"] == {"status": "True", "reason": "Ready", "message": "applied"}
    assert row["signedBy"] == ["ci"]
    assert row["healthy"] == {"status": "", "reason": "", "message": ""}
    assert len(run("get", "-A", "-o", "json").json) == 2
    assert run("get", "-n", "other", "-o", "name").line == "stack/web"


def test_the_table_names_the_reason(cluster: Cluster) -> None:
    cluster(stack_object("shop", ready=("False", "NotSigned", "no signature")))
    head, row = run("get").out.splitlines()
    assert head.split()[:3] == ["NAMESPACE", "NAME", "DIGEST"]
    assert "NotSigned" in row


def test_a_named_stack_must_be_there(cluster: Cluster) -> None:
    cluster(stack_object("shop"))
    ran = run("get", "shop", "web", code=50)
    assert "no Stack web" in ran.err
    assert "shop" in ran.out


def test_no_stacks_are_no_error(cluster: Cluster) -> None:
    cluster()
    ran = run("get")
    assert (ran.out, ran.err.strip()) == ("", "No Stacks found.")
