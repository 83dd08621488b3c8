"""One object over the releases of a channel: its name, its changes, its content."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ocistate.cli.channel.options import ChannelTrustOptions
from ocistate.errors import InputError
from ocistate.objects import ObjectId
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.history import read_history
from ocistate.ops.channel.objects import (
    ObjectRelease,
    find_object,
    object_changes,
    parse_object_name,
    read_object,
    read_releases,
)
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop

APP = ObjectId("", "ConfigMap", "shop", "app")


def releases(shop: Shop) -> list[ObjectRelease]:
    async def run() -> list[ObjectRelease]:
        reference = parse_reference(shop.store)
        trust = ChannelTrustOptions(policy=shop.policy, keys=())
        async with LayoutStore(reference) as store:
            history = await read_history(store, trust.channel("staging", reference))
            return await read_releases(store, history.links)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "text", ["ConfigMap/app", "configmap/shop/app", "ConfigMap./app", "ConfigMap./shop/app"]
)
def test_a_name_matches_with_parts_left_out(shop: Shop, text: str) -> None:
    assert find_object(releases(shop), parse_object_name(text)) == APP


@pytest.mark.parametrize("text", ["app", "a/b/c/d", "/app", "ConfigMap/", ""])
def test_a_wrong_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not the name of an object"):
        parse_object_name(text)


def test_a_name_shows_as_it_is_written() -> None:
    for text in ("Deployment.apps/shop/api", "Namespace/shop"):
        assert str(parse_object_name(text)) == text


def test_an_object_in_no_release_is_an_error(shop: Shop) -> None:
    with pytest.raises(InputError, match="no release has Pod/p"):
        find_object(releases(shop), parse_object_name("Pod/p"))


def test_changes_are_listed_newest_first(shop: Shop) -> None:
    changes = object_changes(releases(shop), APP)
    assert [(c.change, c.release.link.record.sequence) for c in changes] == [
        ("removed", 3),
        ("changed", 2),
        ("added", 1),
    ]


def test_an_object_is_read_as_a_release_has_it(shop: Shop) -> None:
    async def read(release: ObjectRelease | None) -> dict[str, Any]:
        async with LayoutStore(parse_reference(shop.store)) as store:
            return await read_object(store, release, APP)

    newest, middle, _ = releases(shop)
    assert asyncio.run(read(middle))["data"] == {"v": "2"}
    assert asyncio.run(read(newest)) == asyncio.run(read(None)) == {}
