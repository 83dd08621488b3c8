"""The index of live objects: by owner and by kind at once."""

from __future__ import annotations

import pytest

from ocistate.objects import GroupKind, ObjectId
from ocistate.watch.live_objects import LiveObjects
from tests.support.factories.objects import live

CONFIG_MAPS = GroupKind("", "ConfigMap")
A = ObjectId("", "ConfigMap", "n", "a")
B = ObjectId("apps", "Deployment", "n", "b")


def test_an_object_is_found_by_id_by_owner_and_by_kind() -> None:
    objects = LiveObjects()
    objects.put(A, live(owner="one"))
    objects.put(B, live(owner="two"))
    assert objects[A].owner == "one"
    assert set(objects.of("one")) == {A}
    assert dict(objects.of_kind(CONFIG_MAPS)) == {A: "one"}
    assert set(objects) == {A, B}
    assert objects.owners() == ["one", "two"]
    assert objects.kinds() == {CONFIG_MAPS, GroupKind("apps", "Deployment")}


def test_an_object_that_changes_hands_has_one_owner() -> None:
    objects = LiveObjects()
    objects.put(A, live(owner="one"))
    objects.put(A, live(owner="two"))
    assert objects.owner(A) == "two"
    assert not objects.of("one")
    assert len(objects) == 1
    assert objects.owners() == ["two"]


def test_nothing_is_left_of_an_object_that_is_dropped() -> None:
    objects = LiveObjects()
    objects.put(A, live(owner="one"))
    assert objects.drop(A) == "one"
    assert objects.drop(A) is None
    assert objects.get(A) is None
    assert not objects.owners()
    assert not objects.kinds()
    with pytest.raises(KeyError):
        objects[A]
