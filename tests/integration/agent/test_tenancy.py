"""A Stack can do what its service account can, and nothing beyond."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.integration.agent.world import World
from tests.unit.agent.parts import config_map


def test_writes_beyond_the_service_account_are_refused_by_the_api_server(world: World) -> None:
    team, victim = world.tenant(), world.tenant()
    team.push(config_map("mine", v="1"), config_map("theirs", victim.namespace, v="1"))

    team.create()

    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert f"system:serviceaccount:{team.namespace}:ocistate-applier" in message
    assert "cannot" in message
    assert team.data("mine") == {"v": "1"}
    assert victim.data("theirs") == {}


def test_a_namespace_without_an_applier_gets_nothing(world: World) -> None:
    team = world.tenant(applier=False)
    team.push(config_map("app", v="1"))

    team.create()

    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert "ocistate-applier" in message
    assert team.data("app") == {}


def test_an_account_the_agent_may_not_act_as_is_refused(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))

    team.create(serviceAccountName="default")

    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert "impersonate" in message
    assert team.data("app") == {}


def test_secrets_of_another_namespace_are_out_of_reach(world: World) -> None:
    team, victim = world.tenant(), world.tenant()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "regcred", "namespace": victim.namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(b'{"auths":{}}').decode()},
    }
    world.apply(secret)
    digest = team.push(config_map("app", v="1"))

    team.create(source={"pullSecretRef": {"name": "regcred"}})
    message = team.wait_condition("Ready", "False", "InvalidConfiguration")
    assert f"{team.namespace}/regcred does not exist" in message

    secret["metadata"] = {"name": "regcred", "namespace": team.namespace}
    world.apply(secret)
    team.wait_ready(digest)


def test_a_secret_is_read_with_the_rights_of_the_stacks_own_account(world: World) -> None:
    team = world.tenant(role="view")  # which includes no Secrets
    team.push(config_map("app", v="1"))

    team.create(source={"pullSecretRef": {"name": "regcred"}})

    message = team.wait_condition("Ready", "False")
    assert "secrets" in message
    assert "ocistate-applier" in message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"source": {"repository": "layout:/var/lib/ocistate/content"}}, "spec.source.repository"),
        ({"target": {"directory": "/etc"}}, "spec.target.directory"),
    ],
)
def test_the_agents_own_files_are_out_of_reach(
    world: World, spec: dict[str, Any], field: str
) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))

    team.create(**spec)

    assert field in team.wait_condition("Ready", "False", "InvalidConfiguration")


def test_what_the_agent_may_not_see_is_applied_and_said(world: World) -> None:
    team = world.tenant()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token"},
        "stringData": {"key": "1"},
    }
    digest = team.push(secret, config_map("app", v="1"))

    team.create()
    team.wait_ready(digest)

    assert team.get("Secret", "token") is not None
    message = team.wait_condition("Healthy", "True")
    assert "may not list Secret" in message
    assert "ocistate.dev/aggregate-to-agent-view" in message
