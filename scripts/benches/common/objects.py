"""Manifests to measure with: mixed kinds, of the size real ones have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def mixed(count: int, namespace: str) -> Iterator[dict[str, Any]]:
    """ConfigMaps, Services and Deployments (without replicas, to measure no one's pods)."""
    for number in range(count):
        yield _KINDS[number % len(_KINDS)](number, namespace)


def _metadata(name: str, number: int, namespace: str) -> dict[str, Any]:
    return {
        "name": f"{name}-{number}",
        "namespace": namespace,
        "labels": {"app.kubernetes.io/name": f"{name}-{number}", "app.kubernetes.io/part-of": "x"},
    }


def _config_map(number: int, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata("config", number, namespace),
        "data": {f"key-{i}": f"a value of some length, number {number}.{i}" for i in range(8)},
    }


def _service(number: int, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata("web", number, namespace),
        "spec": {
            "clusterIP": "None",
            "selector": {"app.kubernetes.io/name": f"web-{number}"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _deployment(number: int, namespace: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": f"web-{number}"}
    container = {
        "name": "web",
        "image": "registry.example.com/x/web:1.4.2",
        "args": ["--port", "8080", "--log-level=info"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "A_VARIABLE", "value": "some text that fills the space of a usual one"}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata("web", number, namespace),
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "config", "configMap": {"name": f"config-{number}"}}],
                },
            },
        },
    }


_KINDS = (_config_map, _service, _config_map, _deployment)
