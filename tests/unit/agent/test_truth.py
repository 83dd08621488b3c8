"""The status tells what is so now: no old errors, nothing unknown for long, no news by itself."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ocistate.agent.reconcile.fold import same_trouble
from ocistate.channel.trust import Accepted, check_time
from ocistate.errors import ClusterUnavailable, RecordExpired
from tests.support.assertions.agent import condition
from tests.support.environments.reconciler import TIMEOUT, World, make
from tests.support.factories.keys import Key
from tests.support.factories.records import NOW, record


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make(tmp_path, onFailure="hold")


def stalled(world: World) -> tuple[str, str, str]:
    return condition(world.kept, "Stalled")


def refuse_all(world: World) -> None:
    world.push(app="1")
    world.run()
    world.key = Key.make()
    world.wait(TIMEOUT)
    world.run()
    assert stalled(world)[0] == "True"


def test_what_it_was_stuck_at_is_not_told_when_it_fails_at_something_else(world: World) -> None:
    first = world.key
    refuse_all(world)
    world.key, world.online = first, False
    world.restart()
    world.wait(TIMEOUT)
    world.run()
    assert world.ready[1] != "Ready"
    assert stalled(world) == ("", "", "")

    world.online = True
    refuse_all(world)
    world.push(app="refused")
    world.wait(TIMEOUT)
    world.run()
    assert world.ready[1] == "ApplyFailed"
    assert stalled(world) == ("", "", "")


def test_who_is_suspended_is_not_stuck(world: World) -> None:
    refuse_all(world)
    world.spec["spec"]["suspend"] = True
    world.generation += 1
    world.run()
    assert world.ready[1] == "Suspended"
    assert stalled(world) == ("", "", "")


@pytest.mark.parametrize("newer", ["refused", "sick", "suspended"])
def test_what_runs_is_verified_after_a_restart_whatever_becomes_of_the_newer(
    world: World, newer: str
) -> None:
    good = world.push(app="1")
    world.run()
    world.restart()
    if newer == "suspended":
        world.spec["spec"]["suspend"] = True
        world.generation += 1
    else:
        world.push(app=newer)
    for _ in range(3):
        world.wait(TIMEOUT)
        world.run()
        assert condition(world.kept, "Verified")[0] == "True"
        assert world.kept["current"]["verified"] == "True"
        assert newer == "sick" or world.kept["current"]["digest"] == good


def _change_of_mind(world: World) -> None:
    refuse_all(world)


def _offline(world: World) -> None:
    world.push(app="1")
    world.run()
    world.online = False


def _never_online(world: World) -> None:
    world.online = False


def _failing(error: Callable[[], Exception]) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.push(app="1")
        world.run()

        def fail(step: str) -> None:
            raise error()

        world.place.on_step = fail

    return begin


_ports = itertools.count(40_000)


def _passing_words() -> Exception:
    port = next(_ports)
    return ClusterUnavailable(
        f"read tcp 10.0.0.1:{port}->10.0.0.2:443: connection reset, request {uuid.uuid4()}, "
        f"at 2026-01-02T03:04:{port % 60:02}.5Z, trace {port:032x}"
    )


def _pushed(tag: str = "prod", **versions: str) -> Callable[[World], None]:
    def begin(world: World) -> None:
        world.push(tag, **versions)

    return begin


SITUATIONS: dict[str, Callable[[World], None]] = {
    "ready": _pushed(app="1"),
    "sick": _pushed(app="sick"),
    "refused": _pushed(app="refused"),
    "no tag": _pushed(tag="other", app="1"),
    "untrusted": _change_of_mind,
    "offline": _offline,
    "never online": _never_online,
    "words that pass": _failing(_passing_words),
    "a bug": _failing(lambda: OverflowError(f"{uuid.uuid4()}")),
    "suspended": lambda w: w.spec["spec"].__setitem__("suspend", True),
}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_time_alone_writes_no_status_and_tells_no_event(
    world: World, situation: str, restarts: bool
) -> None:
    SITUATIONS[situation](world)

    def later(hours: int) -> None:
        world.wait(3600 * hours + TIMEOUT)
        if restarts:
            world.restart()
        world.run()

    for hours in range(4):
        later(hours)
    kept, events = world.kept, list(world.events)
    written: list[dict[str, Any]] = []
    world.on_step = lambda step: written.append(world.kept) if step == "after save" else None
    for hours in range(12):
        later(hours)
        assert world.kept == kept
    assert [each for each in written if each != kept] == []
    if not restarts:  # who begins again tells once what there is
        assert world.events == events


def test_an_expired_record_says_the_same_at_any_time() -> None:
    said = set()
    for hours in (1, 2, 300):
        with pytest.raises(RecordExpired) as caught:
            check_time(record(expires=NOW), NOW + timedelta(hours=hours))
        said.add(str(caught.value))
        accepted = Accepted(epoch=1, sequence=1, digest="", at=NOW - timedelta(hours=2000 - hours))
        with pytest.raises(RecordExpired) as caught:
            check_time(record(), NOW - timedelta(hours=hours), accepted)
        said.add(str(caught.value))
    assert len(said) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("dial tcp 10.0.0.1:40001: refused", "dial tcp 10.0.0.1:51234: refused", True),
        ("2 of 3 objects failed", "1 of 3 objects failed", False),
        ("sha256:" + "0a" * 32, "sha256:" + "0b" * 32, False),
        ("prod@41 expired", "prod@42 expired", False),
        ("7 of 900 bytes came", "8 of 900 bytes came", True),
    ],
)
def test_what_passes_is_no_other_trouble(one: str, other: str, same: bool) -> None:
    assert same_trouble(one, other) is same
