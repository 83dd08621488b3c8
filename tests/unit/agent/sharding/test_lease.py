"""Who takes, gives and works on which shard, decided from what is seen."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from ocistate.agent.sharding.lease import ObservedLease, choose, lease_name, see, shard_of
from ocistate.objects import StackKey


def shard(
    number: int, holder: str, *, since: float = 0.0, shards: int = 4, seconds: float = 10
) -> ObservedLease:
    return ObservedLease(
        name=lease_name("shard", number),
        role="shard",
        holder=holder,
        seconds=seconds,
        shards=shards,
        version="1",
        since=since,
    )


def member(holder: str, *, since: float = 0.0) -> ObservedLease:
    lease = shard(0, holder, since=since)
    return replace(lease, name=lease_name("member", holder), role="member")


def seen(*leases: ObservedLease) -> dict[str, ObservedLease]:
    return {each.name: each for each in leases}


def test_the_first_one_takes_shard_0_and_works_once_its_own_number_stands_there() -> None:
    first = choose({}, (), me="a", shards=1, now=0)
    assert (first.take, first.work) == ((0,), frozenset())
    then = choose(seen(shard(0, "a", shards=1)), (0,), me="a", shards=1, now=0)
    assert (then.take, then.work) == ((), frozenset({0}))


def test_a_lease_of_another_is_free_when_it_was_seen_unchanged_for_its_duration() -> None:
    held = seen(shard(0, "b", shards=1, since=100.0))
    assert choose(held, (), me="a", shards=1, now=109.9).take == ()
    assert choose(held, (), me="a", shards=1, now=110.0).take == (0,)


def test_a_released_lease_is_free_at_once() -> None:
    assert choose(seen(shard(0, "", shards=1)), (), me="a", shards=1, now=0).take == (0,)


@pytest.mark.parametrize(("members", "share"), [(("b",), (2, 2)), (("b", "c"), (2, 1, 1))])
def test_shards_are_dealt_out_evenly(members: tuple[str, ...], share: tuple[int, ...]) -> None:
    everybody = ("a", *members)
    leases = seen(*(member(name) for name in everybody), shard(0, ""))
    for name, wanted in zip(everybody, share, strict=True):
        assert len(choose(leases, (), me=name, shards=4, now=1).take) == wanted


def test_who_has_too_many_gives_the_highest() -> None:
    leases = seen(member("a"), member("b"), *(shard(n, "a") for n in range(4)))
    choice = choose(leases, range(4), me="a", shards=4, now=1)
    assert (choice.give, choice.work) == ((3, 2), frozenset({0, 1}))


def test_another_number_of_shards_never_works_beside_ours() -> None:
    theirs = seen(shard(0, "b", shards=1))
    assert choose(theirs, (), me="a", shards=4, now=1).take == ()
    # Ours, taken while they took shard 0: we see it, and give back without having worked.
    both = seen(shard(0, "b", shards=1), shard(2, "a"))
    choice = choose(both, (2,), me="a", shards=4, now=1)
    assert (choice.give, choice.work) == ((2,), frozenset())
    # Theirs, as they see it: they hold shard 0, and wait until ours is gone.
    assert choose(both, (0,), me="b", shards=1, now=1).work == frozenset()
    assert choose(seen(shard(0, "b", shards=1)), (0,), me="b", shards=1, now=1).work == {0}


def test_members_that_are_long_gone_are_forgotten() -> None:
    leases = seen(member("b", since=0.0), member("c", since=50.0))
    assert choose(leases, (), me="a", shards=4, now=101.0).forget == (lease_name("member", "b"),)


def test_a_list_keeps_when_a_lease_changed_last() -> None:
    obj = {
        "metadata": {"name": "ocistate-shard-0", "resourceVersion": "5", "annotations": None},
        "spec": {"holderIdentity": "b", "leaseDurationSeconds": 10},
    }
    once = see([obj], {}, 3.0)
    assert see([obj], once, 9.0)["ocistate-shard-0"].since == 3.0
    obj["metadata"]["resourceVersion"] = "6"  # type: ignore[index]
    assert see([obj], once, 9.0)["ocistate-shard-0"].since == 9.0


def test_every_stack_has_one_shard_and_none_is_empty() -> None:
    keys = [StackKey(f"ns-{n % 7}", f"app-{n}") for n in range(1000)]
    counts = [sum(shard_of(key, 4) == n for key in keys) for n in range(4)]
    assert sum(counts) == 1000
    assert min(counts) > 180


@dataclass
class Agent:
    """One agent of the model: its view may be old, and it may stop for a while."""

    name: str
    shards: int
    view: Mapping[str, ObservedLease] = field(default_factory=dict)
    held: dict[int, float] = field(default_factory=dict)
    work: set[int] = field(default_factory=set)
    phase: int = 0


@pytest.mark.parametrize("seed", range(10))
def test_never_do_two_agents_work_on_one_stack(seed: int) -> None:
    """A model of the whole protocol: agents with 1 and 3 shards, that stall at any moment."""
    rng = random.Random(seed)
    agents = [Agent(name, n) for name, n in (("a", 3), ("b", 3), ("c", 1), ("d", 1))]
    stored: dict[str, ObservedLease] = {}
    versions = itertools.count(1)
    keys = [StackKey("ns", f"app-{n}") for n in range(12)]
    busy = 0
    now = 0.0

    def write(agent: Agent, role: str, which: int | str, holder: str) -> None:
        name = lease_name(role, which)
        stored[name] = ObservedLease(
            name=name,
            role=role,
            holder=holder,
            seconds=10,
            shards=agent.shards,
            version=str(next(versions)),
            since=now,
        )

    def look(agent: Agent) -> None:
        agent.view = {
            name: replace(lease, since=old.since)
            if (old := agent.view.get(name)) is not None and old.version == lease.version
            else replace(lease, since=now)
            for name, lease in stored.items()
        }

    for _ in range(1500):
        now += rng.choice((0.1, 0.5, 2.0))
        agent = rng.choice(agents)
        if rng.random() < 0.02:
            now += rng.choice((5.0, 12.0, 30.0))  # everybody stalls, some longer than others
        for each in agents:
            each.held = {n: until for n, until in each.held.items() if until > now}
            each.work &= set(each.held)
        if agent.phase == 0:
            write(agent, "member", agent.name, agent.name)
            for n in agent.held:
                lease = stored[lease_name("shard", n)]
                if lease.holder == agent.name:
                    write(agent, "shard", n, agent.name)
                    agent.held[n] = now + 7.0
            look(agent)
        choice = choose(agent.view, agent.held, me=agent.name, shards=agent.shards, now=now)
        if agent.phase == 0:
            for n in choice.take:
                name = lease_name("shard", n)
                known, there = agent.view.get(name), stored.get(name)
                if (known and known.version) == (there and there.version):
                    write(agent, "shard", n, agent.name)
                    agent.held[n] = now + 7.0
            agent.phase = 1 if choice.take else 0
            if choice.take:
                continue
        else:
            look(agent)
            choice = choose(agent.view, agent.held, me=agent.name, shards=agent.shards, now=now)
            agent.phase = 0
        agent.work |= set(choice.work)
        for n in choice.give:
            agent.held.pop(n, None)
            agent.work.discard(n)
            if stored[lease_name("shard", n)].holder == agent.name:
                write(agent, "shard", n, "")
        for key in keys:
            workers = [each.name for each in agents if shard_of(key, each.shards) in each.work]
            assert len(workers) <= 1, (now, key, workers)
            busy += len(workers)
    assert busy > 1000, "the model must not stand still"
