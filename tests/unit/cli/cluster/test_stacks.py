"""Reading a Stack object: its pointer, target and conditions; and finding it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ocistate.cli.cluster.stacks import condition, find_stack, patch_stack, pointer_of, target_of
from ocistate.errors import NoStack
from ocistate.kube.client import KubeClient
from tests.support.fakes.kube_objects import KubeObjects, stack_object


@pytest.mark.parametrize(
    ("source", "pointer"),
    [
        ({"tag": "v1"}, "v1"),
        ({"channel": "prod"}, "prod"),
        ({"semver": ">=1"}, ">=1"),
        ({"digest": "sha256:0"}, "sha256:0"),
        ({}, ""),
    ],
)
def test_a_source_follows_one_pointer(source: dict[str, Any], pointer: str) -> None:
    assert pointer_of(source) == pointer


def test_a_target_is_named_where_the_spec_is_valid() -> None:
    obj = stack_object("shop")
    assert target_of(obj) == ""
    remote = {**obj, "spec": {**obj["spec"], "target": {"context": "east"}}}
    assert "east" in target_of(remote)
    assert target_of({**obj, "spec": {"nonsense": True}}) == ""


def test_a_condition_that_is_missing_is_empty() -> None:
    obj = stack_object("shop", ready=("False", "Failed", "no"))
    assert condition(obj, "Ready") == {"status": "False", "reason": "Failed", "message": "no"}
    assert condition(obj, "Healthy") == {"status": "", "reason": "", "message": ""}
    assert condition({}, "Ready")["status"] == ""


def test_a_stack_is_found_by_name_and_patched_by_uid() -> None:
    cluster = KubeObjects(stack_object("shop"))
    client = cast(KubeClient, cluster)
    found = asyncio.run(find_stack(client, "default", "shop"))
    patched = asyncio.run(patch_stack(client, found, {"spec": {"suspend": True}}))
    assert patched["spec"]["suspend"]
    assert patched["metadata"]["uid"] == "uid-shop"
    with pytest.raises(NoStack, match="no Stack web in the namespace default"):
        asyncio.run(find_stack(client, "default", "web"))
