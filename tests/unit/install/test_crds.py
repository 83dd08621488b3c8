"""The schemas bound every text and number of a spec, by the same shapes as the parsers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ocistate.api.stack import parse_stack
from ocistate.api.status import LONGEST_TEXT, Attempt, StackStatus, status_to_dict
from ocistate.errors import ConfigError
from ocistate.install.crds import crds
from tests.support.factories.invalid_stacks import WRONG, WRONG_POINTERS, sane

STACK, POLICY = (crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds())

FREE = {"healthy", "progressing", "failed"}
"""CEL: the parser reads its syntax."""


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


@pytest.mark.parametrize("schema", [STACK, POLICY])
def test_every_text_has_a_longest_length(schema: dict[str, Any]) -> None:
    for path, node in nodes(schema):
        if node.get("type") == "string" and path.startswith((".spec", ".status")):
            assert "maxLength" in node or "enum" in node or "format" in node, path


def test_every_text_and_list_of_a_stack_is_bounded_and_every_text_has_a_shape() -> None:
    for path, node in nodes(STACK["properties"]["spec"]):
        if node.get("type") == "string" and path.rpartition(".")[2] not in FREE:
            assert "pattern" in node or "enum" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path


def test_every_number_and_list_of_a_policy_is_bounded() -> None:
    for path, node in nodes(POLICY["properties"]["spec"]):
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path


@pytest.mark.parametrize(("path", "obj"), WRONG)
def test_the_parser_refuses_what_is_out_of_bounds(path: str, obj: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=path.split("[")[0]):
        parse_stack(obj)


@pytest.mark.parametrize("obj", WRONG_POINTERS)
def test_the_parser_refuses_pointers_that_are_none(obj: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"spec\.source"):
        parse_stack(obj)


def test_no_text_of_a_status_is_longer_than_the_schema_allows() -> None:
    status = StackStatus(last_attempt=Attempt(digest="x", error="e" * 10_000, at="now"))
    assert len(status_to_dict(status)["lastAttempt"]["error"]) == LONGEST_TEXT


@pytest.mark.parametrize("obj", sane())
def test_the_parser_takes_what_is_sane(obj: dict[str, Any]) -> None:
    assert parse_stack(obj).name == "shop"
