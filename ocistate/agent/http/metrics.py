"""Prometheus metrics, made from the agent's own state when someone asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ocistate import __version__
from ocistate.agent.contain import contained
from ocistate.agent.registry import StackEntry
from ocistate.agent.runtime import Agent
from ocistate.agent.sharding.shards import Shards
from ocistate.agent.telemetry.instruments import REGISTRY
from ocistate.api.status import Truth
from ocistate.objects import StackKey
from ocistate.text import plain
from ocistate.watch.conflicts import ContestReason

_CONDITIONS = ("Ready", "Verified", "Applied", "Healthy", "Contested", "Stalled")
_NUMBERS: Final[dict[Truth, int]] = {"True": 1, "False": 0, "Unknown": -1}


_PROCESS = CollectorRegistry()
ProcessCollector(registry=_PROCESS)


_STACK: Final = ("namespace", "name")


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=[*_STACK, *labels])


@dataclass(frozen=True, slots=True)
class _Stacks:
    """The metrics of single Stacks."""

    conditions: GaugeMetricFamily = field(
        default_factory=lambda: _gauge(
            "ocistate_stack_condition",
            "1 when the Stack's condition is True, 0 when False, -1 when Unknown.",
            "type",
        )
    )
    resources: GaugeMetricFamily = field(
        default_factory=lambda: _gauge(
            "ocistate_stack_resources", "The Stack's objects by health status.", "status"
        )
    )
    info: GaugeMetricFamily = field(
        default_factory=lambda: _gauge(
            "ocistate_stack_info",
            "What the Stack runs, and where it belongs.",
            *("digest", "tag", "target"),
        )
    )
    trusted: GaugeMetricFamily = field(
        default_factory=lambda: _gauge(
            "ocistate_stack_running_verified",
            "1 when the policies trust what runs, 0 when they do not, -1 when that is unknown.",
        )
    )
    passes: CounterMetricFamily = field(
        default_factory=lambda: CounterMetricFamily(
            "ocistate_stack_passes", "Passes that have ended.", labels=[*_STACK, "outcome"]
        )
    )
    repairs: CounterMetricFamily = field(
        default_factory=lambda: CounterMetricFamily(
            "ocistate_stack_drift_repairs", "Objects put back as they should be.", labels=_STACK
        )
    )
    contested: GaugeMetricFamily = field(
        default_factory=lambda: _gauge(
            "ocistate_stack_contested", "The Stack's objects that others want otherwise.", "reason"
        )
    )
    suspended: GaugeMetricFamily = field(
        default_factory=lambda: _gauge(
            "ocistate_stack_suspended", "1 while the Stack is suspended."
        )
    )

    def add(self, key: StackKey, entry: StackEntry) -> None:
        """The metrics of one Stack."""
        status = entry.status
        for type_ in _CONDITIONS:
            condition = status.condition(type_)
            if condition is not None:
                self.conditions.add_metric([*key, type_], _NUMBERS[condition.status])
        for name, count in status.resources.items():
            self.resources.add_metric([*key, plain(name)], count)
        if status.current is not None:
            # Half of a surrogate pair would spoil the answer as a whole.
            labels = (status.current.digest, status.current.tag, entry.stack.target_name)
            self.info.add_metric([*key, *map(plain, labels)], 1)
            self.trusted.add_metric(key, _NUMBERS[status.current.verified])
        for outcome, count in entry.passes.items():
            self.passes.add_metric([*key, plain(outcome)], count)
        counts = Counter(contest.reason for contest in status.contested)
        for reason in ContestReason:
            self.contested.add_metric([*key, reason.value], counts[reason])
        self.repairs.add_metric(key, entry.reconcile_state.repairs)
        self.suspended.add_metric(key, entry.stack.spec.suspend)

    def families(self) -> tuple[Metric, ...]:
        return tuple(getattr(self, each.name) for each in fields(self))


class _AgentCollector(Collector):
    def __init__(self, agent: Agent, leases: Shards | None) -> None:
        self._agent = agent
        self._leases = leases

    def collect(self) -> Iterator[Metric]:
        stacks = _Stacks()
        for key, entry in self._agent.stacks.items():
            if self._agent.mine(key):  # else the agent that reconciles it has its metrics
                with contained(f"telling the metrics of the Stack {'/'.join(key)}"):
                    stacks.add(key, entry)
        yield from stacks.families()
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
        for target, answers in self._agent.target_factory.reachable().items():
            reachable.add_metric([plain(target)], answers)
        held = GaugeMetricFamily(
            "ocistate_held",
            "What is held in memory, by what it is; kinds_listed are too many to be watched.",
            labels=["what"],
        )
        for what, count in self._agent.sizes().items():
            held.add_metric([what], count)
        shards = GaugeMetricFamily(
            "ocistate_shard_held",
            "1 for each shard whose Stacks this agent reconciles.",
            labels=["shard"],
        )
        for shard in self._leases.working if self._leases is not None else ():
            shards.add_metric([str(shard)], 1)
        build = GaugeMetricFamily("ocistate_build_info", "The agent's version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield from (queue, reachable, held, shards, build)


def render(agent: Agent, leases: Shards | None = None) -> bytes:
    """The metrics in the text format."""
    registry = CollectorRegistry()
    registry.register(_AgentCollector(agent, leases))
    return generate_latest(registry) + generate_latest(REGISTRY) + generate_latest(_PROCESS)
