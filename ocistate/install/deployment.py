"""The agent's Deployment, under the restricted Pod Security Standard, and its Service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ocistate.channel.rings import Cluster

AGENT: Final = "ocistate-agent"
LABELS: Final = {"app.kubernetes.io/name": "ocistate", "app.kubernetes.io/part-of": "ocistate"}

WEBHOOK_SECRET: Final = "ocistate-webhook"  # noqa: S105 - a name
"""The Secret in the agent's namespace whose key ``secret`` is shared with senders of webhooks."""

REPORT_SECRET: Final = "ocistate-report"  # noqa: S105 - a name
"""The Secret in the agent's namespace with its key for reports, as cosign's tools make one."""

_USER: Final = 65532
_SELECTOR: Final = {"app.kubernetes.io/component": "agent"}
_POD_SECURITY: Final = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _from_secret(variable: str, key: str, *, optional: bool) -> dict[str, Any]:
    ref = {"name": REPORT_SECRET, "key": key, "optional": optional}
    return {"name": variable, "valueFrom": {"secretKeyRef": ref}}


def agent_service(namespace: str) -> dict[str, Any]:
    """Where registries send their webhooks; any replica takes them."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": AGENT, "namespace": namespace, "labels": LABELS},
        "spec": {
            "selector": _SELECTOR,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def agent_disruption_budget(namespace: str) -> dict[str, Any]:
    """Nodes are drained one agent after the other."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": AGENT, "namespace": namespace, "labels": LABELS},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _SELECTOR}},
    }


def agent_deployment(
    namespace: str,
    image: str,
    *,
    replicas: int,
    shards: int,
    cluster: Cluster | None = None,
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """``replicas`` agents that share the Stacks by so many ``shards``.

    As ``cluster`` they sign reports, with the key in the Secret ``REPORT_SECRET``.
    ``arguments`` are further ones.
    """
    labels = {**LABELS, **_SELECTOR}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _SELECTOR},
    }
    pod = {
        "serviceAccountName": AGENT,
        "automountServiceAccountToken": True,
        "securityContext": _POD_SECURITY,
        **({"topologySpreadConstraints": [spread]} if replicas > 1 else {}),
        "containers": [_container(image, shards, cluster, arguments)],
        "volumes": [
            {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
        "terminationGracePeriodSeconds": 30,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": AGENT, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _SELECTOR},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _container(
    image: str, shards: int, cluster: Cluster | None, arguments: Sequence[str]
) -> dict[str, Any]:
    secret = {"name": WEBHOOK_SECRET, "key": "secret", "optional": True}
    args = [
        *("agent", "--state", "/var/lib/ocistate", "--listen", ":8080"),
        # Also for one replica: when a node is cut off, its pod may run on beside the next one.
        f"--shards={shards}",
        *arguments,
    ]
    env: list[dict[str, Any]] = [
        # Where sigstore keeps the public trusted root that it fetches.
        {"name": "HOME", "value": "/var/lib/ocistate"},
        {"name": "OCISTATE_WEBHOOK_SECRET", "valueFrom": {"secretKeyRef": secret}},
    ]
    if cluster is not None:
        args += [
            f"--cluster={cluster.name}",
            *(f"--cluster-label={key}={value}" for key, value in cluster.labels.items()),
            "--report-key=env://OCISTATE_REPORT_KEY",
        ]
        env += [
            _from_secret("OCISTATE_REPORT_KEY", "cosign.key", optional=False),
            _from_secret("OCISTATE_PASSWORD", "cosign.password", optional=True),
        ]
    return {
        "name": "agent",
        "image": image,
        "args": args,
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080}],
        "livenessProbe": _probe("/healthz", period=20, timeout=10),
        "readinessProbe": _probe("/readyz", period=5, timeout=5),
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "state", "mountPath": "/var/lib/ocistate"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _probe(path: str, *, period: int, timeout: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
    }
