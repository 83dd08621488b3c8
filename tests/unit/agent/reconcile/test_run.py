"""One pass after the other on a real store, a place kept in memory, and a clock of our own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ocistate.agent.reconcile.state import ReconcileState
from ocistate.api.status import status_from_dict
from ocistate.errors import ClusterUnavailable
from ocistate.objects import ObjectId
from ocistate.watch.conflicts import Contest, ContestReason
from tests.support.assertions.agent import condition
from tests.support.environments.reconciler import TIMEOUT, Place, World, make
from tests.support.factories.keys import Key
from tests.support.factories.stacks import config_map


class Killed(BaseException):
    """What kill -9 is to the code: nothing runs any more."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make(tmp_path)


def settle(world: World, *, passes: int = 6) -> None:
    """Passes until there is nothing to do within the timeout."""
    for _ in range(passes):
        world.run()
        world.wait(TIMEOUT / 4)


@pytest.mark.parametrize("online", [True, False])
def test_what_drifts_is_put_back_while_the_registry_takes_its_time(
    world: World, online: bool
) -> None:
    world.push(app="1")
    world.run()
    seen = []

    async def drift() -> None:
        seen.append(dict(world.place.holds))
        world.place.holds["app"] = "8"
        async with asyncio.timeout(5):
            while world.place.holds["app"] != "1":  # noqa: ASYNC110 - the place tells no one
                await asyncio.sleep(0.01)

    world.wait(10_000)
    world.online, world.while_asked = online, drift
    world.place.holds["app"] = "9"
    world.run()
    assert seen[0] == {"app": "1"}, "what had drifted before was put back first"
    assert world.ready[0] == "True"


def test_a_repair_that_fails_is_not_tried_again_while_the_registry_is_asked(world: World) -> None:
    world.push(app="1")
    world.run()
    tries = []

    def refuse(step: str) -> None:
        if step == "before apply":
            tries.append(step)
            raise ClusterUnavailable("no answer")

    async def wait() -> None:
        await asyncio.sleep(0.6)

    world.wait(10_000)
    world.place.on_step, world.while_asked = refuse, wait
    world.place.holds["app"] = "9"
    world.run()
    assert len(tries) == 2, "once before the registry was asked, and once in the pass"


def test_what_fails_again_and_again_is_written_once(world: World) -> None:
    world.push(app="refused")
    world.run()
    first, written = dict(world.kept), []

    def keep(step: str) -> None:
        if step == "after save":
            written.append(dict(world.kept))

    world.on_step = keep
    for _ in range(5):
        world.wait(1)
        world.run()
    # What is the same as before is not sent.
    assert [status for status in (*written, world.kept) if status != first] == []


def test_a_place_out_of_reach_is_ready_again_when_it_is_back(world: World) -> None:
    def gone(step: str) -> None:
        raise ClusterUnavailable("no answer")

    world.push(app="1")
    world.run()
    world.place.on_step = gone
    world.run()
    assert world.ready[:2] == ("False", "ClusterUnavailable")
    world.place.on_step = lambda step: None
    world.run()
    assert world.ready[:2] == ("True", "Ready")


def outcomes(world: World) -> list[tuple[str, str]]:
    return [(entry.digest, entry.outcome) for entry in world.status.history]


def test_what_is_not_healthy_in_time_gives_way_to_what_was(world: World) -> None:
    good = world.push(app="1", old="1")
    world.run()
    bad = world.push(app="sick", new="1")
    world.wait(1)

    world.run()
    assert world.ready[:2] == ("Unknown", "Progressing")
    assert world.place.holds == {"app": "sick", "new": "1"}
    world.wait(TIMEOUT - 2)
    world.run()
    assert world.ready[:2] == ("Unknown", "Progressing")
    world.wait(3)
    world.run()

    assert world.place.holds == {"app": "1", "old": "1"}
    truth, reason, message = world.ready
    assert (truth, reason) == ("False", "RolledBack")
    assert bad in message
    assert "it is Progressing; since it is sick" in message
    assert good in message
    assert condition(world.kept, "Healthy")[0] == "True"
    assert condition(world.kept, "Stalled")[:2] == ("True", "RolledBack")
    assert world.kept["current"]["digest"] == good
    assert world.kept["heldBack"]["digest"] == bad
    assert outcomes(world) == [(good, "healthy"), (bad, "rolled back"), (good, "healthy")]
    assert {entry.revision for entry in world.status.history} == {world.kept["current"]["revision"]}
    assert world.events.count("RolledBack") == 1


def test_a_clock_that_is_set_takes_no_time_from_what_is_waited_for(tmp_path: Path) -> None:
    world = make(tmp_path, onFailure="hold")
    world.push(app="sick")
    world.run()
    assert world.ready[:2] == ("Unknown", "Progressing")
    for hours in (48, -24):
        world.clock += timedelta(hours=hours)
        world.reconcile_at = str(hours)  # somebody asks, so that it is applied once more
        world.wait(1)
        world.run()
        assert world.ready[:2] == ("Unknown", "Progressing")

    world.wait(TIMEOUT)
    world.run()
    assert world.ready[:2] == ("False", "HealthTimeout")


def test_it_stays_there_through_restarts_until_the_pointer_moves(world: World) -> None:
    good = world.push(app="1")
    world.run()
    bad = world.push(app="sick")
    world.wait(1)
    settle(world)
    assert world.ready[1] == "RolledBack"

    for _ in range(3):
        world.restart()
        settle(world, passes=2)
        world.wait(3 * TIMEOUT)
        assert (world.ready[1], world.place.holds) == ("RolledBack", {"app": "1"})
        assert world.kept["current"]["digest"] == good
    world.place.holds["app"] = "edited"
    world.run()
    assert world.place.holds == {"app": "1"}, "drift from what runs is repaired"

    better = world.push(app="2")
    world.wait(1)
    world.run()
    assert (world.ready[1], world.place.holds) == ("Ready", {"app": "2"})
    assert "heldBack" not in world.kept
    assert condition(world.kept, "Stalled") == ("", "", "")
    assert world.kept["lastHealthy"]["digest"] == better
    world.publisher.point("prod", bad)
    world.wait(1)
    world.run()
    assert world.place.holds == {"app": "sick"}, "named again, tried again"


@pytest.mark.parametrize("ask", ["spec", "annotation"])
def test_an_edit_or_a_request_tries_it_again(world: World, ask: str) -> None:
    world.push(app="1")
    world.run()
    world.push(app="sick")
    world.wait(1)
    settle(world)
    assert world.ready[1] == "RolledBack"

    world.place.health_of = {}
    if ask == "spec":
        world.generation += 1
    else:
        world.reconcile_at = "now"
    world.run()

    assert (world.ready[1], world.place.holds) == ("Ready", {"app": "sick"})


def test_a_request_counts_as_handled_when_its_pass_is_over_and_no_sooner(world: World) -> None:
    world.push(app="1")
    world.run()
    second = world.push(app="2")
    world.reconcile_at = "now"
    during: set[str] = set()
    world.place.on_step = lambda step: during.add(world.status.last_handled_reconcile_at)

    world.run()

    assert during == {""}
    assert world.status.last_handled_reconcile_at == "now"
    assert world.status.current is not None
    assert world.status.current.digest == second


def test_what_cannot_be_applied_in_time_gives_way_too(world: World) -> None:
    good = world.push(app="1", other="1")
    world.run()
    bad = world.push(app="refused", other="2")
    world.wait(1)
    assert (world.run() or 0) < TIMEOUT
    assert world.ready[1] == "ApplyFailed"
    assert world.place.holds == {"app": "1", "other": "2"}

    settle(world, passes=8)

    assert world.place.holds == {"app": "1", "other": "1"}
    assert world.ready[1] == "RolledBack"
    assert "was refused" in world.ready[2]
    assert outcomes(world) == [(good, "healthy"), (bad, "rolled back"), (good, "healthy")]


def test_what_was_healthy_once_is_not_to_blame_for_later_trouble(world: World) -> None:
    world.push(app="1")
    world.run()
    second = world.push(app="2")
    world.wait(1)
    world.run()
    world.place.health_of = {"2": "Degraded"}

    settle(world, passes=8)
    world.restart()
    settle(world)

    assert world.kept["current"]["digest"] == second
    assert world.ready[:2] == ("False", "Degraded")


def test_degraded_gets_the_whole_timeout_and_a_first_artifact_has_no_way_back(
    world: World,
) -> None:
    world.place.health_of = {"sick": "Degraded"}
    first = world.push(app="sick")
    settle(world, passes=8)
    assert (world.kept["current"]["digest"], world.ready[1]) == (first, "Degraded")

    world.push(app="1")
    world.wait(1)
    world.run()
    world.push(app="sick", more="1")
    world.wait(1)
    world.run()
    assert (world.ready[1], world.place.holds["app"]) == ("Degraded", "sick")
    world.wait(TIMEOUT)
    world.run()
    assert (world.ready[1], world.place.holds) == ("RolledBack", {"app": "1"})


def test_while_the_new_is_refused_the_health_of_what_runs_is_told(world: World) -> None:
    good = world.push(app="1")
    world.run()
    world.publisher.push([config_map("app", v="2")], sign=None)
    world.wait(1)
    world.run()
    assert (world.ready[1], condition(world.kept, "Healthy")[0]) == ("NotSigned", "True")

    world.place.health_of = {"1": "Progressing"}
    world.run()
    assert condition(world.kept, "Healthy")[:2] == ("Unknown", "Progressing")
    world.wait(TIMEOUT)
    world.run()
    assert condition(world.kept, "Healthy")[:2] == ("False", "HealthTimeout")
    assert world.ready[1] == "NotSigned"
    assert world.kept["current"]["digest"] == good


def test_hold_keeps_it_and_says_so(tmp_path: Path) -> None:
    world = make(tmp_path, onFailure="hold")
    world.push(app="1")
    world.run()
    bad = world.push(app="sick")
    world.wait(1)

    settle(world, passes=8)

    assert world.ready[:2] == ("False", "HealthTimeout")
    assert world.kept["current"]["digest"] == bad
    world.place.health_of = {}
    world.run()
    assert world.ready[1] == "Ready"


def test_rollback_uses_cached_content_when_registry_is_unavailable(world: World) -> None:
    world.push(app="1")
    world.run()
    world.push(app="sick")
    world.wait(1)
    world.run()

    world.online = False
    settle(world, passes=8)

    assert world.place.holds == {"app": "1"}
    assert world.ready[1] == "RolledBack"
    world.online = True
    settle(world, passes=3)
    assert (world.ready[1], world.place.holds) == ("RolledBack", {"app": "1"})


def test_there_is_no_way_back_to_what_is_not_trusted_any_more(world: World) -> None:
    world.push(app="1")
    world.run()
    old_key, world.key = world.key, Key.make()
    bad = world.push(app="sick")
    world.wait(1)
    settle(world, passes=8)

    assert old_key.pem != world.key.pem
    assert world.place.holds == {"app": "sick"}
    assert world.ready[:2] == ("False", "UntrustedSigner")
    assert world.kept["current"]["digest"] == bad


def test_a_clock_that_jumps_makes_nothing_late(world: World) -> None:
    world.push(app="1")
    world.run()
    world.push(app="sick")
    world.wait(1)
    world.run()

    for jump in (86400, -2 * 86400):
        world.clock += timedelta(seconds=jump)
        world.run()
        assert world.ready[:2] == ("Unknown", "Progressing"), jump
    world.place.health_of = {}
    world.run()
    assert world.ready[1] == "Ready"
    third = world.push(app="3")
    world.wait(1)
    world.run()
    assert world.kept["current"]["digest"] == third


def test_a_restart_does_not_give_the_time_anew(world: World) -> None:
    world.push(app="1")
    world.run()
    world.push(app="sick")
    world.wait(1)
    world.run()

    for _ in range(6):
        world.wait(TIMEOUT / 5)
        world.restart()
        world.run()

    assert world.ready[1] == "RolledBack"


def test_the_highest_version_in_the_range_is_followed(tmp_path: Path) -> None:
    world = make(tmp_path, source={"tag": None, "semver": "^1.2"})
    world.run()
    assert world.ready[1] == "NotFound"
    first = world.push("v1.2.0", app="1")
    world.push("v2.0.0", app="2")
    world.push("latest", app="3")
    world.wait(60)
    world.run()
    assert (world.ready[1], world.kept["current"]["tag"]) == ("Ready", "v1.2.0")
    assert world.kept["current"]["digest"] == first

    world.push("v1.10.0-rc.1", app="4")
    world.push("v1.9.0", app="5")
    second = world.push("v1.10.0", app="6")
    world.wait(1)
    world.run()
    assert (world.kept["current"]["tag"], world.place.holds) == ("v1.10.0", {"app": "6"})
    world.push("v1.11.0", app="sick")
    world.wait(1)
    settle(world)
    assert world.ready[1] == "RolledBack"
    assert (world.kept["current"]["tag"], world.kept["current"]["digest"]) == ("v1.10.0", second)


def test_killed_at_every_step_it_ends_where_it_would_have(tmp_path: Path) -> None:
    """Good, then sick: the agent dies at its nth step, for every n there is, and starts again."""

    first = make(tmp_path)
    good, bad = first.push("good", app="1", old="1"), first.push("bad", app="sick", new="1")

    def story(kill_at: int) -> tuple[World, int]:
        world, steps = (
            replace(
                first, root=tmp_path / str(kill_at), place=Place(), reconcile_state=ReconcileState()
            ),
            0,
        )

        def step(name: str) -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                raise Killed

        world.on_step = world.place.on_step = step
        for digest, passes in ((good, 2), (bad, 4)):
            world.publisher.point("prod", digest)
            world.wait(1)
            for _ in range(passes):
                try:
                    world.run()
                except Killed:
                    world.restart()
                world.wait(TIMEOUT / 2)
        return world, steps

    calm, steps = story(0)
    assert calm.ready[1] == "RolledBack"
    assert steps > 20
    for kill_at in range(1, steps + 1):
        world, _ = story(kill_at)
        assert (world.place.holds, world.ready[:2]) == (calm.place.holds, calm.ready[:2]), kill_at
        assert world.kept["current"]["digest"] == world.kept["lastHealthy"]["digest"] == good
        assert outcomes(world)[-2:] == [(bad, "rolled back"), (good, "healthy")]


def test_a_contest_hinders_nothing_and_is_told_when_it_begins_and_ends(world: World) -> None:
    world.push(app="1")
    fight = Contest(
        id=ObjectId("", "ConfigMap", "n", "app"), reason=ContestReason.FLIPPED, by="rival"
    )
    world.place.contested = (fight,)
    for _ in range(3):
        world.restart()
        world.run()
        assert world.ready[:2] == ("True", "Ready")
        assert condition(world.kept, "Contested")[:2] == ("True", "Flipped")
        assert world.status.contested == (fight,)
    assert world.events.count("Contested") == 1
    world.place.contested = ()
    for _ in range(2):
        world.run()
        assert condition(world.kept, "Contested") == ("False", "Settled", "")
    assert world.events.count("Settled") == 1


def test_where_it_was_applied_is_kept_before_the_first_object_is(tmp_path: Path) -> None:
    target = {"kubeconfigSecretRef": {"name": "edge", "key": "config"}, "context": "west"}
    world = make(tmp_path, target=target)
    world.push(app="1")

    def kill(step: str) -> None:
        if step == "before apply":
            raise Killed

    world.place.on_step = kill
    with pytest.raises(Killed):
        world.run()
    assert world.kept["target"] == target
    world.place.on_step = lambda step: None
    world.run()
    assert "TargetChanged" not in world.events
    del world.spec["spec"]["target"]
    world.generation += 1
    world.run()
    assert "target" not in world.kept
    assert world.events.count("TargetChanged") == 1
    assert world.status == status_from_dict(world.kept)


def test_drift_that_is_only_reported_is_named_and_ends(tmp_path: Path) -> None:
    world = make(tmp_path, drift="report")
    world.push(**{f"app-{number:02}": "1" for number in range(12)})
    world.run()
    world.place.holds = dict.fromkeys(world.place.holds, "9")
    world.run()

    assert world.kept["drift"]["total"] == 12
    names = world.kept["drift"]["objects"]
    assert names == [f"app-{number:02}" for number in range(10)]
    assert world.ready[:2] == ("False", "Drifted")
    assert world.ready[2].endswith("app-09 and 2 more")
    world.place.holds = dict.fromkeys(world.place.holds, "1")
    world.run()
    assert "drift" not in world.kept
    assert world.ready[0] == "True"
