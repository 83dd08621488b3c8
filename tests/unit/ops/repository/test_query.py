"""Searching artifacts: what fits a query, where it was found, and what could not be read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ocistate.objects import ObjectId
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.repository.query import (
    ArtifactLocation,
    Query,
    QueryResult,
    locations_of_tags,
    search,
)
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop

API = ObjectId("apps", "Deployment", "shop", "api")


def query(**criteria: Any) -> Query:
    given: dict[str, Any] = {"kinds": (), "namespace": "", "name": "", "image": "", "where": ""}
    return Query(**{**given, **criteria})


@pytest.mark.parametrize(
    ("criteria", "fits"),
    [
        ({}, True),
        ({"kinds": ("deployment",)}, True),
        ({"kinds": ("Deployment.apps",)}, True),
        ({"kinds": ("Deployment.other", "Pod")}, False),
        ({"name": "a*"}, True),
        ({"name": "b*"}, False),
        ({"namespace": "shop"}, True),
        ({"namespace": "other"}, False),
    ],
)
def test_an_object_fits_by_kind_name_and_namespace(criteria: dict[str, Any], fits: bool) -> None:
    assert query(**criteria).fits(API) is fits


@pytest.mark.parametrize(
    ("glob", "fits"),
    [("reg.io/api:1", True), ("reg.io/api", True), ("*/api", True), ("*/api:2", False)],
)
def test_an_image_fits_with_or_without_its_tag(glob: str, fits: bool) -> None:
    assert query(image=glob).fits_image("reg.io/api:1") is fits


def run(shop: Shop, tag: str, asked: Query) -> QueryResult:
    async def work() -> QueryResult:
        async with LayoutStore(parse_reference(shop.store)) as store:
            return await search(store, await locations_of_tags(store, tag), asked)

    return asyncio.run(work())


def test_hits_name_the_pointers_and_images(shop: Shop) -> None:
    found = run(shop, "v*", query(image="*/api"))
    assert {hit.location.pointers for hit in found.hits} == {(":v2",), (":v3",)}
    assert {hit.images for hit in found.hits} == {("reg.io/api:1",)}
    assert (found.artifacts, found.problems) == (3, ())


def test_an_expression_cannot_read_a_secret(shop: Shop) -> None:
    asked = query(kinds=("Secret",), where="object.stringData.password == 'hunter'")
    assert run(shop, "v1", asked).hits == ()
    assert len(run(shop, "v1", query(kinds=("Secret",))).hits) == 1


def test_an_artifact_that_is_gone_is_a_problem(shop: Shop) -> None:
    async def work() -> QueryResult:
        async with LayoutStore(parse_reference(shop.store)) as store:
            gone = ArtifactLocation(
                repository=shop.store, pointers=(":old",), digest="sha256:" + "0" * 64
            )
            return await search(store, [gone], query())

    (problem,) = asyncio.run(work()).problems
    assert f"{shop.store}, :old" in problem
