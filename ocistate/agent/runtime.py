"""The agent: Stacks and policies come from a source, content goes to targets, status to a store.

Whether the Stacks are files or Kubernetes objects, and whether they belong in a folder or in a
cluster, is decided by what is plugged in here; the pass is the same.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ocistate.agent.background import Background
from ocistate.agent.contain import contained, unexpected
from ocistate.agent.memory import MemoryTrimmer
from ocistate.agent.queue import Controller
from ocistate.agent.reconcile.cache import ContentCache, limits_of_memory
from ocistate.agent.reconcile.phase import step
from ocistate.agent.reconcile.run import run_pass
from ocistate.agent.registry import StackEntry, Stacks
from ocistate.agent.removal import remove_stack
from ocistate.agent.state.folder import StateFolder
from ocistate.agent.state.store import StatusStore
from ocistate.agent.targets.base import Target, TargetFactory
from ocistate.agent.telemetry.reporting import Reporter
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus, refused
from ocistate.caches import cache_sizes
from ocistate.channel.rings import Cluster
from ocistate.errors import OcistateError
from ocistate.objects import StackKey
from ocistate.oci.store import Store
from ocistate.signing.policy.model import TrustPolicy

log = logging.getLogger("ocistate.agent")

_RETRY_SECONDS: Final = 5.0
"""Until the next try when a status could not be saved."""

_LOCKED_OUT_SECONDS: Final = 120.0
"""How long the cluster may refuse us before a restart is worth a try."""

_LOOK_SECONDS: Final = 1.0
"""Between two looks at a registry that webhooks ask for."""


_BUG_SECONDS: Final = 60.0

_END_SECONDS: Final = 5.0
"""How long an end waits for Events on their way."""


@dataclass(slots=True)
class Agent:
    """Runs passes for the Stacks it is given."""

    status_store: StatusStore
    target_factory: TargetFactory
    folder: StateFolder
    connect_store: Callable[[Stack], Coroutine[Any, Any, Store]]
    """Opens a Stack's repository, with its credentials."""
    workers: int = 8
    cluster: Cluster = Cluster()  # noqa: RUF009 - it is frozen
    """What this agent's cluster is called; its rings of rollouts depend on that."""
    reporter: Reporter | None = None
    """Writes reports to the registry; None where the agent has no key for them."""
    mine: Callable[[StackKey], bool] = lambda key: True
    """Whether a Stack is this agent's to reconcile; others are only known."""
    registry_sizes: Callable[[], Mapping[str, int]] = dict
    """How much is held of registries, by what it is."""
    locked_out: Callable[[], tuple[float, str]] = lambda: (0.0, "")
    """For how long its own cluster has not let it in, or is not trusted, and why."""
    stopping: bool = False
    stacks: Stacks = field(default_factory=Stacks)
    _policies: tuple[TrustPolicy, ...] | None = None
    """All there are; None before they have been read as a whole, and no pass begins until then."""
    _background: Background = field(default_factory=Background)
    _controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        self._controller = Controller(
            reconcile=self.reconcile, on_bug=self._on_bug, workers=self.workers, lane=self._lane
        )

    # What sources call

    def set_stack(self, stack: Stack, status: StackStatus | None = None) -> None:
        """A Stack is new, or its spec changed. ``status`` counts only for a new one."""
        entry = self.stacks.get(stack.key)
        if entry is None or entry.stack.uid != stack.uid:
            self.drop_stack(stack.key)
            known = status or StackStatus()
            self.stacks.put(StackEntry(stack=stack, status=known, saved=known))
        elif not self.mine(stack.key):
            self.stacks.respecify(entry, stack)
            entry.status = entry.saved = status or StackStatus()
            return
        elif entry.stack == stack and entry.refusal is None:
            return
        else:
            self.stacks.respecify(entry, stack)
        self._controller.wake(stack.key)
        for other in self.stacks.followers(stack.key):
            self._controller.wake(other)

    def refuse_stack(self, key: StackKey, uid: str, generation: int, error: OcistateError) -> bool:
        """A Stack's spec can't be read any more: what it said before goes on, under protest.

        False when nothing is known from before.
        """
        entry = self.stacks.get(key)
        if entry is None or entry.stack.uid != uid:
            self.drop_stack(key)
            return False
        if entry.refusal is None or entry.refusal[0] != generation:
            entry.refusal = (generation, error)
            self._controller.wake(key)
        return True

    def drop_stack(self, key: StackKey) -> None:
        """A Stack is gone without asking to take its objects away."""
        entry = self.stacks.drop(key)
        self._controller.forget(key)
        if self.reporter is not None:
            self.reporter.forget(key)
        if entry is not None and entry.stack_target is not None:
            entry.stack_target[1].forget()

    def begin(self, keys: Collection[StackKey]) -> None:
        """These Stacks are ours from now on; nothing is remembered of them but their status."""
        for key in keys:
            entry = self.stacks.get(key)
            if entry is not None:
                status = entry.status
                self.stacks.put(StackEntry(stack=entry.stack, status=status, saved=status))
                self._controller.wake(key)

    async def finish(self, keys: Collection[StackKey]) -> None:
        """Another agent takes these Stacks over: let passes in flight end."""
        for key in keys:
            self._controller.forget(key)
        await self._controller.finished(keys)
        self._leave(keys)

    def abort(self, keys: Collection[StackKey]) -> None:
        """These Stacks are another agent's: end passes where they are."""
        for key in keys:
            self._controller.cancel(key)
        self._leave(keys)

    def _leave(self, keys: Collection[StackKey]) -> None:
        for key in keys:
            entry = self.stacks.get(key)
            if entry is not None and entry.stack_target is not None:
                entry.stack_target[1].forget()
                entry.stack_target = None
            if self.reporter is not None:
                self.reporter.forget(key)

    def loaded(self) -> None:
        """All Stacks and policies have been read once."""
        self.stacks.mark_loaded()

    def set_policies(self, policies: tuple[TrustPolicy, ...]) -> None:
        """The trust policies are these now: every Stack is looked at again if they changed."""
        if policies != self._policies:
            self._policies = policies
            for key in self.stacks:
                self._controller.wake(key)

    def wake(self, key: StackKey, after: float = 0.0) -> None:
        """Look at one Stack now, or in some seconds."""
        if key in self.stacks:
            self._controller.wake(key, after=after)

    def pushed(self, repository: str) -> int:
        """Someone pushed to a repository, named without its host: its Stacks look now.

        At most one look a second for each. The number of Stacks that follow it is returned.
        """
        now = asyncio.get_running_loop().time()
        count = 0
        for key, entry in self.stacks.items():
            with contained(f"waking the Stack {'/'.join(key)}"):
                if entry.stack.spec.source.repository.reference.repository.lower() == repository:
                    count += 1
                    self._pushed(key, entry, now)
        return count

    def _pushed(self, key: StackKey, entry: StackEntry, now: float) -> None:
        entry.requests += 1
        if entry.asked > now:
            return  # one that comes later is asked for already
        entry.asked = max(now, entry.asked + _LOOK_SECONDS)
        if self.mine(key):
            self._controller.wake(key, after=entry.asked - now)
        else:
            self._background.start(self._ask(entry, entry.asked - now))

    async def _ask(self, entry: StackEntry, after: float) -> None:
        await asyncio.sleep(after)
        await self.status_store.ask(entry.stack)

    def stuck(self) -> str:
        """Why only a restart helps; empty while the agent lives."""
        seconds, why = self.locked_out()
        if seconds > _LOCKED_OUT_SECONDS:
            # All that may have been renewed was read again: the rest is made again with the
            # process.
            return f"the API server cannot be used for {seconds:.0f} s: {why}"
        return self._controller.stuck()

    def sizes(self) -> dict[str, int]:
        """How much is held in memory, by what it is."""
        states = [entry.reconcile_state for entry in self.stacks.values()]
        return {
            **self.target_factory.sizes(),
            **self.registry_sizes(),
            **cache_sizes(),
            "stacks": len(self.stacks),
            "policies": len(self.policies()),
            "contents": sum(state.content is not None for state in states),
            "verifications": sum(len(state.trusted) for state in states),
        }

    def restored(self) -> None:
        """The cluster is in an earlier state, and so are the Stacks: compare all, write all."""
        for key, entry in self.stacks.items():
            entry.saved, entry.reconcile_state = None, entry.reconcile_state.forgotten()
            self._controller.wake(key)

    def not_ready(self) -> str:
        """Why it is not at work; an agent that stands by for another one is."""
        if self.stopping:
            return "stopping"
        return "" if self.stacks.has_loaded else "Stacks have not been read yet"

    @property
    def running(self) -> int:
        """How many passes run."""
        return self._controller.running

    @property
    def waiting(self) -> int:
        """How many Stacks are due and wait for a worker."""
        return self._controller.waiting()

    async def run(self, stop: asyncio.Event) -> None:
        """Reconcile until ``stop`` is set; passes in flight are allowed to end."""
        self._background.start(self._notice(stop))
        if self.reporter is not None:
            self._background.start(self.reporter.run(stop))
        self._background.start(MemoryTrimmer().run(stop))
        await self._controller.run(stop)
        await self._background.join(_END_SECONDS)

    async def _notice(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.stopping = True

    def _lane(self, key: StackKey) -> str:
        """Folders share one, and each cluster has its own."""
        entry = self.stacks.get(key)
        return f"@{entry.stack.target_name}" if entry and entry.stack.directory is None else ""

    # One pass

    async def reconcile(self, key: StackKey) -> float | None:
        """One pass for one Stack; the seconds until the next one is due."""
        entry = self.stacks.get(key)
        if entry is None or not self.mine(key) or self._policies is None:
            return None
        target = {"target": entry.stack.target_name} if entry.stack.target_name else {}
        with step("pass", stack="/".join(key), digest="", **target):
            try:
                return await self._reconcile(key, entry)
            except Exception as error:
                return await self._broken(entry, error)

    async def _broken(self, entry: StackEntry, error: Exception) -> float:
        """Say on the Stack that a pass ended with a bug of ours; the seconds until the next try."""
        stack = entry.stack
        shown = unexpected(f"a pass for the Stack {stack}", error)
        # From what is saved, so that nothing is unlearned that was accepted in this pass.
        entry.status = (entry.saved or entry.status).with_condition(
            "Ready",
            "False",
            shown.reason,
            str(shown),
            now=self.now(),
            generation=stack.generation,
        )
        entry.passes[shown.reason] += 1
        with contained(f"keeping the status of the Stack {stack}"):
            await self.save(stack, entry.status)
        return _BUG_SECONDS

    async def _reconcile(self, key: StackKey, entry: StackEntry) -> float | None:
        stack = entry.stack
        if stack.deleting:
            return await self._remove(entry)
        begun = entry.reconcile_state
        result = await run_pass(
            stack, entry.status, begun, self, jitter=random.random, requests=entry.requests
        )
        status, after = result.status, result.after
        if self.stacks.get(key) is not entry:
            return None  # it went, or was replaced by another one of its name, meanwhile
        interrupted = entry.reconcile_state is not begun
        entry.reconcile_state = result.state.forgotten() if interrupted else result.state
        if entry.refusal is not None:
            generation, refusal = entry.refusal
            status = refused(status, refusal, now=self.now(), generation=generation)
        entry.status = status
        try:
            await self.save(stack, status)
        except OcistateError as error:
            log.warning(
                "cannot keep the status: %s",
                error,
                extra={"stack": str(stack), "reason": error.reason},
            )
            after = _RETRY_SECONDS if after is None else min(after, _RETRY_SECONDS)
        if self.reporter is not None:
            with contained(f"reporting on the Stack {stack}"):
                self.reporter.note(stack, status)
        ready = status.condition("Ready")
        entry.passes[ready.reason if ready else "Unknown"] += 1
        for follower in self.stacks.waiting_for(key):
            self._controller.wake(follower)
        return after

    async def _remove(self, entry: StackEntry) -> float | None:
        after = await remove_stack(entry, self, self.status_store)
        if after is None:
            self.folder.forget(entry.stack.key)
            self.drop_stack(entry.stack.key)
        return after

    def _on_bug(self, key: StackKey, error: Exception) -> None:
        unexpected(f"a pass for the Stack {'/'.join(key)}", error)

    # What a pass needs (reconcile.Services)

    async def prepare(self, stack: Stack) -> None:
        await self.status_store.prepare(stack)

    def policies(self) -> tuple[TrustPolicy, ...]:
        return self._policies or ()

    def target(self, stack: Stack) -> Target:
        entry = self.stacks[stack.key]
        if entry.stack_target is None or entry.stack_target[0] != stack:
            stack_target = self.target_factory.stack_target(
                stack, lambda after: self.wake(stack.key, after)
            )
            entry.stack_target = (stack, stack_target)
        return entry.stack_target[1]

    def cache(self, stack: Stack) -> ContentCache:
        return ContentCache(self.folder.content(stack.key), limits_of_memory())

    def is_ready(self, key: StackKey) -> bool | None:
        return self.stacks.is_ready(key)

    def cycle(self, stack: Stack) -> tuple[StackKey, ...]:
        return self.stacks.cycle(stack)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return time.monotonic()

    async def save(self, stack: Stack, status: StackStatus) -> None:
        entry = self.stacks.get(stack.key)
        if entry is None or entry.stack.uid != stack.uid or entry.saved == status:
            return
        await self.status_store.save(stack, status)
        entry.saved = status

    def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        level = logging.WARNING if kind == "Warning" else logging.INFO
        log.log(level, message, extra={"stack": str(stack), "reason": reason})
        self._background.start(self.status_store.event(stack, kind, reason, message))
