"""Fields that an artifact leaves empty for a controller to fill in: they are not sent.

Sent empty, they would be ours, and whatever the controller puts there would be a drift to be put
back, against a controller that never gives in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ocistate.objects import GroupKind, ObjectId

_WEBHOOKS: Final = frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})


def filled_in(id: ObjectId, obj: Mapping[str, Any]) -> Iterator[str]:
    """JSON pointers to such fields of an object."""
    match GroupKind(id.group, id.kind):
        case ("rbac.authorization.k8s.io", "ClusterRole"):
            # The rules of an aggregated role are those of the roles that it selects.
            if obj.get("aggregationRule") and "rules" in obj:
                yield "/rules"
        case ("", "PersistentVolumeClaim"):
            yield from _empty(obj, "spec", "volumeName")
        case ("", "Pod"):
            yield from _empty(obj, "spec", "nodeName")
        case ("apiregistration.k8s.io", "APIService"):
            yield from _empty(obj, "spec", "caBundle")
        case ("apiextensions.k8s.io", "CustomResourceDefinition"):
            yield from _empty(obj, "spec", "conversion", "webhook", "clientConfig", "caBundle")
        case ("admissionregistration.k8s.io", kind) if kind in _WEBHOOKS:
            webhooks = obj.get("webhooks")
            for position, each in enumerate(webhooks if isinstance(webhooks, list) else ()):
                for pointer in _empty(each, "clientConfig", "caBundle"):
                    yield f"/webhooks/{position}{pointer}"


def _empty(obj: Any, *path: str) -> Iterator[str]:
    node = obj
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return
        node = node[part]
    if not node:
        yield "/" + "/".join(path)
