"""The CustomResourceDefinitions of Stack and TrustPolicy."""

from __future__ import annotations

from typing import Any, Final

from ocistate.agent.api import GROUP, VERSION

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_DURATION: Final[Schema] = {
    "type": "string",
    "pattern": r"^([0-9]+h)?([0-9]+m)?([0-9]+(\.[0-9]+)?s)?([0-9]+ms)?$",
}
_NUMBER: Final[Schema] = {"type": "integer", "format": "int64"}
_NUMBER_FIELDS: Final[Schema] = {"epoch": _NUMBER, "sequence": _NUMBER}
_DIGEST: Final[Schema] = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}


def crds() -> list[dict[str, Any]]:
    """Both definitions, as objects to apply."""
    return [_stack_crd(), _policy_crd()]


def _object(properties: Schema, *required: str, **more: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, **more}
    return schema | ({"required": list(required)} if required else {})


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _enum(*values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema | ({"default": default} if default else {})


def _described(schema: Schema, text: str) -> Schema:
    return schema | {"description": text}


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
    schema = _object(
        {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "metadata": {"type": "object"},
            "spec": _stack_spec(),
            "status": _stack_status(),
        },
        "spec",
    )
    return _crd("Stack", "stacks", "Namespaced", schema, columns, categories=["ocistate"])


def _stack_spec() -> Schema:
    name = _object({"name": _TEXT}, "name")
    source = _object(
        {
            "repository": _described(_TEXT, "oci://HOST/NAME, layout:FOLDER or archive:FILE."),
            "channel": _described(_TEXT, "A channel to follow: signed, and never back."),
            "channelRepository": _described(_TEXT, "Where its records are; repository."),
            "tag": _described(_TEXT, "A tag to follow."),
            "semver": _described(_TEXT, "A range of versions, to follow the highest tag in it."),
            "digest": _described(_DIGEST, "A digest to stay at."),
            "path": _described(_TEXT, "A folder inside the artifact."),
            "interval": _described(_DURATION, "Between two looks at the tag; 1m."),
            "insecure": _described(_FLAG, "Plain HTTP; loopback needs no such word."),
            "pullSecretRef": _described(name, "A kubernetes.io/dockerconfigjson Secret."),
            "caSecretRef": _described(name, "A Secret with the registry's CA in ca.crt."),
            "certSecretRef": _described(name, "A kubernetes.io/tls Secret to show the registry."),
            "mirrors": _described(
                _list(_object({"repository": _TEXT, "insecure": _FLAG}, "repository")),
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
    ignore = _object(
        {"kind": _TEXT, "name": _TEXT, "jsonPointers": _list({"type": "string", "pattern": "^/"})},
        "kind",
        "jsonPointers",
    )
    expression = {"type": "string", "maxLength": 1000}
    check = _object(
        {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "healthy": expression,
            "progressing": expression,
            "failed": expression,
        },
        "apiVersion",
        "kind",
        "healthy",
    )
    depends = _object({"name": _TEXT, "namespace": _TEXT}, "name")
    return _object(
        {
            "source": source,
            "trust": _object({"policy": _described(_TEXT, "A TrustPolicy's name.")}),
            "target": _object(
                {
                    "directory": _described(_TEXT, "A folder instead of a cluster."),
                    "kubeconfigSecretRef": _described(
                        _object({"name": _TEXT, "key": _TEXT}, "name"),
                        "Another cluster: a Secret with its kubeconfig in value or kubeconfig.",
                    ),
                    "context": _described(_TEXT, "Of that kubeconfig; its current one."),
                    "kubeconfig": _described(_TEXT, "A kubeconfig file; without a cluster only."),
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
            "namespace": _described(_TEXT, "For objects that name none."),
            "forceNamespace": _described(_FLAG, "For all namespaced objects."),
            "maxPrunePercent": {
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "description": "Of the objects, to be removed at once without being asked; 50.",
            },
            "serviceAccountName": _described(_TEXT, "Impersonated for every write."),
            "prune": _described(_FLAG, "Remove what the artifact has no more; true."),
            "drift": _enum("correct", "report", "ignore"),
            "ignore": _described(_list(ignore), "Fields left to others."),
            "dependsOn": _described(_list(depends), "Stacks that must be ready before."),
            "adoptFrom": _described(_list(depends), "Stacks to take objects over from."),
            "handOverTo": _described(_list(depends), "Stacks that may take objects over."),
            "wait": _object(
                {
                    "timeout": _described(_DURATION, "To become healthy; 5m."),
                    "checks": _described(_list(check, maxItems=50), "Health in CEL, by kind."),
                }
            ),
            "onFailure": _enum("hold", "rollback"),
            "report": _described(
                _object(
                    {
                        "repository": _described(_TEXT, "Where to; the channel's repository."),
                        "pushSecretRef": _object({"name": _TEXT}, "name"),
                    }
                ),
                "Let the agent report how the Stack is, where it follows a channel.",
            ),
            "suspend": _FLAG,
            "deletionPolicy": _enum("delete", "orphan"),
        },
        "source",
    )


def _stack_status() -> Schema:
    condition = _object(
        {
            "type": _TEXT,
            "status": _enum("True", "False", "Unknown"),
            "reason": _TEXT,
            "message": _TEXT,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
        "type",
        "status",
    )
    return _object(
        {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": _list(
                condition,
                **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
            "current": _object(
                {
                    "digest": _TEXT,
                    "tag": _TEXT,
                    "revision": _TEXT,
                    "signedBy": _list(_TEXT),
                    "appliedAt": _TEXT,
                    "verified": _enum("True", "False", "Unknown"),
                    "verification": _TEXT,
                    "channel": _TEXT,
                    **_NUMBER_FIELDS,
                }
            ),
            "channels": _list(
                _object(
                    {
                        "channel": _TEXT,
                        "repository": _TEXT,
                        "record": _TEXT,
                        "at": _TEXT,
                        **_NUMBER_FIELDS,
                    }
                )
            ),
            "lastAttempt": _object({"digest": _TEXT, "error": _TEXT, "at": _TEXT, "begun": _TEXT}),
            "lastHealthy": _object({"digest": _TEXT, "tag": _TEXT}),
            "heldBack": _object(
                {
                    "digest": _TEXT,
                    "reason": _TEXT,
                    "at": _TEXT,
                    "generation": {"type": "integer", "format": "int64"},
                    "reconcileAt": _TEXT,
                }
            ),
            "history": _list(
                _object({"digest": _TEXT, "revision": _TEXT, "at": _TEXT, "outcome": _TEXT})
            ),
            "resources": {"type": "object", "additionalProperties": {"type": "integer"}},
            "kinds": _list(_TEXT),
            "target": _described(
                _object(
                    {
                        "kubeconfigSecretRef": _object({"name": _TEXT, "key": _TEXT}),
                        "context": _TEXT,
                    }
                ),
                "The other cluster that its objects are in.",
            ),
            "contested": _described(
                _list(
                    _object(
                        {
                            **{key: _TEXT for key in ("group", "kind", "namespace", "name")},
                            "reason": _enum("Flipped", "Overruled"),
                            "by": _TEXT,
                            "fields": _list(_TEXT),
                        }
                    )
                ),
                "Objects that others want otherwise.",
            ),
            "lastHandledReconcileAt": _TEXT,
        }
    )


def _policy_crd() -> dict[str, Any]:
    columns = [
        _column("Repositories", ".spec.repositories"),
        _column("Threshold", ".spec.threshold", "integer"),
        _column("Mode", ".spec.mode"),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    schema = _object(
        {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, "spec": _policy()},
        "spec",
    )
    return _crd("TrustPolicy", "trustpolicies", "Cluster", schema, columns, categories=["ocistate"])


def _policy() -> Schema:
    # The agent reads policies strictly and fails closed. What the schema does not know must reach
    # it: were a misspelt field dropped here, a policy could be looser than it was written.
    kept = {"x-kubernetes-preserve-unknown-fields": True}
    ref = _object({"name": _TEXT, "key": _TEXT}, "name", **kept)
    elsewhere = {
        "secretRef": _described(ref, "A Secret in the agent's namespace; key: cosign.pub."),
        "configMapRef": _described(ref, "A ConfigMap in the agent's namespace."),
        "file": _described(_TEXT, "A file beside this one; not in a cluster."),
    }
    key = _object({"name": _TEXT, "pem": _TEXT, **elsewhere}, **kept)
    identity = _object(
        {
            "name": _TEXT,
            "issuer": _described(_TEXT, "The OIDC issuer's URL."),
            "issuerRegExp": _described(_TEXT, "RE2; must match the whole of it."),
            "subject": _described(_TEXT, "The certificate's subject: a URL or an address."),
            "subjectRegExp": _described(_TEXT, "RE2; must match the whole of it."),
            "trustedRoot": _described(
                _object({"json": _TEXT, **elsewhere}, **kept),
                "A trusted_root.json; Sigstore's public one when left out.",
            ),
        },
        **kept,
    )
    keys, identities = _list(key), _list(identity)
    attestation = _object(
        {
            "predicateType": _TEXT,
            "keys": _described(keys, "Who must have made it; the policy's signers if left out."),
            "identities": identities,
            "conditions": _described(_list(_TEXT), "CEL over 'predicate'; all must be true."),
        },
        "predicateType",
        **kept,
    )
    number = {"type": "integer", "format": "int64", "minimum": 1}
    return _object(
        {
            "repositories": _described(_list(_TEXT, minItems=1), "Globs over HOST/REPOSITORY."),
            "keys": _described(keys, "Public keys that may sign artifacts."),
            "identities": _described(identities, "OIDC identities that may sign artifacts."),
            "threshold": _described(number, "How many different ones must have signed; 1."),
            "attestations": _described(_list(attestation), "Statements that there must be."),
            "channelKeys": _described(keys, "Public keys that may sign channels' records."),
            "reporters": _described(keys, "Clusters by name, and the keys of their reports."),
            "epoch": _described(number, "The epoch of channels' records; 1."),
            "minSequence": _described(number | {"minimum": 0}, "The lowest sequence; 0."),
            "allowLegacy": _described(_FLAG, "Count simple-signing signatures too; false."),
            "mode": _enum("enforce", "warn", "off", default="enforce"),
        },
        "repositories",
        **kept,
    )
