"""Whether a kind ever reports a status, as its schema tells."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.health.declared import has_status_fields, needs_schema
from ocistate.kube.discovery import ApiResource

KEEP = {"x-kubernetes-preserve-unknown-fields": True}


def kind(name: str = "Note", group: str = "n.example.com", *subresources: str) -> ApiResource:
    return ApiResource(
        group=group,
        version="v1",
        kind=name,
        plural=f"{name.lower()}s",
        namespaced=True,
        subresources=frozenset(subresources),
    )


def document(schema: dict[str, Any], name: str = "Note", **others: Any) -> dict[str, Any]:
    named = [{"group": "n.example.com", "version": "v1", "kind": name}]
    schema = {"type": "object", "x-kubernetes-group-version-kind": named, **schema}
    return {"components": {"schemas": {f"com.example.n.v1.{name}": schema, **others}}}


@pytest.mark.parametrize(
    ("schema", "declares"),
    [
        ({"properties": {"status": {"type": "object"}}}, False),
        ({"properties": {"spec": {"type": "object"}}}, False),
        ({}, False),
        (KEEP, False),
        ({"properties": {"status": {"type": "object", "properties": {}}}}, False),
        ({"properties": {"status": {"type": "object", "properties": {"phase": {}}}}}, True),
        ({"properties": {"status": {"additionalProperties": {"type": "string"}}}}, True),
        ({"properties": {"status": KEEP}}, True),
        ({"properties": {"status": {"allOf": [{"$ref": "#/components/schemas/s"}]}}}, True),
        ({"properties": {"status": {"$ref": "#/components/schemas/none"}}}, False),
    ],
)
def test_a_kind_reports_when_its_schema_has_a_place_for_it(
    schema: dict[str, Any], declares: bool
) -> None:
    shared = {"properties": {"conditions": {"type": "array"}}}
    assert has_status_fields(document(schema, s=shared), kind()) is declares


@pytest.mark.parametrize("found", [{}, [], None, document({}, "Other")])
def test_of_a_schema_that_is_not_there_nothing_is_known(found: Any) -> None:
    assert has_status_fields(found, kind()) is None


def test_only_custom_kinds_with_a_status_and_no_rule_are_in_doubt() -> None:
    assert needs_schema(kind("Note", "n.example.com", "status"))
    assert not needs_schema(kind("Note", "n.example.com"))
    assert not needs_schema(kind("Deployment", "apps", "status"))
    assert not needs_schema(kind("Certificate", "cert-manager.io", "status"))
    assert not needs_schema(kind("PipelineRun", "tekton.dev", "status"))
    assert needs_schema(kind("Task", "tekton.dev", "status"))
