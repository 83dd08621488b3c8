"""Why a workload is not healthy: its pods know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ocistate.health.evaluate import health_of
from ocistate.health.model import WORST_FIRST, Health
from ocistate.kube.client import KubeClient
from ocistate.objects import GroupKind, ObjectId

_WORKLOADS: Final = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("argoproj.io", "Rollout"),
    }
)


async def explain(client: KubeClient, id: ObjectId) -> tuple[ObjectId, Health] | None:
    """The pod of a workload that is worst off, with its health; None when no pod tells anything.

    Raises ClusterError, as when pods may not be listed.
    """
    if GroupKind(id.group, id.kind) not in _WORKLOADS:
        return None
    workload = await client.get(id)
    selector = label_selector(((workload or {}).get("spec") or {}).get("selector") or {})
    if not selector:
        return None
    listing = await client.list(await client.kind("", "Pod"), id.namespace, label_selector=selector)
    found = [
        (WORST_FIRST.index(health.status), pod["metadata"]["name"], health)
        for pod in listing.items
        if not (health := health_of(pod)).done
    ]
    if not found:
        return None
    _, name, health = min(found, key=lambda each: each[:2])
    return ObjectId("", "Pod", id.namespace, name), health


def label_selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as the API's query parameter wants it."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        key, values = each["key"], ",".join(each.get("values") or ())
        match each["operator"]:
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(key)
            case "DoesNotExist":
                terms.append(f"!{key}")
    return ",".join(terms)
