"""Which release gave each field its value."""

from __future__ import annotations

from typing import Any

from ocistate.artifact.blame import blame


def deployment(replicas: int, *containers: tuple[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api"},
        "spec": {
            "replicas": replicas,
            "containers": [{"name": name, "image": image} for name, image in containers],
        },
    }


def since(*states: dict[str, Any] | None) -> dict[str, int]:
    return {field.pointer: field.since for field in blame(states)}


def test_a_field_is_blamed_on_the_release_since_which_it_never_changed() -> None:
    found = since(
        deployment(3, ("web", "web:2")),
        deployment(3, ("web", "web:1")),
        deployment(2, ("web", "web:1")),
        deployment(3, ("web", "web:1")),
    )
    assert found["/spec/containers/0/image"] == 0
    assert found["/spec/replicas"] == 1, "that it was 3 once before does not count"
    assert found["/metadata/name"] == 3


def test_a_named_item_stays_the_same_when_another_comes_before_it() -> None:
    found = since(
        deployment(1, ("proxy", "proxy:1"), ("web", "web:1")), deployment(1, ("web", "web:1"))
    )
    assert found["/spec/containers/0/image"] == 0
    assert found["/spec/containers/1/image"] == 1


def test_an_object_that_was_away_begins_anew() -> None:
    found = since(deployment(1), None, deployment(1))
    assert set(found.values()) == {0}


def test_one_and_true_are_not_the_same() -> None:
    base = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}}
    assert since({**base, "spec": {"a": True}}, {**base, "spec": {"a": 1}})["/spec/a"] == 0


def test_what_a_secret_holds_is_compared_and_never_shown() -> None:
    def secret(value: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "data": {"old": "c2FtZQ==", "new": value},
        }

    found = {field.pointer: field for field in blame([secret("Mg=="), secret("MQ==")])}
    assert (found["/data/new"].since, found["/data/old"].since) == (0, 1)
    assert {found["/data/new"].value, found["/data/old"].value} == {"***"}


def test_nothing_has_no_fields() -> None:
    assert blame([]) == blame([None, deployment(1)]) == ()
