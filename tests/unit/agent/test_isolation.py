"""One object among many raises what no one expected: each loop that all share goes on without it.

What raises is a value inside the object, wherever our code first touches it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from ocistate.agent.backends.cluster import ClusterSource
from ocistate.agent.backends.files import FileSource, FileTargetFactory, FolderStatusStore
from ocistate.agent.backends.policies import Policies
from ocistate.agent.backends.policy_source import PolicySource
from ocistate.agent.http.metrics import render
from ocistate.agent.http.server import _Routes
from ocistate.agent.queue import Controller
from ocistate.agent.runtime import Agent
from ocistate.agent.state.folder import StateFolder
from ocistate.api.loader import Settled
from ocistate.api.stack import Stack, parse_stack
from ocistate.api.status import Current, StackStatus
from ocistate.channel.report import verify_report
from ocistate.channel.trust import ChannelTrust
from ocistate.errors import ClusterError, ConfigError
from ocistate.health.evaluate import health_of
from ocistate.health.model import HealthStatus as HealthStatus
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.labels import FIELD_MANAGER, STACK_LABEL
from ocistate.objects import ObjectId, StackKey
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel import reports
from ocistate.ops.channel.reader import Channel, repository_of
from ocistate.reference import parse_reference
from ocistate.signing.policy.model import TrustPolicy
from ocistate.watch.changes import ObjectChange
from ocistate.watch.store import OwnedObjects
from tests.support.factories import stacks
from tests.support.factories.keys import Key
from tests.support.factories.reports import EAST, REPORTERS, WEST, report

ODD = [OverflowError, RecursionError, UnicodeEncodeError, ZeroDivisionError, MemoryError]


class Odd(dict[str, Any]):
    """A mapping that raises when it is read."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__(x=1)
        self.error = error

    def get(self, *args: Any) -> NoReturn:
        raise self.error()

    def keys(self) -> NoReturn:
        raise self.error()

    __getitem__ = __iter__ = items = values = get


def odd(kind: type[Exception] = OverflowError) -> Any:
    if kind is UnicodeEncodeError:
        return Odd(lambda: UnicodeEncodeError("ascii", "ö", 0, 1, "no"))
    return Odd(kind)


class Kept:
    """A keeper that notes what it is to keep."""

    def __init__(self) -> None:
        self.saved: dict[StackKey, StackStatus] = {}
        self.broken: set[StackKey] = set()

    async def save(self, stack: Stack, status: StackStatus) -> None:
        if stack.key in self.broken:
            raise ClusterError("admission says no")
        self.saved[stack.key] = status

    async def event(self, stack: Stack, kind: str, reason: str, message: str) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise OverflowError(name)


def make_agent(folder: Path, status_store: Any = None) -> Agent:
    state = StateFolder(folder / "state")
    return Agent(
        status_store=status_store or Kept(),
        target_factory=FileTargetFactory(state, lambda: pytest.fail("no cluster")),
        folder=state,
        connect_store=lambda stack: pytest.fail("no store"),
    )


def obj(name: str, **spec: Any) -> dict[str, Any]:
    made = stacks.stack(name, "oci://h.io/shop", namespace="team", **spec)
    made["metadata"] |= {"uid": f"u-{name}", "generation": 1, "resourceVersion": "1"}
    return made


class Client:
    """As much of a KubeClient as listing and watching take."""

    def __init__(self, objects: dict[str, Sequence[Any]], events: Sequence[Any] = ()) -> None:
        self.objects, self.events = objects, events
        self.lists = 0
        self.access = SimpleNamespace(namespace="ocistate-system")
        self.got: dict[ObjectId, Any] = {}
        self.before_get: Callable[[], Awaitable[None]] | None = None

    async def kind(self, group: str, kind: str) -> str:
        return kind

    async def list(self, resource: str, namespace: str = "") -> Any:
        self.lists += resource == "Stack"
        return SimpleNamespace(items=list(self.objects.get(resource, ())), resource_version="1")

    async def watch(self, resource: str, namespace: str, *, since: str) -> AsyncGenerator[Any]:
        for event in self.events if resource == "Stack" else ():
            yield event
        await asyncio.Event().wait()

    async def went_back(self, resource: str, namespace: str, *, since: str) -> bool:
        return False

    async def get(self, id: ObjectId) -> Any:
        if self.before_get is not None:
            await self.before_get()
        return self.got.get(id)


async def until(seen: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ODD)
def test_the_source_goes_on_and_says_it_on_the_stack(kind: type[Exception], tmp_path: Path) -> None:
    bad, denied = obj("bad"), obj("denied", drift="sometimes")
    bad["spec"]["wait"] = odd(kind)
    unread = {**obj("unread"), "status": odd(kind)}
    objects = [bad, denied, unread, obj("good")]

    async def story() -> None:
        status_store = Kept()
        status_store.broken = {StackKey("team", "denied")}
        made = make_agent(tmp_path, status_store)
        later = [("MODIFIED", {**bad}), ("ADDED", obj("late"))]
        client = Client({"Stack": objects}, later)
        source = ClusterSource(made, status_store, client)  # type: ignore[arg-type]
        stop = asyncio.Event()
        task = asyncio.create_task(source.follow(stop))
        await until(
            lambda: (
                StackKey("team", "late") in made.stacks and ("team", "bad") in status_store.saved
            )
        )
        stop.set()
        await task
        assert {name for _, name in made.stacks} == {"unread", "good", "late"}
        assert client.lists == 1, "it was not listed again"
        ready = status_store.saved[StackKey("team", "bad")].condition("Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "InternalError")
        assert kind.__name__ in ready.message

    asyncio.run(story())


@pytest.mark.parametrize("kind", ODD)
def test_one_policy_stands_as_a_refusal_and_the_others_hold(kind: type[Exception]) -> None:
    key = Key.make()
    good, bad = stacks.policy(key, name="good"), stacks.policy(key, name="bad")
    bad["spec"] = odd(kind)

    async def story() -> None:
        policies = Policies(Client({}))  # type: ignore[arg-type]
        await policies.replace([bad, good])
        assert [(p.name, bool(p.fault)) for p in policies.all] == [("bad", True), ("good", False)]
        await policies.put(bad)
        assert not await policies.refresh()

    asyncio.run(story())


def test_policies_are_swapped_whole_and_passes_wait_for_the_first_set(tmp_path: Path) -> None:
    key = Key.make()
    strict = stacks.policy(key, name="strict", repositories="h.io/shop")
    strict["spec"]["keys"] = [{"configMapRef": {"name": "keys"}}]
    wide = stacks.policy(key, name="wide")
    seen: list[tuple[str, ...]] = []

    class Watching(Agent):
        def set_policies(self, policies: tuple[TrustPolicy, ...]) -> None:
            seen.append(tuple(p.name for p in policies if not p.fault))
            super().set_policies(policies)

    async def story() -> None:
        client = Client({"TrustPolicy": [wide, strict]})
        client.got[ObjectId("", "ConfigMap", "ocistate-system", "keys")] = {
            "data": {"cosign.pub": key.pem}
        }
        base = make_agent(tmp_path)
        made = Watching(
            status_store=base.status_store,
            target_factory=base.target_factory,
            folder=base.folder,
            connect_store=base.connect_store,
        )
        made.set_stack(parse_stack(obj("good")))
        assert await made.reconcile(StackKey("team", "good")) is None, "held"
        assert not made.stacks[StackKey("team", "good")].passes
        source = PolicySource(made, client)  # type: ignore[arg-type]
        between: list[tuple[str, ...]] = []

        async def meanwhile() -> None:
            between.append(tuple(p.name for p in made.policies()))

        client.before_get = meanwhile
        await source._listed([wide, strict])
        # Listed again, with the strict one changed, while a refresh is under way.
        strict["spec"]["keys"] = [{"configMapRef": {"name": "more"}}]
        client.got[ObjectId("", "ConfigMap", "ocistate-system", "more")] = {
            "data": {"cosign.pub": key.pem}
        }
        await asyncio.gather(source._listed([wide, strict]), source._policies.refresh())
        source._give()
        assert set(between) <= {(), ("strict", "wide")}
        assert set(seen) == {("strict", "wide")}

    asyncio.run(story())


def test_files_are_read_when_they_have_come_to_rest() -> None:
    settled = Settled()
    looks = ["a", "a", "b", "c", "c", "c", "d", "c", "c"]
    assert [settled.is_news(look) for look in looks] == [
        True, False, False, False, True, False, False, False, False,
    ]  # fmt: skip


def test_the_file_source_reads_the_next_edit_whatever_the_last_one_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateFolder(tmp_path / "state")
    state.open()
    made = make_agent(tmp_path, FolderStatusStore(state))
    source = FileSource(made, state, tmp_path / "stacks.yaml")
    calls: list[int] = []

    def load(path: Path) -> NoReturn:
        calls.append(1)
        raise OverflowError("odd")

    monkeypatch.setattr("ocistate.agent.backends.files.load_files", load)

    async def story() -> None:
        stop = asyncio.Event()
        source.path.write_text("a")
        task = asyncio.create_task(source.follow(stop))
        await until(lambda: len(calls) == 1)
        source.path.write_text("ab")
        await until(lambda: len(calls) == 2)
        stop.set()
        await task

    asyncio.run(story())
    state.close()


@pytest.mark.parametrize("kind", ODD)
def test_the_queue_goes_on(kind: type[Exception]) -> None:
    done: list[StackKey] = []

    def fail(*args: Any) -> NoReturn:
        raise odd(kind).error()

    async def work(key: StackKey) -> float | None:
        if key[1] == "bad":
            fail()
        done.append(key)
        return {"nan": float("nan"), "inf": float("inf")}.get(key[1])

    async def story() -> None:
        queue = Controller(
            reconcile=work, on_bug=fail, lane=lambda key: fail() if key[1] == "lane" else ""
        )
        stop = asyncio.Event()
        task = asyncio.create_task(queue.run(stop))
        for name in ("bad", "lane", "nan", "inf", "good"):
            queue.wake(StackKey("n", name))
        await until(lambda: len(done) == 4)
        queue.wake(StackKey("n", "later"), after=0.01)
        await until(lambda: len(done) == 5)
        stop.set()
        await task

    asyncio.run(story())


@pytest.mark.parametrize("kind", ODD)
def test_a_pass_ends_at_its_stack_whose_condition_says_so(
    kind: type[Exception], tmp_path: Path
) -> None:
    async def story() -> None:
        status_store = Kept()
        made = make_agent(tmp_path, status_store)
        made.set_policies(())
        made.set_stack(parse_stack(obj("bad")))
        entry = made.stacks[StackKey("team", "bad")]
        accepted = replace(entry.status, kinds=("ConfigMap",))
        entry.saved = accepted
        entry.reconcile_state = odd(kind)
        assert await made.reconcile(StackKey("team", "bad"))
        saved = status_store.saved[StackKey("team", "bad")]
        ready = saved.condition("Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "InternalError")
        assert saved.kinds == accepted.kinds, "what was kept in the pass is not unlearned"

    asyncio.run(story())


def test_metrics_webhooks_and_reports_are_there_for_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        made = make_agent(tmp_path)
        for name in ("bad", "good", "half"):
            made.set_stack(parse_stack(obj(name)))
        made.stacks[StackKey("team", "bad")].stack = None  # type: ignore[assignment]
        made.stacks[StackKey("team", "bad")].status = None  # type: ignore[assignment]
        current = Current(digest="x", tag="\ud800")
        made.stacks[StackKey("team", "half")].status = StackStatus(current=current)
        told = render(made).decode()
        assert 'ocistate_stack_suspended{name="good"' in told
        assert made.pushed("shop") == 2
        site = _Routes.__new__(_Routes)
        site.agent = None  # type: ignore[assignment]
        request = SimpleNamespace(target=b"/healthz", method=b"GET", headers=[])
        assert site._answer(request, b"").status == 500  # type: ignore[arg-type]

    asyncio.run(story())


def test_one_report_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        store = LayoutStore(parse_reference(f"layout:{tmp_path}/store"))
        here = repository_of(store.reference)
        channel = Channel(name="prod", repository=here, trust=ChannelTrust(keys=()))
        await reports.write_report(store, report(records=here), EAST)
        await reports.write_report(store, report(records=here, cluster="west"), WEST)
        verify = verify_report

        def odd_one(raw: bytes, **rest: Any) -> Any:
            found = verify(raw, **rest)
            if found.cluster == "east":
                raise OverflowError("odd")
            return found

        monkeypatch.setattr(reports, "verify_report", odd_one)
        found = await reports.read_reports(store, channel, REPORTERS)
        assert [bool(item.report) for item in sorted(found, key=lambda i: i.problem)] == [
            True,
            False,
        ]

    asyncio.run(story())


@pytest.mark.parametrize("kind", ODD)
def test_health_and_watches_go_on_at_the_next_object(kind: type[Exception]) -> None:
    thing = {"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {}, "status": odd(kind)}
    assert health_of(thing).status is HealthStatus.UNKNOWN

    def listener(change: ObjectChange) -> None:
        if change.id.name == "bad":
            raise odd(kind).error()

    owned = OwnedObjects(listener)
    resource = ApiResource(
        group="x.io", version="v1", kind="Thing", plural="things", namespaced=True
    )
    seen = [
        owned.see(resource, _metadata(name), {**thing, "status": {}}) for name in ("bad", "good")
    ]
    assert [id.name for id in seen] == ["bad", "good"]
    assert owned.health(seen[0]).status is HealthStatus.UNKNOWN
    assert set(owned.mine("u")) == set(seen)


def _metadata(name: str) -> codec.Metadata:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{STACK_LABEL}": {}}}}
    whole = {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": name,
            "resourceVersion": "1",
            "labels": {STACK_LABEL: "u"},
            "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}],
        }
    }
    return codec.decode_as(codec.PARTIAL, codec.encode(whole)).metadata


def test_an_object_that_the_parser_refuses_is_refused_and_not_broken() -> None:
    with pytest.raises(ConfigError):
        parse_stack(obj("bad", drift="sometimes"))
