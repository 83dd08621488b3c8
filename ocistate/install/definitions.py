"""The CustomResourceDefinitions of Stack and TrustPolicy, made from their structs.

This runs when ocistate is built: `scripts/generate` writes what is made here into `crds.json`.
"""

from __future__ import annotations

from typing import Any

from ocistate.api.schema import structural_schema
from ocistate.api.stack import GROUP, VERSION
from ocistate.api.stack_spec import StackSpec
from ocistate.api.status import MOST_DRIFTED, MOST_RUNS
from ocistate.install.policy_schema import policy_spec
from ocistate.install.schemas import (
    NUMBER_FIELDS,
    TEXT,
    Schema,
    described,
    enum,
    list_of,
    object_of,
)


def definitions() -> list[dict[str, Any]]:
    """Both, as objects to apply."""
    return [_stack_crd(), _policy_crd()]


def _crd(
    kind: str, plural: str, scope: str, schema: Schema, columns: list[dict[str, Any]], **names: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "ocistate"}},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                **names,
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}} if kind == "Stack" else {},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path}


def _stack_crd() -> dict[str, Any]:
    columns = [
        _column("Tag", ".spec.source.tag"),
        _column("Channel", ".spec.source.channel"),
        _column("Digest", ".status.current.digest"),
        _column("Revision", ".status.current.revision"),
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        _column("Verified", '.status.conditions[?(@.type=="Verified")].status'),
        _column("Trusted", ".status.current.verified"),
        _column("Healthy", '.status.conditions[?(@.type=="Healthy")].status'),
        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    schema = object_of(
        {
            "apiVersion": TEXT,
            "kind": TEXT,
            "metadata": {"type": "object"},
            "spec": structural_schema(StackSpec),
            "status": _stack_status(),
        },
        "spec",
    )
    return _crd("Stack", "stacks", "Namespaced", schema, columns, categories=["ocistate"])


def _stack_status() -> Schema:
    condition = object_of(
        {
            "type": TEXT,
            "status": enum("True", "False", "Unknown"),
            "reason": TEXT,
            "message": TEXT,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
        "type",
        "status",
    )
    return object_of(
        {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": list_of(
                condition,
                **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
            "current": object_of(
                {
                    "digest": TEXT,
                    "tag": TEXT,
                    "revision": TEXT,
                    "signedBy": list_of(TEXT),
                    "appliedAt": TEXT,
                    "verified": enum("True", "False", "Unknown"),
                    "verification": TEXT,
                    "channel": TEXT,
                    **NUMBER_FIELDS,
                }
            ),
            "channels": list_of(
                object_of(
                    {
                        "channel": TEXT,
                        "repository": TEXT,
                        "record": TEXT,
                        "at": TEXT,
                        **NUMBER_FIELDS,
                    }
                )
            ),
            "lastAttempt": object_of({"digest": TEXT, "error": TEXT, "at": TEXT, "begun": TEXT}),
            "lastHealthy": object_of({"digest": TEXT, "tag": TEXT}),
            "heldBack": object_of(
                {
                    "digest": TEXT,
                    "reason": TEXT,
                    "at": TEXT,
                    "generation": {"type": "integer", "format": "int64"},
                    "reconcileAt": TEXT,
                }
            ),
            "history": list_of(
                object_of({"digest": TEXT, "revision": TEXT, "at": TEXT, "outcome": TEXT})
            ),
            "resources": {"type": "object", "additionalProperties": {"type": "integer"}},
            "kinds": list_of(TEXT),
            "target": described(
                object_of(
                    {
                        "kubeconfigSecretRef": object_of({"name": TEXT, "key": TEXT}),
                        "context": TEXT,
                    }
                ),
                "The other cluster that its objects are in.",
            ),
            "drift": described(
                object_of(
                    {
                        "total": {"type": "integer"},
                        "objects": list_of(TEXT, maxItems=MOST_DRIFTED),
                    }
                ),
                "What differs from the artifact, where spec.drift is report.",
            ),
            "runs": described(
                list_of(
                    object_of(
                        {
                            **{key: TEXT for key in ("group", "kind", "namespace", "name")},
                            "content": TEXT,
                            "ended": TEXT,
                        }
                    ),
                    maxItems=MOST_RUNS,
                ),
                "Objects that are meant to vanish, as they were applied: not put back.",
            ),
            "contested": described(
                list_of(
                    object_of(
                        {
                            **{key: TEXT for key in ("group", "kind", "namespace", "name")},
                            "reason": enum("Flipped", "Overruled"),
                            "by": TEXT,
                            "fields": list_of(TEXT),
                        }
                    )
                ),
                "Objects that others want otherwise.",
            ),
            "lastHandledReconcileAt": TEXT,
        }
    )


def _policy_crd() -> dict[str, Any]:
    columns = [
        _column("Repositories", ".spec.repositories"),
        _column("Threshold", ".spec.threshold", "integer"),
        _column("Mode", ".spec.mode"),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    schema = object_of(
        {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}, "spec": policy_spec()},
        "spec",
    )
    return _crd("TrustPolicy", "trustpolicies", "Cluster", schema, columns, categories=["ocistate"])
