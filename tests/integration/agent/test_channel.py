"""A Stack in a cluster follows a channel; what it accepted is kept in its status."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from ocistate.channel.change import Why, begun, promoted
from ocistate.channel.record import Record, RecordProvenance
from ocistate.channel.trust import ChannelTrust, Trusted
from ocistate.oci import open_store
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.policy.model import TrustedKey
from tests.integration.agent.test_people import tool
from tests.integration.agent.world import Tenant, World
from tests.support.agent import Key, config_map, policy


def move(tenant: Tenant, key: Key, digest: str, *, lifetime: timedelta | None = None) -> Trusted:
    """Write the next record of the channel ``prod``."""
    reference = parse_reference(tenant.repository)
    pins = {reference.name: (digest, RecordProvenance())}
    why = Why(now=datetime.now(UTC), reason="test", lifetime=lifetime)
    trust = ChannelTrust(keys=(TrustedKey(name="k", key=key.signer.public_key),))

    def make(newest: Trusted | None) -> Record | None:
        if newest is None:
            return begun("prod", reference.name, pins, why)
        return promoted(newest, pins, why)

    async def write() -> Trusted:
        async with open_store(reference) as store:
            channel = Channel(name="prod", repository=reference.name, trust=trust)
            return await Writer(store=store, channel=channel, signer=key.signer, settle=0.02).write(
                make
            )

    return asyncio.run(write())


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
