"""What others do to a cluster, and what befalls it: afterwards all is equal, or said to differ."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ocistate.install.manifests import namespaced_objects
from ocistate.labels import STACK_LABEL
from testbed.kubeapi import kubeconfig
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World, equal, path_of, versions
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.stacks import config_map, policy
from tests.support.factories.workloads import definition, deployment, may_be_seen

ADMISSION = "admissionregistration.k8s.io/v1"


def no_bugs(agent: AgentProcess) -> bool:
    return not [line for line in agent.lines() if "unexpectedly" in line["message"]]


def test_two_agents_at_once_converge_and_stop_writing(world: World, tmp_path: Path) -> None:
    team = world.tenant()
    state = world.agent.arguments.index("--state") + 1
    arguments = list(world.agent.arguments)
    arguments[state] = str(tmp_path / "state")
    listen = arguments.index("--listen")
    del arguments[listen : listen + 2]
    team.push(*(config_map(f"app-{n}", v="0") for n in range(20)))
    with AgentProcess(arguments, tmp_path / "second.log") as second:
        team.create()
        team.wait_ready()
        for version in ("1", "2", "3"):
            digest = team.push(*(config_map(f"app-{n}", v=version) for n in range(20)))
            team.change("app-3", {"data": {"v": "9"}})
            team.delete("ConfigMap", "app-4")
            team.wait_ready(digest)
            wait_for("equal", functools.partial(equal, team, version, 20))

        seen: list[dict[str, str]] = []

        def at_rest() -> bool:
            """Whether nothing was written during some passes of both."""
            seen.append(versions(world, team.namespace))
            time.sleep(1.0)  # not a wait: how long nothing must happen
            return seen[-1] == versions(world, team.namespace)

        wait_for("rest", at_rest)
        assert second.running
        assert no_bugs(second)
        assert no_bugs(world.agent)
    assert team.status()["current"]["digest"] == digest


def test_an_expired_token_is_read_again(world: World, tmp_path: Path) -> None:
    world.agent.kill()  # else it would do the other one's work
    team = world.tenant()
    *objects, _ = namespaced_objects(namespace=team.namespace, image="none")
    world.apply(*objects)
    token = tmp_path / "token"
    old = world.cluster.token(team.namespace, "ocistate-agent")
    token.write_text(old)
    access = kubeconfig(
        tmp_path / "kubeconfig.yaml",
        server=world.cluster.server,
        ca_file=world.cluster.ca_file,
        user={"tokenFile": str(token)},
        namespace=team.namespace,
    )
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "policy.yaml").write_text(json.dumps(policy(world.key)))
    arguments = ["--namespace", team.namespace, "--policies", str(trust)]
    agent = AgentProcess(
        [*arguments, "--kubeconfig", str(access), "--state", str(tmp_path / "state")],
        tmp_path / "agent.log",
    )
    account = path_of("v1", "ServiceAccount", team.namespace, "ocistate-agent")
    with agent:
        digest = team.push(config_map("app", v="1"))
        team.create()
        team.wait_ready(digest)

        # An account of the same name with other tokens: the old one is worth nothing any more.
        world.cluster.request("DELETE", account)
        world.apply(objects[0])
        wait_for(
            "the old token refused",
            lambda: world.cluster.request("GET", "/api", token=old).status == 401,
        )
        before = len(agent.lines())
        team.push(config_map("app", v="2"))
        wait_for("trouble", lambda: any(e["level"] == "warning" for e in agent.lines()[before:]))
        assert team.data("app") == {"v": "1"}
        token.write_text(world.cluster.token(team.namespace, "ocistate-agent"))

        team.wait_data("app", v="2")
        team.wait_ready()
        team.change("app", {"data": {"v": "9"}})
        team.wait_data("app", v="2")
        assert no_bugs(agent)


def test_changes_during_a_freeze_are_found_after_watch_history_was_compacted(
    world: World,
) -> None:
    team = world.tenant()
    digest = team.push(*(config_map(name, v="1") for name in ("edited", "gone", "bare", "still")))
    team.create(source={"interval": "1h"})
    team.wait_ready(digest)

    os.kill(world.agent.pid, signal.SIGSTOP)
    try:
        world.relay.cut()  # else its watches would hold what happens now
        team.change("edited", {"data": {"v": "9"}})
        team.delete("ConfigMap", "gone")
        team.change("bare", {"metadata": {"managedFields": [{}]}, "data": {"v": "9"}})
        world.cluster.compact_etcd()
        # A new watch cache knows nothing of before: old watches are answered with 410 Gone.
        world.cluster.apiserver.kill()
        world.cluster.apiserver.start()
        still = team.get("ConfigMap", "still")
    finally:
        os.kill(world.agent.pid, signal.SIGCONT)

    for name in ("edited", "gone", "bare"):
        team.wait_data(name, v="1")
    team.wait_ready(digest)
    assert team.get("ConfigMap", "still") == still
    assert no_bugs(world.agent)


def test_an_agent_without_a_registry_touches_nothing_until_it_is_back(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready(digest)

    world.agent.kill()
    world.registry.stop()
    team.change("app", {"data": {"v": "9"}})
    try:
        world.agent.start()
        message = team.wait_condition("Ready", "True", "RegistryUnavailable")
        assert digest in message
        assert team.status()["current"]["verified"] == "Unknown"
        assert team.data("app") == {"v": "9"}, "what no one could verify is not applied"
    finally:
        world.registry.start()

    team.wait_data("app", v="1")
    team.wait_ready(digest)


def test_a_crd_deleted_under_its_objects_is_reported_and_restored(world: World) -> None:
    team = world.tenant()
    kind, group = "Lamp", "crds.ocistate.test"
    crd = definition(group, kind)
    world.apply(crd, may_be_seen("see-lamps", group, "lamps"))
    lamp = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "lamp"}, "spec": {}}
    digest = team.push(lamp, config_map("app", v="1"))
    check = {"apiVersion": f"{group}/v1", "kind": kind, "healthy": "true"}
    team.create(source={"interval": "1h"}, wait={"checks": [check]})
    team.wait_ready(digest)

    world.cluster.request("DELETE", path_of(crd["apiVersion"], crd["kind"], "", "lamps." + group))
    message = team.wait_condition("Ready", "False")
    assert "Lamp" in message
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="1")

    world.apply(crd)
    wait_for("the lamp again", lambda: team.get(kind, "lamp", f"{group}/v1"), seconds=60)
    team.wait_ready(digest, seconds=60)


def admission(kind: str, name: str, namespace: str, **spec: Any) -> list[dict[str, Any]]:
    """An admission policy for one namespace's ConfigMaps, and its binding."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }
    place = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    constraints = {"resourceRules": [rule], "namespaceSelector": place}
    binding: dict[str, Any] = {"policyName": name}
    if kind == "ValidatingAdmissionPolicy":
        binding["validationActions"] = ["Deny"]
    return [
        {
            "apiVersion": ADMISSION,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": constraints, **spec},
        },
        {
            "apiVersion": ADMISSION,
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "spec": binding,
        },
    ]


def admission_path(kind: str, name: str) -> str:
    plural = kind.lower().removesuffix("y") + "ies" if kind.endswith("y") else kind.lower() + "s"
    return f"/apis/{ADMISSION}/{plural}/{name}"


@contextmanager
def admitting(world: World, objects: list[dict[str, Any]]) -> Iterator[None]:
    paths = [admission_path(obj["kind"], obj["metadata"]["name"]) for obj in objects]
    try:
        for obj, path in zip(objects, paths, strict=True):
            answer = world.cluster.request("PATCH", f"{path}?fieldManager=test&force=true", obj)
            assert answer.status in (200, 201), answer.body
        yield
    finally:
        for path in reversed(paths):
            world.cluster.request("DELETE", path)


def test_objects_denied_by_admission_are_named_and_applied_once_allowed(world: World) -> None:
    team = world.tenant()
    denial = admission(
        "ValidatingAdmissionPolicy",
        "no-nines",
        team.namespace,
        validations=[{"expression": "object.data.v != '9'", "message": "nine is right out"}],
    )
    with admitting(world, denial):

        def in_force() -> bool:
            probe = config_map("probe", v="9")
            path = path_of("v1", "ConfigMap", team.namespace)
            return world.cluster.request("POST", f"{path}?dryRun=All", probe).status == 422

        wait_for("the policy in force", in_force)
        team.push(config_map("good", v="1"), config_map("bad", v="9"))
        team.create()
        message = team.wait_condition("Ready", "False", "ApplyFailed")
        assert "nine is right out" in message
        assert "1 of 2 objects failed" in message
        team.wait_data("good", v="1")

    team.wait_ready()
    assert team.data("bad") == {"v": "9"}


def test_changes_by_admission_to_our_requests_are_not_fought(world: World) -> None:
    team = world.tenant()
    mutation = admission(
        "MutatingAdmissionPolicy",
        "always-seven",
        team.namespace,
        reinvocationPolicy="Never",
        mutations=[
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{data: {'v': '7'}}"},
            }
        ],
    )
    with admitting(world, mutation):

        def in_force() -> bool:
            path = path_of("v1", "ConfigMap", team.namespace)
            answer = world.cluster.request("POST", f"{path}?dryRun=All", config_map("p", v="1"))
            return bool(answer.body.get("data") == {"v": "7"})

        wait_for("the policy in force", in_force)
        team.push(config_map("app", v="1"), config_map("other", v="7"))
        team.create(source={"interval": "1h"})
        team.wait_data("app", v="7")
        team.wait_ready()
        assert "/app: admission overrules .data.v" in team.wait_condition("Contested", "True")
        before = versions(world, team.namespace)
        time.sleep(2.0)  # not a wait: how long nothing must happen
        assert versions(world, team.namespace) == before


def test_an_autoscaler_gets_the_field_that_is_left_to_it(world: World) -> None:
    team = world.tenant()
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 3,
            "maxReplicas": 5,
        },
    }
    digest = team.push(deployment(), scaler)

    team.create(ignore=[{"kind": "Deployment", "jsonPointers": ["/spec/replicas"]}])

    def scaled() -> bool:
        live = team.get("Deployment", "web", "apps/v1") or {}
        return bool((live.get("status") or {}).get("availableReplicas") == 3)

    wait_for("three pods", scaled)
    team.wait_condition("Applied", "True", digest=digest)
    before = (team.get("Deployment", "web", "apps/v1") or {})["metadata"]["generation"]
    team.push(deployment(), scaler, config_map("more"))
    team.wait_data("more")
    wait_for("more", lambda: team.get("ConfigMap", "more"))
    assert (team.get("Deployment", "web", "apps/v1") or {})["metadata"]["generation"] == before


def test_a_slow_or_frozen_api_server_only_delays_reconciliation(world: World) -> None:
    team = world.tenant()
    team.push(*(config_map(f"app-{n}", v="1") for n in range(12)))
    team.create()
    team.wait_ready()

    world.relay.delay = 0.25
    try:
        digest = team.push(*(config_map(f"app-{n}", v="2") for n in range(10)))
        team.wait_ready(digest, seconds=60)
        assert equal(team, "2", 10)
        team.change("app-1", {"data": {"v": "9"}})
        team.delete("ConfigMap", "app-2")
        wait_for("the drift repaired", lambda: equal(team, "2", 10))
    finally:
        world.relay.delay = 0.0

    # Its connections stay open, and nothing is answered: neither to the pass nor to the watches.
    third = team.push(*(config_map(f"app-{n}", v="3") for n in range(9)), tag="third")
    team.change("app-1", {"data": {"v": "9"}})
    world.cluster.apiserver.pause()
    try:
        team.publisher.point("prod", third)
        time.sleep(3.0)  # not a wait: how long it is frozen
    finally:
        world.cluster.apiserver.resume()
    team.wait_ready(third)
    wait_for("equal", lambda: equal(team, "3", 9))
    assert no_bugs(world.agent)


def test_a_label_that_names_another_owner_gives_nothing_away(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"), config_map("calm", v="1"))
    made = team.create(source={"interval": "1h"})
    other = team.push(config_map("other", v="1"), tag="other")
    heir = team.create("heir", source={"tag": "other", "interval": "1h"})
    team.wait_ready(digest)
    team.wait_ready(other, name="heir")
    before = team.get("ConfigMap", "app") or {}

    for owner in (heir["metadata"]["uid"], "no-owner"):
        team.change("app", {"data": {"v": "9"}, "metadata": {"labels": {STACK_LABEL: owner}}})
        team.wait_data("app", v="1")
        live = team.get("ConfigMap", "app") or {}
        assert live["metadata"]["labels"][STACK_LABEL] == made["metadata"]["uid"]
        assert live["metadata"]["uid"] == before["metadata"]["uid"], "it was never taken away"
    team.wait_ready(digest)
    team.wait_ready(other, name="heir")
    assert no_bugs(world.agent)


def test_a_stack_edited_during_its_own_pass_ends_at_the_edit(world: World) -> None:
    team = world.tenant()
    team.push(*(config_map(f"app-{n}", v="1") for n in range(40)))
    second = team.push(*(config_map(f"app-{n}", v="2") for n in range(30)), tag="other")
    world.relay.delay = 0.05  # a slow API server, too
    try:
        team.create()
        wait_for("some of it", lambda: team.get("ConfigMap", "app-0"))
        team.edit(source={"tag": "other"})
        wait_for("some of that", lambda: team.data("app-1") == {"v": "2"})
        team.edit(namespace=None, wait={"timeout": "1m"})
    finally:
        world.relay.delay = 0.0

    wait_for("the edit seen", lambda: team.status()["observedGeneration"] == 3)
    team.wait_ready(second)
    assert equal(team, "2", 30)
