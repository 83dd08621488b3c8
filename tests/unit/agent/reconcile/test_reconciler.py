"""One pass after the other on a real store, a place kept in memory, and a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ocistate.agent.reconcile.cache import ContentCache
from ocistate.agent.reconcile.context import ReconcileState
from ocistate.agent.reconcile.reconciler import Pass
from ocistate.agent.targets.base import Applied, HealthReport, Removed
from ocistate.api.stack import Stack, parse_stack
from ocistate.api.status import StackStatus, status_from_dict, status_to_dict
from ocistate.channel.rings import Cluster
from ocistate.errors import ClusterUnavailable, Unavailable
from ocistate.objects import ObjectId, StackKey
from ocistate.oci import open_store
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import Content
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import parse_policy
from ocistate.watch.conflicts import Contest, Reason
from tests.support.agent import Key, Publisher, condition, config_map, policy, stack

TIMEOUT = 60.0


class Killed(BaseException):
    """What kill -9 is to the code: nothing runs any more."""


@dataclass
class Place:
    """A place that holds texts by name; versions called ``sick`` or ``refused`` are that."""

    holds: dict[str, str] = field(default_factory=dict)
    health_of: dict[str, str] = field(default_factory=lambda: {"sick": "Progressing"})
    on_step: Callable[[str], None] = lambda step: None
    contested: tuple[Contest, ...] = ()

    def kinds(self, content: Content) -> tuple[str, ...]:
        return ("ConfigMap",)

    @staticmethod
    def _wanted(content: Content) -> dict[str, str]:
        return {r.id.name: r.object["data"]["v"] for r in content.resources().values()}

    async def drifted(self, content: Content) -> list[str]:
        self.on_step("look")
        wanted = self._wanted(content)
        names = wanted.keys() | self.holds.keys()
        return [name for name in names if self.holds.get(name) != wanted.get(name)]

    async def apply(self, content: Content, *, changed: bool, dry_run: bool = False) -> Applied:
        self.on_step("before apply")
        wanted = self._wanted(content)
        errors = tuple(f"{n} was refused" for n, v in wanted.items() if v == "refused")
        good = {name: value for name, value in wanted.items() if value != "refused"}
        done = sum(self.holds.get(name) != value for name, value in good.items())
        self.holds |= good
        self.on_step("applied")
        if not errors:
            self.holds = good
        self.on_step("pruned")
        return Applied(changed=done, kept=len(good) - done, errors=errors)

    async def health(self) -> HealthReport:
        found = [self.health_of.get(value, "Healthy") for value in self.holds.values()]
        worst = next((each for each in found if each != "Healthy"), "Healthy")
        return HealthReport(
            counts={"total": len(found)},
            worst=worst,
            message=f"it is {worst}",
            contested=self.contested,
        )

    async def explain(self) -> str:
        return "since it is sick"

    async def remove(self) -> Removed:
        return Removed(count=len(self.holds))

    async def release(self) -> None: ...

    def forget(self) -> None: ...


@dataclass
class World:
    """What outlives an agent: the store, the place, the disk, the status; and the services."""

    root: Path
    spec: dict[str, Any]
    key: Key
    place: Place = field(default_factory=Place)
    kept: dict[str, Any] = field(default_factory=dict)
    clock: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    time: float = 1000.0
    trusted: bool = True
    online: bool = True
    while_asked: Callable[[], Awaitable[None]] | None = None
    """What happens while the registry takes its time."""
    events: list[str] = field(default_factory=list)
    saves: int = 0
    on_step: Callable[[str], None] = lambda step: None
    reconcile_state: ReconcileState = field(default_factory=ReconcileState)
    generation: int = 1
    reconcile_at: str = ""

    @property
    def publisher(self) -> Publisher:
        return Publisher(self.spec["spec"]["source"]["repository"], self.key)

    def push(self, tag: str = "prod", **versions: str) -> str:
        return self.publisher.push([config_map(n, v=v) for n, v in versions.items()], tag)

    @property
    def stack(self) -> Stack:
        found = parse_stack(self.spec)
        return replace(found, uid="u", generation=self.generation, reconcile_at=self.reconcile_at)

    @property
    def status(self) -> StackStatus:
        return status_from_dict(self.kept)

    @property
    def ready(self) -> tuple[str, str, str]:
        return condition(self.kept, "Ready")

    def run(self) -> float | None:
        """One pass; the seconds until the next one."""
        status, after = asyncio.run(
            Pass(self.stack, self.status, self.reconcile_state, self, jitter=lambda: 0.0).run()
        )
        self.kept = status_to_dict(status)
        return after

    def restart(self) -> None:
        self.reconcile_state = ReconcileState()

    def wait(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)
        self.time += seconds

    # reconcile.Services

    cluster = Cluster()

    async def connect_store(self, stack: Stack) -> Store:
        self.on_step("connect")
        if self.while_asked is not None:
            await self.while_asked()
        if not self.online:
            raise Unavailable("no answer")
        return open_store(stack.source.repository)

    async def prepare(self, stack: Stack) -> None:
        self.on_step("prepare")

    def policies(self) -> tuple[TrustPolicy, ...]:
        return (parse_policy(policy(self.key if self.trusted else Key.make())),)

    def target(self, stack: Stack) -> Any:
        return self.place

    def cache(self, stack: Stack) -> ContentCache:
        self.on_step("cache")
        return ContentCache(self.root / "content")

    def is_ready(self, key: StackKey) -> bool | None:
        return True

    def cycle(self, stack: Stack) -> tuple[StackKey, ...]:
        return ()

    def now(self) -> datetime:
        return self.clock

    def elapsed(self) -> float:
        return self.time

    async def save(self, stack: Stack, status: StackStatus) -> None:
        self.on_step("before save")
        self.saves += 1
        self.kept = status_to_dict(status)
        self.on_step("after save")

    def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        self.events.append(reason)


def make(root: Path, **spec: Any) -> World:
    root.mkdir(exist_ok=True)
    spec = {"wait": {"timeout": f"{TIMEOUT:g}s"}, "onFailure": "rollback", **spec}
    return World(root, stack("app", f"layout:{root / 'registry'}", **spec), Key.make())


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
    fight = Contest(id=ObjectId("", "ConfigMap", "n", "app"), reason=Reason.FLIPPED, by="rival")
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
