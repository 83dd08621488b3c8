"""How ``ocistate diff --live`` prints what an apply would change, and which artifact it takes."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.artifact.diff import FieldChange
from ocistate.cli.cluster import live_diff
from ocistate.objects import ObjectId
from ocistate.ops.cluster.live import LiveDiff
from tests.support.environments.shop import run
from tests.support.fakes.kube_objects import stack_object
from tests.unit.cli.cluster.conftest import Cluster

FOUND = (
    LiveDiff(
        id=ObjectId("", "ConfigMap", "shop", "app"),
        change="changed",
        fields=(FieldChange(pointer="/data/v", before="1", after="2"),),
    ),
    LiveDiff(id=ObjectId("", "Pod", "shop", "p"), change="refused", error="it is immutable"),
)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def compare(*args: Any) -> tuple[str, tuple[LiveDiff, ...]]:
        return "sha256:1", FOUND

    monkeypatch.setattr(live_diff, "_compare", compare)


@pytest.mark.usefixtures("found")
def test_objects_are_printed_in_each_format() -> None:
    out = run("diff", "reg.io/shop:v1", "--live").out
    assert "~ ConfigMap/shop/app" in out
    assert '/data/v: "1" → "2"' in out
    assert "! Pod/shop/p: it is immutable" in out
    rows = run("diff", "reg.io/shop:v1", "--live", "-o", "json").json
    assert rows["digest"] == "sha256:1"
    assert [(row["change"], row["error"]) for row in rows["resources"]] == [
        ("changed", ""),
        ("refused", "it is immutable"),
    ]
    names = run("diff", "reg.io/shop:v1", "--live", "-o", "name", "--exit-code", code=1).out
    assert names.split() == ["ConfigMap/shop/app", "Pod/shop/p"]


def test_a_stack_that_applied_nothing_has_nothing_to_compare(cluster: Cluster) -> None:
    stack = stack_object("shop")
    del stack["status"]["current"]
    cluster(stack)
    assert "has not applied anything" in run("diff", "--live", "--stack", "shop", code=50).err
    assert "no Stack web" in run("diff", "--live", "--stack", "web", code=50).err
