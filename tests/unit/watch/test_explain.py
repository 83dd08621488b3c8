"""Label selectors as the API's query parameter, and the pod that is worst off."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocistate.health.model import HealthStatus
from ocistate.kube.client import KubeClient
from ocistate.objects import ObjectId
from ocistate.watch.explain import explain, label_selector

WEB_PODS = {"matchLabels": {"app": "web"}}
WEB = ObjectId("apps", "Deployment", "shop", "web")


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": {"a": "1", "b": "2"}}, "a=1,b=2"),
        (
            {
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["1", "2"]},
                    {"key": "b", "operator": "NotIn", "values": ["3"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
            },
            "a in (1,2),b notin (3),c,!d",
        ),
    ],
)
def test_a_selector_is_written_as_the_api_takes_it(selector: dict[str, Any], text: str) -> None:
    assert label_selector(selector) == text


def pod(name: str, **status: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "status": status}


def ask(id: ObjectId, *pods: dict[str, Any], selector: Any = WEB_PODS) -> Any:
    class Client:
        async def get(self, id: ObjectId) -> dict[str, Any]:
            return {
                "spec": {
                    "selector": {"matchLabels": {"app": "web"}} if selector is None else selector
                }
            }

        async def kind(self, group: str, kind: str) -> str:
            return kind

        async def list(self, resource: str, namespace: str, *, label_selector: str) -> Any:
            assert (resource, namespace, label_selector) == ("Pod", "shop", "app=web")
            return SimpleNamespace(items=list(pods))

    return asyncio.run(explain(cast(KubeClient, Client()), id))


def test_the_worst_pod_explains_its_workload() -> None:
    found = ask(
        WEB,
        pod("ok", phase="Running", conditions=[{"type": "Ready", "status": "True"}]),
        pod("slow", phase="Pending"),
        pod("bad", phase="Failed", message="evicted"),
    )
    assert found is not None
    id, health = found
    assert id == ObjectId("", "Pod", "shop", "bad")
    assert health.status is HealthStatus.DEGRADED


def test_nothing_explains_what_is_healthy_or_has_no_pods() -> None:
    ready = pod("ok", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    assert ask(WEB, ready) is None
    assert ask(WEB, selector={}) is None
    assert ask(ObjectId("", "ConfigMap", "shop", "a")) is None
