"""``ocistate orphans``: which owners are gone, and what is refused before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ocistate.apply import ownership
from ocistate.apply.ownership import Marked, MarkedObjects
from ocistate.cli.cluster.orphans import _kind, _orphaned
from ocistate.objects import ObjectId
from tests.support.environments.shop import run
from tests.support.fakes.kube_objects import KubeObjects, stack_object
from tests.unit.cli.cluster.conftest import Cluster

GONE = "0b0e8400-e29b-41d4-a716-446655440000"
LIVING = "1b0e8400-e29b-41d4-a716-446655440000"


def marked(owner: str, name: str) -> Marked:
    return Marked(
        id=ObjectId("", "ConfigMap", "shop", name), uid=name, owner=owner, has_digest=True
    )


@pytest.fixture
def kube(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> KubeObjects:
    stack = stack_object("shop")
    stack["metadata"]["uid"] = LIVING
    found = MarkedObjects(
        objects=(marked(GONE, "a"), marked("cli-1", "b"), marked(LIVING, "c")), unseen=("Pod",)
    )

    async def find(client: Any, *, namespace: str = "", owner: str = "") -> MarkedObjects:
        objects = tuple(each for each in found.objects if owner in ("", each.owner))
        return MarkedObjects(objects=objects, unseen=found.unseen)

    async def change(client: Any, objects: Any, *, to: str) -> list[tuple[Any, None]]:
        changed.extend((each.id.name, to) for each in objects)
        return [(each, None) for each in objects]

    changed: list[tuple[str, str]] = []
    monkeypatch.setattr(ownership, "find_marked", find)
    monkeypatch.setattr(ownership, "mark_all", change)
    kube = cluster(stack)
    kube.changed = changed  # type: ignore[attr-defined]
    return kube


@pytest.mark.parametrize(
    ("owner", "kind"), [("cli-12", "apply"), (GONE, "stack"), ("shop-from-files", "files")]
)
def test_an_owner_shows_what_kind_it_is(owner: str, kind: str) -> None:
    assert _kind(owner) == kind


def test_owners_of_living_stacks_are_no_orphans() -> None:
    found = MarkedObjects(objects=(marked(GONE, "a"), marked(LIVING, "b")), unseen=())
    living: Mapping[str, str] = {LIVING: "default/shop"}
    assert list(_orphaned(found, living)) == [GONE]


@pytest.mark.usefixtures("kube")
def test_orphans_are_listed_by_owner() -> None:
    ran = run("orphans", "list", "-o", "json")
    assert [(row["owner"], row["kind"]) for row in ran.json] == [
        (GONE, "stack"),
        ("cli-1", "apply"),
    ]
    assert "Pod" in ran.err
    assert GONE in run("orphans", "list").out


def test_objects_are_given_to_a_stack(kube: Any) -> None:
    found = run("orphans", "give", GONE, "shop", "--yes", "-o", "json").json
    assert found["objects"] == [{"object": "ConfigMap/shop/a", "error": ""}]
    assert kube.changed == [("a", LIVING)]


def test_a_dry_run_and_a_no_change_nothing(kube: Any) -> None:
    run("orphans", "release", GONE, "--dry-run")
    run("orphans", "release", GONE, stdin="n\n", terminal=True, code=130)
    assert kube.changed == []
    run("orphans", "release", GONE, stdin="y\n", terminal=True)
    assert kube.changed == [("a", "")]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("give", LIVING, "shop", "--yes"), 54, "spec.handOverTo"),
        (("give", GONE, "none", "--yes"), 50, "no Stack none"),
        (("release", "cli-9", "--yes"), 50, "no object belongs"),
        (("release", "a b", "--yes"), 2, "orphans list"),
        (("release", GONE), 2, "--yes"),
    ],
)
def test_refusals_change_nothing(kube: Any, args: tuple[str, ...], code: int, said: str) -> None:
    assert said in run("orphans", *args, code=code).err
    assert kube.changed == []
