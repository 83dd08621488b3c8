"""What no one trusted has signed does not get in; what runs stays, and is kept equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocistate.install.manifests import policy_reader
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import NAMESPACE, Tenant, World
from tests.support.factories.keys import Key
from tests.support.factories.stacks import config_map, policy


def corrupt_layers(team: Tenant, digest: str) -> None:
    """Flip bytes of an artifact's layer where the registry keeps it."""
    blobs = team.world.registry.folder / "data/docker/registry/v2/blobs/sha256"

    def blob(digest: str) -> Path:
        text = digest.removeprefix("sha256:")
        return blobs / text[:2] / text / "data"

    for layer in json.loads(blob(digest).read_bytes())["layers"]:
        path = blob(layer["digest"])
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def publish_bad(team: Tenant, how: str) -> str:
    """Move the tag to an artifact that must be refused."""
    if how == "unsigned":
        return team.push(config_map("app", v="bad"), sign=None)
    if how == "foreign":
        return team.push(config_map("app", v="bad"), sign=Key.make())
    digest = team.push(config_map("app", v="bad"), tag="aside")
    corrupt_layers(team, digest)
    team.publisher.point("prod", digest)
    return digest


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("unsigned", "NotSigned"),
        ("foreign", "UntrustedSigner"),
        ("tampered", "DigestMismatch"),
    ],
)
def test_refused_content_leaves_the_last_good_state_and_keeps_it_equal(
    world: World, how: str, reason: str
) -> None:
    team = world.tenant()
    good = team.push(config_map("app", v="good"))
    team.create()
    team.wait_ready(good)

    bad = publish_bad(team, how)

    team.wait_condition("Ready", "False", reason, digest=good)
    status = team.status()
    if how != "tampered":
        assert condition(status, "Verified")[:2] == ("False", reason)
    assert status["lastAttempt"]["digest"] == bad
    assert team.data("app") == {"v": "good"}
    team.change("app", {"data": {"v": "edited"}})
    team.wait_data("app", v="good")

    better = team.push(config_map("app", v="better"))
    team.wait_ready(better)
    assert team.data("app") == {"v": "better"}


def test_after_a_restart_the_last_good_state_is_still_kept_equal(world: World) -> None:
    team = world.tenant()
    good = team.push(config_map("app", v="good"))
    team.create()
    team.wait_ready(good)
    publish_bad(team, "unsigned")
    team.wait_condition("Ready", "False", "NotSigned")

    assert world.agent.terminate() == 0
    team.change("app", {"data": {"v": "edited"}})
    world.agent.start()

    team.wait_data("app", v="good")
    team.wait_condition("Ready", "False", "NotSigned", digest=good)


def test_the_last_good_state_is_kept_after_an_unrelated_policy_change(world: World) -> None:
    team = world.tenant()
    good = team.push(config_map("app", v="good"))
    team.create()
    team.wait_ready(good)
    publish_bad(team, "unsigned")
    team.wait_condition("Ready", "False", "NotSigned")

    world.apply(policy(world.key, name="other", repositories="nowhere.example.com/**"))
    try:
        team.change("app", {"data": {"v": "edited"}})
        team.wait_data("app", v="good")
    finally:
        world.cluster.request("DELETE", "/apis/ocistate.dev/v1alpha1/trustpolicies/other")


def test_a_revoked_key_is_noticed_and_tears_nothing_down(world: World) -> None:
    team = world.tenant()
    new = Key.make()
    world.apply(policy(world.key, name=team.namespace, repositories=team.repository[6:]))
    digest = team.push(config_map("app", v="1"))
    team.create(trust={"policy": team.namespace}, source={"interval": "1h"})
    team.wait_ready(digest)

    world.apply(policy(new, name=team.namespace, repositories=team.repository[6:]))
    team.wait_condition("Ready", "False", "UntrustedSigner", digest=digest)
    current = team.status()["current"]
    assert current["verified"] == "False"
    assert "UntrustedSigner" in current["verification"]
    assert team.data("app") == {"v": "1"}

    world.apply(policy(world.key, new, name=team.namespace, repositories=team.repository[6:]))
    team.wait_ready(digest)

    path = f"/apis/ocistate.dev/v1alpha1/trustpolicies/{team.namespace}"
    world.cluster.request("DELETE", path)
    team.wait_condition("Ready", "False", "NoTrustPolicy", digest=digest)
    assert team.data("app") == {"v": "1"}
    reasons = {"UntrustedSigner", "RunsUnverified"}
    wait_for("the events", lambda: reasons <= {e["reason"] for e in team.events()})


def test_a_policy_takes_keys_from_the_agents_own_namespace(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    name, new = team.namespace, Key.make()

    def kept(kind: str, key: Key) -> None:
        field = "stringData" if kind == "Secret" else "data"
        metadata = {"name": name, "namespace": NAMESPACE}
        obj = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
        world.apply(obj | {field: {"cosign.pub": key.pem}})

    def trust(**key: Any) -> None:
        world.apply(policy(name=name, repositories=team.repository[6:], keys=[key]))

    # A tenant's object of the same name is not the one that is meant.
    tenants = config_map(name, namespace=name) | {"data": {"cosign.pub": new.pem}}
    world.apply(tenants)
    kept("ConfigMap", world.key)
    trust(name="release", configMapRef={"name": name})
    try:
        team.create(source={"interval": "1h"})
        team.wait_ready(digest)
        assert team.status()["current"]["signedBy"] == ["release"]

        kept("ConfigMap", new)
        team.wait_condition("Ready", "False", "UntrustedSigner", digest=digest)

        kept("Secret", world.key)
        trust(name="release", secretRef={"name": name})
        message = team.wait_condition("Ready", "False", "InvalidConfiguration", digest=digest)
        assert f"--policy-secret {name}" in message

        world.apply(*policy_reader(NAMESPACE, (name,)))
        team.wait_ready(digest)
    finally:
        world.cluster.request("DELETE", f"/apis/ocistate.dev/v1alpha1/trustpolicies/{name}")


def test_a_policy_that_cannot_be_read_refuses_and_no_wider_one_steps_in(world: World) -> None:
    team = world.tenant()
    name = team.namespace
    digest = team.push(config_map("app", v="1"))
    # A misspelt field, which would make the policy looser if it were dropped.
    wrong = policy(world.key, name=name, repositories=team.repository[6:], treshold=2)
    world.apply(wrong)
    try:
        team.create()
        message = team.wait_condition("Ready", "False", "InvalidConfiguration")
        assert "treshold" in message
        world.apply(policy(world.key, name=name, repositories=team.repository[6:], threshold=1))
        world.cluster.request("DELETE", f"/apis/ocistate.dev/v1alpha1/trustpolicies/{name}")
        team.wait_ready(digest)

        # Nor can the Stack's own words choose the wider policy over the narrow one.
        world.apply(policy(Key.make(), name=name, repositories=team.repository[6:]))
        team.edit(trust={"policy": "default"})
        message = team.wait_condition("Ready", "False", "NoTrustPolicy", digest=digest)
        assert f"{name} does" in message
    finally:
        world.cluster.request("DELETE", f"/apis/ocistate.dev/v1alpha1/trustpolicies/{name}")
