"""Objects in memory behind the reading half of a KubeClient, for commands that format them.

What an API server decides (defaults, dry runs, conflicts) is no matter of this: integration tests
have a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Self

from ocistate.errors import ClusterError
from ocistate.kube.collection import ObjectList
from ocistate.kube.discovery import ApiResource, Kinds
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId

KINDS = Kinds(
    ApiResource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        namespaced=True,
        verbs=frozenset({"list", "get", "patch"}),
        subresources=frozenset({"status"} if group == "apps" else ()),
    )
    for group, version, kind, plural in (
        ("ocistate.dev", "v1alpha1", "Stack", "stacks"),
        ("", "v1", "ConfigMap", "configmaps"),
        ("", "v1", "Pod", "pods"),
        ("", "v1", "Event", "events"),
        ("apps", "v1", "Deployment", "deployments"),
        ("apps", "v1", "ReplicaSet", "replicasets"),
    )
)


class KubeObjects:
    """A cluster's objects. ``forbidden`` kinds may not be listed."""

    def __init__(self, *objects: dict[str, Any], forbidden: Sequence[str] = ()) -> None:
        self.objects = list(objects)
        self.forbidden = forbidden
        self.access = SimpleNamespace(namespace="default")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.sleep(0)

    async def kinds(self, *, max_age: float | None = None) -> Kinds:
        return KINDS

    async def kind(self, group: str, kind: str, version: str = "") -> ApiResource:
        found = KINDS.find(group, kind)
        if found is None:
            raise ClusterError(f"no kind {kind}")
        return found

    async def list(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ObjectList:
        if resource.kind in self.forbidden:
            raise StatusError("you may not", status=403, code="Forbidden")
        label, _, value = label_selector.partition("=")
        items = [
            obj
            for obj in self.objects
            if obj["kind"] == resource.kind
            and namespace in ("", obj["metadata"].get("namespace"))
            and (not label or (obj["metadata"].get("labels") or {}).get(label) == value)
        ]
        return ObjectList(items=items, resource_version="1")

    async def get(
        self, id: ObjectId, *, version: str = "", metadata_only: bool = False
    ) -> dict[str, Any] | None:
        for obj in self.objects:
            metadata = obj["metadata"]
            if (obj["kind"], metadata.get("namespace", ""), metadata["name"]) == (
                id.kind,
                id.namespace,
                id.name,
            ):
                return obj
        return None

    async def patch(
        self, id: ObjectId, patch: Mapping[str, Any], *, manager: str = ""
    ) -> dict[str, Any]:
        obj = await self.get(id)
        assert obj is not None
        for part in ("metadata", "spec"):
            obj[part] = {**obj.get(part, {}), **patch.get(part, {})}
        return obj


def stack_object(
    name: str,
    namespace: str = "default",
    *,
    ready: tuple[str, str, str] = ("True", "Ready", "applied"),
    **status: Any,
) -> dict[str, Any]:
    """A Stack as the API server has it, with a status of one pass."""
    conditions = [
        {
            "type": "Ready",
            "status": ready[0],
            "reason": ready[1],
            "message": ready[2],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ]
    return {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1},
        "spec": {"source": {"repository": "reg.io/shop", "tag": "prod"}},
        "status": {
            "conditions": [*conditions, *status.pop("conditions", [])],
            "current": {
                "digest": "sha256:" + "ab" * 32,
                "revision": "main",
                "signedBy": ["ci"],
                "appliedAt": "2026-01-01T00:00:00Z",
            },
            **status,
        },
    }


def applied(obj: dict[str, Any], stack: str) -> dict[str, Any]:
    """An object as the agent leaves it: with its Stack's label and our field manager."""
    from ocistate.labels import FIELD_MANAGER, STACK_LABEL

    metadata = {
        **obj["metadata"],
        "labels": {STACK_LABEL: f"uid-{stack}"},
        "managedFields": [{"manager": FIELD_MANAGER}],
    }
    return {**obj, "metadata": {"uid": obj["metadata"]["name"], **metadata}}
