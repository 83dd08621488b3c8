"""Making a former tool's fields ours."""

from __future__ import annotations

from typing import Any

from ocistate.apply.fields.migration import merged_entries


def entry(manager: str, operation: str = "Apply", **parts: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "time": "t", **parts}


def test_former_managers_entries_become_part_of_ours() -> None:
    merged = merged_entries(
        [
            entry(
                "kubectl-client-side-apply", "Update", fieldsV1={"f:data": {"f:a": {}, "f:b": {}}}
            ),
            entry("ocistate", fieldsV1={"f:data": {"f:b": {}, "f:c": {}}}),
            entry("kubectl-edit", "Update", fieldsV1={"f:data": {"f:d": {}}}),
        ]
    )
    assert [(each["manager"], each["operation"]) for each in merged] == [
        ("kubectl-edit", "Update"),
        ("ocistate", "Apply"),
    ]
    assert merged[1]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}, "f:c": {}}}


def test_status_is_left_to_its_writers() -> None:
    status = entry("kubectl-client-side-apply", "Update", subresource="status", fieldsV1={})
    assert merged_entries([status]) == [status]


def test_an_object_that_only_the_former_tool_applied_becomes_ours() -> None:
    merged = merged_entries([entry("kustomize-controller", fieldsV1={"f:data": {}})])
    assert [(each["manager"], each["operation"]) for each in merged] == [("ocistate", "Apply")]
