"""Workloads and CustomResourceDefinitions for Stacks of a cluster."""

from __future__ import annotations

from typing import Any


def deployment(name: str = "web", **annotations: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]},
            },
        },
    }


def pending() -> dict[str, Any]:
    """A Deployment that no node wants."""
    obj = deployment("pending")
    obj["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    return obj


def definition(group: str, kind: str) -> dict[str, Any]:
    """A kind with a status that speaks in its own words."""
    plural = f"{kind.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "listKind": f"{kind}List"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": anything},
                }
            ],
        },
    }


def may_be_seen(name: str, group: str, *resources: str) -> dict[str, Any]:
    """Lets the agent see a custom resource, as docs/agent.md says."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"ocistate.dev/aggregate-to-agent-view": "true"}},
        "rules": [
            {"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}
        ],
    }


def in_wave(obj: dict[str, Any], number: int) -> dict[str, Any]:
    obj["metadata"].setdefault("annotations", {})["ocistate.dev/wave"] = str(number)
    return obj
