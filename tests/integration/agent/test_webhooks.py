"""A push is seen at once where the registry tells of it; what the sender says is never believed."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.registries import Distribution
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import WEBHOOK_SECRET, World
from tests.support.factories.stacks import Publisher, config_map


def post(world: World, path: str, body: bytes, **headers: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{world.port}{path}", data=body, headers=headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_push_is_reconciled_when_the_registry_notifies(world: World) -> None:
    team = world.tenant()
    url = f"http://127.0.0.1:{world.port}/hooks/distribution"
    with Distribution(notify=(url, WEBHOOK_SECRET)) as registry:
        publisher = Publisher(f"oci://{registry.host}/{team.namespace}", world.key)
        first = publisher.push([config_map("app", v="1")])
        team.create(source={"repository": publisher.reference, "interval": "1h"})
        team.wait_ready(first)

        for version in ("2", "3"):
            digest = publisher.push([config_map("app", v=version)])
            begun = time.monotonic()
            # The interval is an hour: nothing but the webhook can bring it.
            team.wait_data("app", v=version)
            print(f"push to applied: {time.monotonic() - begun:.3f} s")
        team.wait_ready(digest)
        # Our own pulls are notified too, and must not make us look for ever.
        wait_for("the log is quiet", lambda: quiet(world))


def quiet(world: World) -> bool:
    def notified() -> int:
        return sum("webhook distribution: 1" in line["message"] for line in world.agent.lines())

    before = notified()
    time.sleep(0.7)  # longer than a look takes
    return notified() == before


@pytest.mark.parametrize(
    ("path", "body", "token", "status"),
    [
        ("/hooks/distribution", b'{"events": []}', WEBHOOK_SECRET, 202),
        ("/hooks/distribution", b'{"events": []}', "wrong", 401),
        ("/hooks/distribution", b'{"events": 5}', WEBHOOK_SECRET, 400),
        ("/hooks/distribution", b" " * 300_000, WEBHOOK_SECRET, 413),
        ("/hooks/unknown", b"{}", WEBHOOK_SECRET, 404),
        ("/metrics", b"{}", WEBHOOK_SECRET, 405),
    ],
)
def test_invalid_webhooks_are_refused(
    world: World, path: str, body: bytes, token: str, status: int
) -> None:
    wait_for("the agent serves", lambda: post_or_none(world) == 405)
    try:
        answer = post(world, path, body, Authorization=f"Bearer {token}")
    except urllib.error.URLError:
        assert status == 413, "only what is too large may be cut off while it is sent"
    else:
        assert answer == status


def post_or_none(world: World) -> int | None:
    try:
        return post(world, "/metrics", b"")
    except urllib.error.URLError:
        return None


def test_authentic_webhooks_are_limited_too(world: World) -> None:
    body = json.dumps({"events": []}).encode()

    def one(number: int) -> int:
        return post(world, "/hooks/distribution", body, Authorization=f"Bearer {WEBHOOK_SECRET}")

    # Several at a time: on a busy machine one after the other would not be too many.
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(300))) == {202, 429}
