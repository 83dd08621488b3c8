"""What examples/ and the documentation say is what there is."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ocistate.agent.backends.files import FolderStatusStore
from ocistate.agent.http.metrics import render
from ocistate.agent.runtime import Agent
from ocistate.agent.state.folder import StateFolder
from ocistate.agent.telemetry import instruments
from ocistate.api.loader import load_files
from ocistate.api.status import Current, StackStatus
from tests.support.command import ROOT
from tests.support.factories.keys import Key

EXAMPLES = ROOT / "examples"
EVERYWHERE = {"instance", "le"}
"""Labels that Prometheus itself adds, and those of histograms."""


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLES / "clusters.yaml", tmp_path)
    (tmp_path / "release.pub").write_text(Key.make().pem)
    return tmp_path / "clusters.yaml"


def test_stacks_for_many_clusters_are_read(clusters: Path) -> None:
    east, west = load_files(clusters).stacks
    assert east.target_name == "east"
    assert west.target_name == f"west@{clusters.parent}/kubeconfigs/west.yaml"
    assert west.depends_on == (east.key,)


@pytest.fixture
def served(clusters: Path, tmp_path: Path) -> dict[str, set[str]]:
    """The metrics that an agent serves, each with its labels."""

    async def serve() -> bytes:
        folder = StateFolder(tmp_path / "state")
        target_factory: Any = SimpleNamespace(
            reachable=lambda: {"east": True}, sizes=lambda: {"objects": 1}
        )
        agent = Agent(
            status_store=FolderStatusStore(folder),
            target_factory=target_factory,
            folder=folder,
            connect_store=_never,
        )
        status = StackStatus(current=Current(digest="sha256:0"), resources={"total": 1})
        for type_ in ("Ready", "Stalled"):
            status = status.with_condition(
                type_, "True", "Ready", "", now=agent.now(), generation=1
            )
        for stack in load_files(clusters).stacks:
            agent.set_stack(replace(stack, uid="u"), status)
            agent.stacks[stack.key].passes["Ready"] += 1
        instruments.STEPS.labels("pass").observe(1)
        instruments.count_kube_answer("GET", 200)
        instruments.count_registry_answer("GET", 200)
        instruments.WEBHOOKS.labels("generic", "accepted")
        instruments.EVENTS.labels("told")
        leases: Any = SimpleNamespace(working=[0])
        return render(agent, leases)

    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(asyncio.run(serve()).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _never(*args: object) -> Any:
    raise AssertionError


def dashboard() -> list[str]:
    content = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    asked = [t["expr"] for panel in content["panels"] for t in panel.get("targets", ())]
    for variable in content["templating"]["list"]:
        if match := re.match(r"label_values\((\w+), ?(\w+)\)", str(variable.get("definition"))):
            asked.append(f"sum by ({match[2]}) ({match[1]})")
    return asked


def alerts() -> list[dict[str, Any]]:
    _, rules = yaml.safe_load_all((EXAMPLES / "prometheus.yaml").read_text())
    return [rule for group in rules["spec"]["groups"] for rule in group["rules"]]


def check(expressions: Iterable[str], served: dict[str, set[str]]) -> None:
    for expression in expressions:
        names = set(re.findall(r"\b(?:ocistate|process)_\w+", expression))
        assert names, expression
        assert names <= served.keys(), expression
        known = EVERYWHERE.union(*(served[name] for name in names))
        chosen = set(re.findall(r"[{,] *(\w+) *(?:=|!=|=~|!~)\"", expression))
        for group in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
            chosen |= {label.strip() for label in group.split(",")}
        assert chosen <= known, expression


def test_the_dashboard_asks_for_what_is_served(served: dict[str, set[str]]) -> None:
    check(dashboard(), served)


def test_the_alerts_ask_for_what_is_served(served: dict[str, set[str]]) -> None:
    check((rule["expr"] for rule in alerts()), served)
    for rule in alerts():
        names = set(re.findall(r"ocistate_\w+", rule["expr"]))
        labels = EVERYWHERE.union(*(served[name] for name in names))
        said = str(rule["annotations"])
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels, rule["alert"]


def test_the_documented_metrics_are_those_served(served: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "agent.md").read_text()
    documented = {}
    for names, labels in re.findall(r"^\| (`ocistate_[^|]*) \| ([^|]*)\|", text, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            documented[name] = set(re.findall(r"`(\w+)`", labels))
    ours = {
        re.sub(r"_(bucket|sum|count|created)$", "", name): labels - {"le"}
        for name, labels in served.items()
        if name.startswith("ocistate_") and not name.endswith(("_created", "_sum", "_count"))
    }
    assert documented == ours
