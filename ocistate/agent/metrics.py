"""Prometheus metrics, made from the agent's own state when someone asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ocistate.agent.runtime import Agent

_CONDITIONS = ("Ready", "Verified", "Applied", "Healthy", "Stalled")


class _AgentCollector(Collector):
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        labels = ["namespace", "name"]
        conditions = GaugeMetricFamily(
            "ocistate_stack_condition",
            "1 when the Stack's condition is True, 0 when False, -1 when Unknown.",
            labels=[*labels, "type"],
        )
        resources = GaugeMetricFamily(
            "ocistate_stack_resources",
            "The Stack's objects by health status.",
            labels=[*labels, "status"],
        )
        info = GaugeMetricFamily(
            "ocistate_stack_info", "What the Stack runs.", labels=[*labels, "digest", "tag"]
        )
        passes = CounterMetricFamily(
            "ocistate_stack_passes", "Passes that have ended.", labels=[*labels, "outcome"]
        )
        for key in self._agent.keys:
            status = self._agent.status(key)
            for type_ in _CONDITIONS:
                condition = status.condition(type_)
                if condition is not None:
                    truth = {"True": 1, "False": 0}.get(condition.status, -1)
                    conditions.add_metric([*key, type_], truth)
            for name, count in status.resources.items():
                resources.add_metric([*key, name], count)
            if status.current is not None:
                info.add_metric([*key, status.current.digest, status.current.tag], 1)
            for outcome, count in self._agent.passes(key).items():
                passes.add_metric([*key, outcome], count)
        yield from (conditions, resources, info, passes)


def render(agent: Agent) -> bytes:
    """The metrics in the text format."""
    registry = CollectorRegistry()
    registry.register(_AgentCollector(agent))
    return generate_latest(registry)
