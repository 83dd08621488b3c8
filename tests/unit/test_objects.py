"""Kubernetes objects as plain data: identity, hash, and order."""

from __future__ import annotations

import pytest

from ocistate.canonical import canonical_json, digest_of
from ocistate.objects import GroupKind, ObjectId, Resource, StackKey, group_of, object_id

DEPLOYMENT = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {"namespace": "shop", "name": "web"},
}


@pytest.mark.parametrize(
    ("api_version", "group"),
    [("v1", ""), ("apps/v1", "apps"), ("a.example.com/v1beta1", "a.example.com"), ("", "")],
)
def test_the_group_of_an_api_version(api_version: str, group: str) -> None:
    assert group_of(api_version) == group


def test_an_identity_has_no_version() -> None:
    assert object_id(DEPLOYMENT) == ObjectId("apps", "Deployment", "shop", "web")
    assert object_id(DEPLOYMENT) == object_id({**DEPLOYMENT, "apiVersion": "apps/v1beta1"})


def test_how_identities_are_shown() -> None:
    assert str(ObjectId("apps", "Deployment", "shop", "web")) == "Deployment.apps/shop/web"
    assert str(ObjectId("", "Namespace", "", "shop")) == "Namespace/shop"
    assert str(StackKey("shop", "web")) == "shop/web"
    assert GroupKind("apps", "Deployment") == ("apps", "Deployment")


def test_a_resource_keeps_the_object_as_canonical_json() -> None:
    resource = Resource.of(DEPLOYMENT, path="web.yaml", index=1, line=7)
    assert resource.json == canonical_json(DEPLOYMENT)
    assert resource.digest == digest_of(resource.json)
    shuffled = Resource.of(dict(reversed(DEPLOYMENT.items())), path="web.yaml", index=1, line=7)
    assert shuffled == resource


def test_the_object_is_the_callers_to_change() -> None:
    resource = Resource.of(DEPLOYMENT, path="web.yaml")
    resource.object["metadata"]["name"] = "other"
    assert resource.object == DEPLOYMENT


def test_what_json_cannot_express_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Resource.of({**DEPLOYMENT, "value": float("nan")}, path="web.yaml")
