"""What an agent costs that has nothing to do."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.assertions.waiting import wait_for
from tests.support.command import ROOT
from tests.support.environments.agent import Tenant, World
from tests.support.factories.stacks import config_map


def registry_requests(team: Tenant) -> list[tuple[str, str]]:
    """(method, URL) of what the registry answered about the team's repository."""
    found = []
    for line in team.world.registry.server.log.read_text(errors="replace").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if entry.get("msg") == "response completed" and team.namespace in str(
            entry.get("http.request.uri")
        ):
            found.append((entry["http.request.method"], entry["http.request.uri"]))
    return found


def test_an_idle_pass_sends_one_head_to_the_registry_and_nothing_to_the_api_server(
    world: World,
) -> None:
    team = world.tenant()
    team.push(*(config_map(f"app-{number}", v="1") for number in range(20)))
    team.create()
    team.wait_ready()
    assert len(registry_requests(team)) > 0
    wait_for("what follows the rollout is over", lambda: quiet(world, team, 2), seconds=60)

    begun = len(registry_requests(team))
    sent = world.relay.sent
    wait_for("five passes", lambda: len(registry_requests(team)) >= begun + 5)

    assert world.relay.sent == sent, "an idle pass must not talk to the API server"
    looks = registry_requests(team)[begun:]
    manifest = f"/v2/{team.namespace}/manifests/prod"
    assert {look for look in looks if look[1] != "/v2/"} == {("HEAD", manifest)}


def quiet(world: World, team: Tenant, passes: int) -> bool:
    """Whether nothing was said to the API server for some passes."""
    begun, sent = len(registry_requests(team)), world.relay.sent
    wait_for("passes", lambda: len(registry_requests(team)) >= begun + passes)
    return world.relay.sent == sent


def test_a_watch_event_sends_no_request_to_the_registry(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready()
    begun = registry_requests(team)

    for _ in range(3):
        team.change("app", {"data": {"v": "9"}})
        team.wait_data("app", v="1")

    assert registry_requests(team) == begun


def test_memory_of_an_idle_agent_stays_below_its_bar(world: World) -> None:
    world.agent.terminate()
    team = world.tenant()
    team.push(*(config_map(f"app-{number}", v="1") for number in range(20)))
    team.create()
    world.agent.start()
    team.wait_ready()

    status = Path(f"/proc/{world.agent.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024

    print(f"idle agent: {resident:.1f} MB")
    assert resident < 80


def test_health_and_metrics_are_served(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready(digest)

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.port}{path}", timeout=30) as reply:
            return str(reply.read().decode())

    assert get("/healthz") == "ok\n"
    assert get("/readyz") == "ok\n"
    labels = f'name="app",namespace="{team.namespace}"'
    lines = get("/metrics").splitlines()
    assert f'ocistate_stack_condition{{{labels},type="Ready"}} 1.0' in lines
    assert f"ocistate_stack_running_verified{{{labels}}} 1.0" in lines
    assert f'ocistate_stack_info{{digest="{digest}",{labels},tag="prod",target=""}} 1.0' in lines

    found = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    dashboard = (ROOT / "examples" / "grafana-dashboard.json").read_text()
    queried = set(re.findall(r"(?:ocistate|process)_[a-z_]+", dashboard))
    assert len(queried) > 10
    for name in queried:
        assert {name, name.removesuffix("_total"), name.removesuffix("_bucket")} & found, name


def watchers(world: World, resource: str) -> int:
    """How many watches of a resource the API server has open by all clients."""
    text = world.cluster.request("GET", "/metrics").body
    return sum(
        int(float(line.rsplit(" ", 1)[1]))
        for line in text.splitlines()
        if line.startswith("apiserver_longrunning_requests{")
        and f'resource="{resource}"' in line
        and 'verb="WATCH"' in line
    )


def test_a_kind_that_no_stack_has_any_more_is_not_watched_until_one_has_it(world: World) -> None:
    team, other = world.tenant(), world.tenant()
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]},
    }
    before = watchers(world, "limitranges")
    team.push(config_map("app", v="1"), limits)
    other.push(config_map("app", v="1"), limits)
    for each in (team, other):
        each.create()
        each.wait_ready()
    wait_for("one watch for all", lambda: watchers(world, "limitranges") == before + 1)

    # One has it no longer, since its artifact has not: the other one's is seen still.
    team.push(config_map("app", v="2"))
    team.wait_gone("LimitRange", "limits")
    time.sleep(3.0)  # not a wait: how long nothing must happen
    other.delete("LimitRange", "limits")
    wait_for("put back", lambda: other.get("LimitRange", "limits"))
    other.delete("Stack", "app", "ocistate.dev/v1alpha1")
    wait_for("no watch", lambda: watchers(world, "limitranges") == before)

    digest = team.push(config_map("app", v="3"), limits)
    team.wait_ready(digest)
    wait_for("a watch again", lambda: watchers(world, "limitranges") == before + 1)
    team.delete("LimitRange", "limits")
    wait_for("put back", lambda: team.get("LimitRange", "limits"))
