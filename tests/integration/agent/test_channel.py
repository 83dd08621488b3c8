"""A Stack in a cluster follows a channel; what it accepted is kept in its status."""

from __future__ import annotations

import json

from ocistate.reference import parse_reference
from tests.support.environments.agent import World, move, tool
from tests.support.factories.keys import Key
from tests.support.factories.stacks import config_map, policy


def test_a_stack_remembers_its_channel_in_its_status(world: World) -> None:
    tenant, channels = world.tenant(), Key.make()
    name = parse_reference(tenant.repository).name
    rule = policy(
        world.key, name=tenant.namespace, repositories=name, channelKeys=[{"pem": channels.pem}]
    )
    world.apply(rule)
    first, second = (tenant.push(config_map("app", v=v)) for v in ("1", "2"))
    old = move(tenant, channels, first)
    tenant.create(source={"tag": None, "channel": "prod"})
    tenant.wait_ready(first)
    newest = move(tenant, channels, second)
    tenant.wait_ready(second)
    status = tenant.status()
    assert (status["current"]["channel"], status["current"]["sequence"]) == ("prod", 2)
    (kept,) = status["channels"]
    assert (kept["record"], kept["repository"]) == (newest.digest, name)

    traced = json.loads(tool(tenant, "trace", "configmap/app", "-o", "json").out)
    assert (traced["digest"], traced["record"]) == (second, newest.digest)
    assert (traced["channel"], traced["epoch"], traced["sequence"]) == ("prod", 1, 2)
    assert f"prod@2 (epoch 1) {newest.digest}" in tool(tenant, "trace", "configmap/app").out

    # An agent that knows nothing but the Stack goes back behind it for no one.
    world.agent.kill()
    tenant.publisher.point("channel-prod", old.digest)
    world.agent.start()
    tenant.wait_condition("Ready", "False", "RecordReplayed", digest=second)
    tenant.wait_data("app", v="2")
