"""What is counted while it happens; the rest of the metrics is read from the agent's own state.

No label has values that a tenant or a registry chooses, so that the series stay few.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY: Final = CollectorRegistry()

STEPS: Final = Histogram(
    "ocistate_step_duration_seconds",
    "How long the steps of passes took; the step 'pass' is the whole.",
    ["step"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
    registry=REGISTRY,
)
REGISTRY_REQUESTS: Final = Counter(
    "ocistate_registry_requests",
    "Answers of registries by method and class of status; none is no answer.",
    ["method", "code"],
    registry=REGISTRY,
)
KUBE_REQUESTS: Final = Counter(
    "ocistate_kube_requests",
    "Answers of API servers by method and class of status; none is no answer.",
    ["method", "code"],
    registry=REGISTRY,
)
WEBHOOKS: Final = Counter(
    "ocistate_webhooks", "Webhooks received.", ["provider", "outcome"], registry=REGISTRY
)
EVENTS: Final = Counter(
    "ocistate_events",
    "Kubernetes Events told, folded into one or held back.",
    ["outcome"],
    registry=REGISTRY,
)


def count_registry_answer(method: str, status: int) -> None:
    """One answer of a registry; status 0 is none."""
    REGISTRY_REQUESTS.labels(method, _class(status)).inc()


def count_kube_answer(method: str, status: int) -> None:
    """One answer of an API server; status 0 is none."""
    KUBE_REQUESTS.labels(method, _class(status)).inc()


def _class(status: int) -> str:
    return f"{status // 100}xx" if status else "none"
