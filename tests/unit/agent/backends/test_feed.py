"""How a feed sees that its cluster's etcd was restored from a snapshot."""

from __future__ import annotations

from typing import Any

from ocistate.agent.backends.feed import SeenVersions


def obj(uid: str, version: int) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}}


def test_a_list_of_a_lower_version_is_of_an_earlier_state() -> None:
    history = SeenVersions()
    assert not history.replace([obj("a", 5)], "9")
    assert history.replace([obj("a", 5)], "8")
    assert not history.replace([obj("a", 5)], "8"), "seen already"


def test_an_object_of_a_lower_version_is_of_an_earlier_state_however_high_the_lists_is() -> None:
    history = SeenVersions()
    assert not history.replace([obj("a", 5), obj("b", 6)], "9")
    history.add("MODIFIED", obj("a", 12))
    history.add("BOOKMARK", obj("", 14))
    assert history.replace([obj("a", 5), obj("b", 6)], "30")


def test_what_was_deleted_or_made_again_meanwhile_is_none() -> None:
    history = SeenVersions()
    assert not history.replace([obj("a", 5), obj("b", 6)], "9")
    history.add("DELETED", obj("a", 12))
    assert not history.replace([obj("c", 20)], "30")
    assert not history.replace([obj("c", 21), obj("d", 5)], "31")
