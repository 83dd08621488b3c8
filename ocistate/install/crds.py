"""The CustomResourceDefinitions of Stack and TrustPolicy."""

from __future__ import annotations

from typing import Any

from ocistate.api.stack import (
    GROUP,
    LEAST_INTERVAL,
    LEAST_TIMEOUT,
    LONGEST_CHECK,
    MOST_CHECKS,
    MOST_RULES,
    VERSION,
)
from ocistate.api.status import MOST_DRIFTED, MOST_RUNS
from ocistate.documents import shapes
from ocistate.install.policy_schema import policy_spec
from ocistate.install.schemas import (
    FLAG,
    IGNORED,
    LINE,
    NAME,
    NUMBER_FIELDS,
    TEXT,
    Schema,
    described,
    duration,
    enum,
    list_of,
    object_of,
    text,
)


def crds() -> list[dict[str, Any]]:
    """Both definitions, as objects to apply."""
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
            "spec": _stack_spec(),
            "status": _stack_status(),
        },
        "spec",
    )
    return _crd("Stack", "stacks", "Namespaced", schema, columns, categories=["ocistate"])


def _stack_spec() -> Schema:
    repository, folder = shapes.REPOSITORY.schema, shapes.FOLDER.optional_schema
    namespace, kind = shapes.NAMESPACE.optional_schema, shapes.KIND.schema
    name = object_of({"name": NAME}, "name")
    source = object_of(
        {
            "repository": described(repository, "oci://HOST/NAME, layout:FOLDER or archive:FILE."),
            "channel": described(
                shapes.CHANNEL.schema, "A channel to follow: signed, and never back."
            ),
            "channelRepository": described(repository, "Where its records are; repository."),
            "tag": described(shapes.TAG.schema, "A tag to follow."),
            "semver": described(
                shapes.VERSIONS.schema, "A range of versions, to follow the highest tag in it."
            ),
            "digest": described(shapes.DIGEST.schema, "A digest to stay at."),
            "path": described(folder, "A folder inside the artifact."),
            "interval": described(duration(LEAST_INTERVAL), "Between two looks at the tag; 1m."),
            "insecure": described(FLAG, "Plain HTTP; loopback needs no such word."),
            "pullSecretRef": described(name, "A kubernetes.io/dockerconfigjson Secret."),
            "caSecretRef": described(name, "A Secret with the registry's CA in ca.crt."),
            "certSecretRef": described(name, "A kubernetes.io/tls Secret to show the registry."),
            "mirrors": described(
                list_of(
                    object_of({"repository": repository, "insecure": FLAG}, "repository"),
                    maxItems=MOST_RULES,
                ),
                "Where else to look for what has a digest.",
            ),
        },
        "repository",
        **{
            "x-kubernetes-validations": [
                {
                    "rule": "[has(self.channel), has(self.tag), has(self.semver), "
                    "has(self.digest)].filter(x, x).size() == 1",
                    "message": "exactly one of channel, tag, semver and digest must be given",
                }
            ]
        },
    )
    ignore = object_of(
        {
            "kind": kind,
            "name": shapes.OBJECT_NAME.optional_schema,
            "jsonPointers": list_of(IGNORED, maxItems=MOST_RULES),
        },
        "kind",
        "jsonPointers",
    )
    expression = text(LONGEST_CHECK)
    check = object_of(
        {
            "apiVersion": shapes.API_VERSION.schema,
            "kind": kind,
            "healthy": expression,
            "progressing": expression,
            "failed": expression,
        },
        "apiVersion",
        "kind",
        "healthy",
    )
    depends = list_of(
        object_of({"name": NAME, "namespace": namespace}, "name"), maxItems=MOST_RULES
    )
    return object_of(
        {
            "source": source,
            "trust": object_of(
                {"policy": described(shapes.NAME.optional_schema, "A TrustPolicy's name.")}
            ),
            "target": object_of(
                {
                    "directory": described(LINE, "A folder instead of a cluster."),
                    "kubeconfigSecretRef": described(
                        object_of({"name": NAME, "key": shapes.DATA_KEY.optional_schema}, "name"),
                        "Another cluster: a Secret with its kubeconfig in value or kubeconfig.",
                    ),
                    "context": described(LINE, "Of that kubeconfig; its current one."),
                    "kubeconfig": described(LINE, "A kubeconfig file; without a cluster only."),
                },
                **{
                    "x-kubernetes-validations": [
                        {
                            "rule": "!has(self.context) || has(self.kubeconfigSecretRef)",
                            "message": "context is one of the kubeconfig that "
                            "kubeconfigSecretRef names, and needs it",
                        }
                    ]
                },
            ),
            "namespace": described(namespace, "For objects that name none."),
            "forceNamespace": described(FLAG, "For all namespaced objects."),
            "maxPrunePercent": {
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "description": "Of the objects, to be removed at once without being asked; 50.",
            },
            "serviceAccountName": described(
                shapes.NAME.optional_schema, "Impersonated for every write."
            ),
            "prune": described(FLAG, "Remove what the artifact has no more; true."),
            "drift": enum("correct", "report", "ignore"),
            "ignore": described(list_of(ignore, maxItems=MOST_RULES), "Fields left to others."),
            "dependsOn": described(depends, "Stacks that must be ready before."),
            "adoptFrom": described(depends, "Stacks to take objects over from."),
            "handOverTo": described(depends, "Stacks that may take objects over."),
            "wait": object_of(
                {
                    "timeout": described(duration(LEAST_TIMEOUT), "To become healthy; 5m."),
                    "checks": described(
                        list_of(check, maxItems=MOST_CHECKS), "Health in CEL, by kind."
                    ),
                }
            ),
            "onFailure": enum("hold", "rollback"),
            "report": described(
                object_of(
                    {
                        "repository": described(repository, "Where to; the channel's repository."),
                        "pushSecretRef": name,
                    }
                ),
                "Let the agent report how the Stack is, where it follows a channel.",
            ),
            "suspend": FLAG,
            "deletionPolicy": enum("delete", "orphan"),
        },
        "source",
    )


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
