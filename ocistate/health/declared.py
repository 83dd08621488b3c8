"""Which kinds declare a status that their controllers can fill in, by the kind's schema.

A CRD may have the subresource ``status`` for kinds of which no one ever writes one (MetalLB's
pools, Tekton's Tasks, the generators of External Secrets). Where the schema names no ``status``, or
one without any field, there is nothing to wait for: mostly the API server would even drop it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ocistate.health.thirdparty import OTHER_RULES, SILENT
from ocistate.kube.discovery import ApiResource
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.objects import GroupKind

_KEEP: Final = "x-kubernetes-preserve-unknown-fields"
_RUNS: Final = frozenset(
    ("tekton.dev", kind) for kind in ("PipelineRun", "TaskRun", "CustomRun", "Run")
) | {("triggers.tekton.dev", "EventListener")}
"""Kinds that report, though their schemas do not declare it."""


def needs_schema(resource: ApiResource) -> bool:
    """Whether only the schema shows if a status is to be waited for."""
    key = GroupKind(resource.group, resource.kind)
    return (
        "status" in resource.subresources
        and stage_of(*key) is ApplyStage.CUSTOM
        and key not in SILENT
        and key not in OTHER_RULES
        and key not in _RUNS
    )


def has_status_fields(document: Any, resource: ApiResource) -> bool | None:
    """Whether the kind's schema, in its group's OpenAPI document, has fields in its status; None
    while the document does not have the kind, as in the first moments of a CRD."""
    schemas = _mapping(_mapping(_mapping(document).get("components")).get("schemas"))
    for schema in map(_mapping, schemas.values()):
        for named in schema.get("x-kubernetes-group-version-kind") or ():
            names = (named.get("group"), named.get("version"), named.get("kind"))
            if names == (resource.group, resource.version, resource.kind):
                return _holds_fields(_mapping(schema.get("properties")).get("status"), schemas)
    return None


def _holds_fields(status: Any, schemas: Mapping[str, Any]) -> bool:
    status = _mapping(status)
    parts = [status, *map(_mapping, status.get("allOf") or ())]
    for part in parts:
        if name := str(part.get("$ref") or "").rpartition("/")[2]:
            parts.append(_mapping(schemas.get(name)))
    return any(
        part.get("properties") or part.get("additionalProperties") or part.get(_KEEP)
        for part in parts
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
