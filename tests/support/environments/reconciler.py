"""A reconciler whose target, registry and clock are plain values."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocistate.agent.reconcile.cache import ContentCache
from ocistate.agent.reconcile.run import run_pass
from ocistate.agent.reconcile.state import ReconcileState
from ocistate.agent.targets.base import Applied, HealthReport, Removed
from ocistate.api.stack import Stack, parse_stack
from ocistate.api.status import StackStatus, status_from_dict, status_to_dict
from ocistate.channel.rings import Cluster
from ocistate.errors import Unavailable
from ocistate.objects import StackKey
from ocistate.oci import open_store
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import Content
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import parse_policy
from ocistate.watch.conflicts import Contest
from tests.support.assertions.agent import condition
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, config_map, policy, stack

TIMEOUT = 60.0


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
        result = asyncio.run(
            run_pass(self.stack, self.status, self.reconcile_state, self, jitter=lambda: 0.0)
        )
        self.reconcile_state, self.kept = result.state, status_to_dict(result.status)
        return result.after

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
        return open_store(stack.spec.source.repository.reference)

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
