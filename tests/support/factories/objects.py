"""Objects and records that the tests of apply, health and watch are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ocistate.apply.desired.prepare import Desired, prepare
from ocistate.apply.plan import Live
from ocistate.objects import ObjectId, Resource

OWNER = "owner-1"
ARTIFACT = "sha256:" + "a" * 64
_CLUSTER_SCOPED = {
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ValidatingWebhookConfiguration",
}


def obj(
    kind: str,
    name: str,
    api_version: str = "v1",
    *,
    namespace: str = "",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **parts: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = dict(annotations)
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


def config_map(name: str, value: str = "1", **keywords: Any) -> dict[str, Any]:
    return obj("ConfigMap", name, data={"key": value}, **keywords)


def deployment(
    name: str, *, template: Mapping[str, str] | None = None, **keywords: Any
) -> dict[str, Any]:
    labels = {"app": name}
    metadata = {"labels": labels, "annotations": dict(template or {})}
    return obj(
        "Deployment",
        name,
        "apps/v1",
        spec={
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": metadata,
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "registry.example.com/web:1",
                            "env": [{"name": "A", "value": "1"}],
                            "ports": [{"containerPort": 80}],
                        }
                    ]
                },
            },
        },
        **keywords,
    )


def crd(
    kind: str, group: str, *, scope: str = "Namespaced", status: bool = False
) -> dict[str, Any]:
    plural = kind.lower() + "s"
    version: dict[str, Any] = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {
                    each: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    for each in ("spec", "status")
                },
            }
        },
    }
    if status:
        version["subresources"] = {"status": {}}
    return obj(
        "CustomResourceDefinition",
        f"{plural}.{group}",
        "apiextensions.k8s.io/v1",
        spec={
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    )


def resource(given: Mapping[str, Any], path: str = "all.yaml") -> Resource:
    return Resource.of(given, path=path)


def scopes(group: str, kind: str) -> bool | None:
    """As of a cluster that serves all built-in kinds and nothing else."""
    if group not in ("", "apps", "batch", "apiextensions.k8s.io", "rbac.authorization.k8s.io") and (
        not group.endswith("admissionregistration.k8s.io")
    ):
        return None
    return kind not in _CLUSTER_SCOPED


def desire(
    *objects: Mapping[str, Any],
    owner: str = OWNER,
    artifact: str = ARTIFACT,
    namespaced: Callable[[str, str], bool | None] = scopes,
    **keywords: Any,
) -> Desired:
    return prepare(
        [resource(each) for each in objects],
        owner=owner,
        artifact=artifact,
        namespaced=namespaced,
        **keywords,
    )


def live(marker: str = "", owner: str = OWNER, *, uid: str = "uid-1", **parts: Any) -> Live:
    values: dict[str, Any] = {"resource_version": "10", "fields": 1, "intact": True, **parts}
    return Live(uid=uid, owner=owner, marker=marker, **values)


def as_applied(desired: Desired, **parts: Any) -> dict[ObjectId, Live]:
    """The live view right after everything was applied."""
    return {
        wanted.id: live(wanted.marker, desired.owner, uid=f"uid-{number}", **parts)
        for number, wanted in enumerate(desired.wanted)
    }
