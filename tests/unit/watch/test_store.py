"""The store of owned objects: what it remembers, and of what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ocistate.apply.desired.prepare import Desired
from ocistate.apply.live import live_of
from ocistate.apply.plan import Live, Verb, make_plan
from ocistate.apply.result import ApplyOutcome, ObjectState, Result
from ocistate.health.model import HealthStatus
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.labels import DIGEST_ANNOTATION, STACK_LABEL
from ocistate.objects import ObjectId
from ocistate.watch.changes import ChangeKind, ObjectChange
from ocistate.watch.store import OwnedObjects
from tests.support.factories.objects import OWNER, config_map, deployment, desire

CONFIG_MAPS = ApiResource(
    group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True
)
DEPLOYMENTS = ApiResource(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    namespaced=True,
    subresources=frozenset({"status"}),
)
WHOLE: dict[str, Any] = {
    "f:metadata": {
        "f:labels": {f"f:{STACK_LABEL}": {}},
        "f:annotations": {f"f:{DIGEST_ANNOTATION}": {}},
    },
    "f:data": {"f:key": {}},
}

LEFT: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{STACK_LABEL}": {}}}}
"""What is still ours after somebody took the rest."""


def metadata(
    marker: str,
    *,
    version: str = "10",
    fields: Mapping[str, Any] | None = WHOLE,
    owner: str = OWNER,
    uid: str = "u",
    others: tuple[tuple[str, str], ...] = (),
    **parts: Any,
) -> codec.Metadata:
    entries: list[dict[str, Any]] = []
    if fields is not None:
        entries.append({"manager": "ocistate", "operation": "Apply", "fieldsV1": fields})
    entries += [
        {"manager": name, "operation": "Update", "time": time, "fieldsV1": {}}
        for name, time in others
    ]
    given = {
        "name": "a",
        "namespace": "default",
        "uid": uid,
        "resourceVersion": version,
        "labels": {STACK_LABEL: owner},
        "annotations": {DIGEST_ANNOTATION: marker},
        "managedFields": entries,
        **parts,
    }
    return codec.decode_as(codec.PARTIAL, codec.encode({"metadata": given})).metadata


class World:
    """A store that writes down what it tells."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.told: list[tuple[str, ChangeKind]] = []
        self.changes: list[ObjectChange] = []
        self.owned = OwnedObjects(self._note)
        self.desired: Desired = desire(*(objects or (config_map("a"),)))
        self.id: ObjectId = self.desired.wanted[0].id
        self.marker = self.desired.wanted[0].marker

    def _note(self, change: ObjectChange) -> None:
        self.told.append((change.id.name, change.what))
        self.changes.append(change)

    def see(self, seen: codec.Metadata) -> None:
        self.owned.see(CONFIG_MAPS, seen, None)

    def live(self) -> Live:
        found = self.owned.get(self.id)
        assert found is not None
        return found

    def applied(
        self, seen: codec.Metadata, state: ObjectState = ObjectState.APPLIED
    ) -> ApplyOutcome:
        live = live_of(seen)
        assert live is not None
        from dataclasses import replace

        result = Result(id=self.id, verb=Verb.CHANGE, state=state, live=replace(live, intact=True))
        return ApplyOutcome(results=(result,))


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_seen_for_the_first_time_is_checked_against_what_is_desired(world: World) -> None:
    world.owned.desire(world.desired)
    world.see(metadata(world.marker))
    assert world.live().intact is True
    assert world.told == [("a", ChangeKind.APPEARED)]
    assert make_plan(world.desired, world.owned.mine(OWNER), world.owned.all).empty


def test_an_edit_from_before_the_restart_shows(world: World) -> None:
    world.owned.desire(world.desired)
    stolen = {key: value for key, value in WHOLE.items() if key != "f:data"}
    world.see(metadata(world.marker, fields=stolen))
    assert world.live().intact is False


def test_without_knowing_what_is_desired_nothing_is_claimed(world: World) -> None:
    world.see(metadata(world.marker))
    assert world.live().intact is None


def test_a_label_that_somebody_copied_is_not_ours(world: World) -> None:
    world.see(metadata(world.marker, fields=None, others=(("endpoint-controller", "t"),)))
    assert world.owned.get(world.id) is None
    assert world.told == []


def test_a_label_that_somebody_wrote_over_makes_it_nobodys_until_it_is_ours_again(
    world: World,
) -> None:
    world.see(metadata(world.marker))
    taken: dict[str, Any] = {"f:data": {"f:key": {}}}
    by_ed = metadata(
        world.marker, version="11", fields=taken, owner="other", others=(("ed", "2026-02-01"),)
    )

    world.see(by_ed)

    assert world.changes[-1] == ObjectChange(
        owner=OWNER, id=world.id, what=ChangeKind.GONE, by="ed"
    )
    assert world.owned.get(world.id) is None
    assert not world.owned.mine("other"), "it must not be pruned as something of the other one's"
    world.see(metadata(world.marker, version="12"))
    assert world.live().owner == OWNER
    world.see(by_ed)
    assert world.live().owner == OWNER, "an event from before our apply"


def test_status_updates_are_not_told(world: World) -> None:
    world.see(metadata(world.marker))
    before = world.owned.revision(OWNER)
    world.see(metadata(world.marker, version="11", others=(("kubelet", "t"),)))
    assert world.told == [("a", ChangeKind.APPEARED)]
    assert world.owned.revision(OWNER) == before
    assert world.live().resource_version == "11"


def test_a_field_taken_from_us_is_a_drift_and_names_the_last_writer(world: World) -> None:
    world.see(metadata(world.marker))
    taken = metadata(
        world.marker,
        version="11",
        fields=LEFT,
        others=(("old", "2026-01-01"), ("ed", "2026-02-01")),
    )
    before = world.owned.revision(OWNER)
    world.see(taken)
    assert world.changes[-1] == ObjectChange(
        owner=OWNER, id=world.id, what=ChangeKind.DRIFTED, by="ed"
    )
    assert world.owned.revision(OWNER) > before
    assert not world.live().intact


def test_what_we_do_ourselves_is_no_drift(world: World) -> None:
    world.see(metadata("sha256:old"))
    plan = make_plan(world.desired, world.owned.mine(OWNER))
    world.told.clear()
    new = metadata(world.marker, version="11")
    with world.owned.expecting(plan):
        world.see(new)
        world.owned.record(world.applied(new))
    assert world.told == []
    assert world.live().intact is True


def test_an_answer_before_its_event_is_remembered_and_the_event_is_no_news(world: World) -> None:
    new = metadata(world.marker, version="11")
    world.owned.record(world.applied(new))
    world.see(metadata("sha256:old", version="9", fields=LEFT))
    world.see(new)
    assert world.live().intact is True
    assert world.live().marker == world.marker
    assert world.told == []


def test_a_change_by_others_during_our_apply_is_told_afterwards(world: World) -> None:
    world.see(metadata("sha256:old"))
    plan = make_plan(world.desired, world.owned.mine(OWNER))
    world.told.clear()
    with world.owned.expecting(plan):
        world.see(metadata(world.marker, version="12", fields=LEFT))
        world.owned.record(world.applied(metadata(world.marker, version="11")))
        assert world.told == []
    assert world.told == [("a", ChangeKind.DRIFTED)]
    assert not world.live().intact


def test_a_webhooks_handiwork_counts_as_applied(world: World) -> None:
    partly = {key: value for key, value in WHOLE.items() if key != "f:data"}
    mutated = metadata(world.marker, version="11", fields=partly)
    world.owned.desire(world.desired)
    world.owned.record(world.applied(mutated))
    world.see(mutated)
    assert world.live().intact is True
    assert make_plan(world.desired, world.owned.mine(OWNER)).empty


def test_gone_is_told_once_and_only_of_the_object_meant(world: World) -> None:
    world.see(metadata(world.marker))
    world.told.clear()
    world.owned.forget(world.id, "another uid")
    assert world.told == []
    world.owned.forget(world.id, "u")
    world.owned.forget(world.id, "u")
    assert world.told == [("a", ChangeKind.GONE)]
    assert len(world.owned) == 0
    assert world.owned.owners() == []


def test_a_complete_list_removes_what_is_not_in_it(world: World) -> None:
    world.see(metadata(world.marker))
    world.owned.only(CONFIG_MAPS, "elsewhere", [])
    assert len(world.owned) == 1
    world.owned.only(CONFIG_MAPS, "default", [])
    assert world.told[-1] == ("a", ChangeKind.GONE)


def test_an_object_that_changes_hands_is_lost_to_one_and_found_by_the_other(world: World) -> None:
    world.see(metadata(world.marker))
    world.see(metadata(world.marker, version="11", owner="owner-2"))
    assert [(change.owner, change.what) for change in world.changes] == [
        (OWNER, ChangeKind.APPEARED),
        (OWNER, ChangeKind.GONE),
        ("owner-2", ChangeKind.APPEARED),
    ]
    assert not world.owned.mine(OWNER)


def test_a_deletion_under_way_is_remembered_at_once(world: World) -> None:
    seen = metadata(world.marker)
    world.see(seen)
    world.owned.record(world.applied(seen, ObjectState.DELETED))
    assert world.live().deleting
    assert world.owned.health(world.id).status is HealthStatus.PROGRESSING


def _deployment(version: str, available: int, generation: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"generation": generation},
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": generation,
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": available,
        },
    }


def test_health_is_followed_and_told_when_it_changes() -> None:
    world = World(deployment("a"))
    for version, available in (("10", 0), ("11", 0), ("12", 1)):
        world.owned.see(
            DEPLOYMENTS, metadata(world.marker, version=version), _deployment(version, available)
        )
    assert [what for _, what in world.told] == [
        ChangeKind.HEALTH,
        ChangeKind.APPEARED,
        ChangeKind.HEALTH,
    ]
    assert world.owned.health(world.id).status is HealthStatus.HEALTHY


def test_health_from_before_an_apply_does_not_count_after_it() -> None:
    world = World(deployment("a"))
    world.owned.see(DEPLOYMENTS, metadata("sha256:old"), _deployment("10", 1))
    assert world.owned.health(world.id).status is HealthStatus.HEALTHY
    world.owned.record(world.applied(metadata(world.marker, version="11")))
    assert world.owned.health(world.id).status is HealthStatus.PROGRESSING
    world.owned.see(DEPLOYMENTS, metadata(world.marker, version="11"), _deployment("11", 1))
    assert world.owned.health(world.id).status is HealthStatus.HEALTHY


def test_health_seen_before_the_answer_stays() -> None:
    world = World(deployment("a"))
    new = metadata(world.marker, version="11")
    world.owned.see(DEPLOYMENTS, new, _deployment("11", 1))
    world.owned.record(world.applied(new))
    assert world.owned.health(world.id).status is HealthStatus.HEALTHY


def test_what_is_not_there_is_missing(world: World) -> None:
    assert world.owned.health(world.id).status is HealthStatus.MISSING


def test_everybodys_objects_read_as_one_mapping(world: World) -> None:
    world.see(metadata(world.marker, owner="owner-2"))
    assert list(world.owned.all) == [world.id]
    assert world.owned.all[world.id].owner == "owner-2"
    assert world.owned.all.get(ObjectId("", "ConfigMap", "default", "b")) is None
    assert world.owned.kinds() == {("", "ConfigMap")}
    assert world.owned.kinds(OWNER) == set()


def test_what_changed_is_named_until_it_is_settled() -> None:
    owned = OwnedObjects()
    desired = desire(config_map("a"))
    owned.desire(desired)
    marker = desired.wanted[0].marker
    id = owned.see(CONFIG_MAPS, metadata(marker), None)
    assert owned.changed(OWNER) == {id}
    owned.settle(OWNER)
    owned.see(CONFIG_MAPS, metadata(marker, version="11"), None)
    assert owned.changed(OWNER) == frozenset()
    owned.see(CONFIG_MAPS, metadata(marker, version="12", owner="other"), None)
    assert owned.changed(OWNER) == {id}
    owned.undesire(OWNER)
    assert owned.changed(OWNER) == frozenset()


def test_nothing_is_kept_of_an_owner_that_is_gone() -> None:
    owned = OwnedObjects()
    desired = desire(config_map("a"))
    owned.desire(desired)
    id = owned.see(CONFIG_MAPS, metadata(desired.wanted[0].marker), None)
    owned.note(Result(id=id, verb=Verb.PRUNE, state=ObjectState.DELETED, live=owned.get(id)))
    owned.undesire(OWNER)
    owned.forget(id)
    owned.see(CONFIG_MAPS, metadata("m", owner="other"), None)
    owned.forget(id)
    kept = [owned.all._by_owner, owned._ill, owned._revisions, owned._changed, owned._desired]
    assert kept == [{}] * 5


def test_what_is_being_written_and_fails_is_no_drift() -> None:
    told: list[ObjectChange] = []
    owned = OwnedObjects(told.append)
    desired = desire(config_map("a"))
    owned.desire(desired)
    id = owned.see(CONFIG_MAPS, metadata("old"), None)
    told.clear()
    with owned.expecting(make_plan(desired, owned.mine(OWNER))):
        owned.note(Result(id=id, verb=Verb.CHANGE, state=ObjectState.FAILED))
    assert told == []
