"""Prometheus metrics, made from the agent's own state when someone asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ocistate import __version__
from ocistate.agent.instruments import REGISTRY
from ocistate.agent.runtime import Agent
from ocistate.agent.shards import Shards
from ocistate.agent.status import Truth
from ocistate.cluster.contested import Reason

_CONDITIONS = ("Ready", "Verified", "Applied", "Healthy", "Contested", "Stalled")
_NUMBERS: Final[dict[Truth, int]] = {"True": 1, "False": 0, "Unknown": -1}


_PROCESS = CollectorRegistry()
ProcessCollector(registry=_PROCESS)


class _AgentCollector(Collector):
    def __init__(self, agent: Agent, leases: Shards | None) -> None:
        self._agent = agent
        self._leases = leases

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
            "ocistate_stack_info",
            "What the Stack runs, and where it belongs.",
            labels=[*labels, "digest", "tag", "target"],
        )
        trusted = GaugeMetricFamily(
            "ocistate_stack_running_verified",
            "1 when the policies trust what runs, 0 when they do not, -1 when that is unknown.",
            labels=labels,
        )
        passes = CounterMetricFamily(
            "ocistate_stack_passes", "Passes that have ended.", labels=[*labels, "outcome"]
        )
        repairs = CounterMetricFamily(
            "ocistate_stack_drift_repairs", "Objects put back as they should be.", labels=labels
        )
        contested = GaugeMetricFamily(
            "ocistate_stack_contested",
            "The Stack's objects that others want otherwise.",
            labels=[*labels, "reason"],
        )
        suspended = GaugeMetricFamily(
            "ocistate_stack_suspended", "1 while the Stack is suspended.", labels=labels
        )
        queue = GaugeMetricFamily(
            "ocistate_queue", "Stacks by what their next pass does.", labels=["state"]
        )
        queue.add_metric(["waiting"], self._agent.waiting)
        queue.add_metric(["running"], self._agent.running)
        reachable = GaugeMetricFamily(
            "ocistate_target_reachable",
            "1 when the cluster that Stacks name answered last, 0 when it did not.",
            labels=["target"],
        )
        for target, answers in self._agent.places.reachable().items():
            reachable.add_metric([target], answers)
        shards = GaugeMetricFamily(
            "ocistate_shard_held",
            "1 for each shard whose Stacks this agent reconciles.",
            labels=["shard"],
        )
        for shard in self._leases.working if self._leases is not None else ():
            shards.add_metric([str(shard)], 1)
        build = GaugeMetricFamily("ocistate_build_info", "The agent's version.", labels=["version"])
        build.add_metric([__version__], 1)
        for key, entry in self._agent.stacks.items():
            if not self._agent.mine(key):
                continue  # who reconciles it tells of it
            status = entry.status
            for type_ in _CONDITIONS:
                condition = status.condition(type_)
                if condition is not None:
                    conditions.add_metric([*key, type_], _NUMBERS[condition.status])
            for name, count in status.resources.items():
                resources.add_metric([*key, name], count)
            if status.current is not None:
                target = entry.stack.target_name
                info.add_metric([*key, status.current.digest, status.current.tag, target], 1)
                trusted.add_metric(list(key), _NUMBERS[status.current.verified])
            for outcome, count in entry.passes.items():
                passes.add_metric([*key, outcome], count)
            counts = Counter(contest.reason for contest in status.contested)
            for reason in Reason:
                contested.add_metric([*key, reason.value], counts[reason])
            repairs.add_metric(list(key), entry.memo.repairs)
            suspended.add_metric(list(key), entry.stack.suspend)
        yield from (
            conditions,
            resources,
            info,
            trusted,
            passes,
            repairs,
            contested,
            suspended,
            queue,
            reachable,
            shards,
            build,
        )


def render(agent: Agent, leases: Shards | None = None) -> bytes:
    """The metrics in the text format."""
    registry = CollectorRegistry()
    registry.register(_AgentCollector(agent, leases))
    return generate_latest(registry) + generate_latest(REGISTRY) + generate_latest(_PROCESS)
