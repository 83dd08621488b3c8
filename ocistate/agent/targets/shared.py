"""One cluster, shared by all Stacks that belong in it: its client, watches and memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from ocistate.agent.targets.shares import share
from ocistate.api.stack import DEFAULT_APPLIER, Stack
from ocistate.artifact.known import KnownDocuments
from ocistate.errors import OcistateError
from ocistate.health.vanishing import Run, Runs
from ocistate.kube.client import KubeClient, service_account
from ocistate.kube.discovery import kind_text
from ocistate.objects import GroupKind, StackKey
from ocistate.watch.changes import ChangeKind, ObjectChange
from ocistate.watch.conflicts import Contest, Contested
from ocistate.watch.informer import Watches, WatchKey
from ocistate.watch.store import OwnedObjects

log = logging.getLogger("ocistate.agent")

_GATHER_SECONDS: Final = 0.2
"""Many objects change their health in a row: one pass is for all of them."""

_TRIM_SECONDS: Final = 2.0
"""A kind that no one needs may be needed again at once, as when a Stack is made again."""


@dataclass(slots=True)
class SharedCluster:
    """One cluster, shared by all Stacks that belong in it: one watch a kind for all together.

    ``impersonate`` has each Stack's writes done as a service account of its own namespace; without
    it, only Stacks that name one do so, and the others write as the agent.
    """

    client: KubeClient
    kinds_of: Callable[[Stack], tuple[str, ...]]
    impersonate: bool = True
    namespaces: tuple[str, ...] | None = None
    """Where all of this happens, and nowhere else; None: everywhere."""
    adoptable_owners: Callable[[Stack], Collection[str]] = lambda stack: ()
    """The owners that a Stack may take objects over from."""
    handover_owners: Callable[[Stack], Collection[str]] = lambda stack: ()
    """The owners that a Stack leaves its objects to."""
    called: Callable[[Stack, str], str] = lambda stack, owner: owner
    """How another owner is named to a Stack; empty where it may not be."""
    contests: Callable[[Stack], Sequence[Contest]] = lambda stack: ()
    """The contested objects in a Stack's status."""
    runs_of: Callable[[Stack], Sequence[Run]] = lambda stack: ()
    """The objects that were meant to vanish in a Stack's status."""
    fence: Callable[[StackKey], None] | None = None
    """Raises before a write that is another agent's to do."""
    owned: OwnedObjects = field(init=False)
    watches: Watches = field(init=False)
    contested: Contested = field(default_factory=Contested)
    runs: dict[str, Runs] = field(default_factory=dict)
    """By Stack: what was applied of objects that are meant to vanish."""
    documents: dict[str, KnownDocuments] = field(default_factory=dict)
    """By Stack: what its last artifact held, so that of the next only what is new is parsed."""
    _wakes: dict[str, Callable[[float], None]] = field(default_factory=dict)
    _needs: dict[str, frozenset[GroupKind]] = field(default_factory=dict)
    """By Stack: the kinds that must be seen for it."""
    _watched: set[GroupKind] = field(default_factory=set)
    """Those of them that are watched; the others are listed."""
    _trimming: asyncio.Task[None] | None = None
    _listeners: list[Callable[[OcistateError | None], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owned = OwnedObjects(self._changed)
        self.watches = Watches(
            self.client,
            self.owned,
            namespaces=self.namespaces,
            on_trouble=self._trouble,
        )

    def join(self, stack: Stack, wake: Callable[[float], None]) -> None:
        """Have a Stack's objects seen; ``wake`` is called, with a delay, when something changed."""
        if stack.uid not in self._wakes:
            for contest in self.contests(stack):
                self.contested.resume(contest)
            self.runs[stack.uid] = Runs.of(self.runs_of(stack))
        self._wakes[stack.uid] = wake

    def listen(self, on_trouble: Callable[[OcistateError | None], None]) -> None:
        """Call this when a watch has trouble, and with None when that is over."""
        self._listeners.append(on_trouble)

    def wake_in(self, stack: Stack, after: float) -> None:
        """Have a Stack reconciled in some seconds."""
        if wake := self._wakes.get(stack.uid):
            wake(after)

    def writer(self, stack: Stack) -> KubeClient:
        """The client that a Stack's objects are written and its secrets are read with."""
        account = stack.spec.service_account_name or (DEFAULT_APPLIER if self.impersonate else "")
        client, fence = self.client, self.fence
        if account:
            client = client.impersonating(service_account(stack.namespace, account))
        return client.guarded(lambda: fence(stack.key)) if fence is not None else client

    def wake(self) -> None:
        """Have all Stacks reconciled."""
        for wake in self._wakes.values():
            wake(0.0)

    def forget(self, stack: Stack) -> None:
        """The Stack is gone."""
        self._wakes.pop(stack.uid, None)
        self.documents.pop(stack.uid, None)
        self.runs.pop(stack.uid, None)
        for id in self.owned.wanted(stack.uid):
            self.contested.forget(id)
        self.owned.undesire(stack.uid)
        if self._needs.pop(stack.uid, None):
            self._share()
            self._trim_soon()

    def need(self, stack: Stack, kinds: Collection[GroupKind]) -> None:
        """Watch these kinds for a Stack; those that it needed before are dropped after a while."""
        before = self._needs.get(stack.uid, frozenset())
        self._needs[stack.uid] = frozenset(kinds)
        if before != self._needs[stack.uid]:
            self._share()
        self.watches.want(frozenset(kinds) - self.watches.kinds)
        if not before <= self._needs[stack.uid]:
            self._trim_soon()

    def _share(self) -> None:
        self._watched = share(self._needs, self._watched)
        self.watches.listed = frozenset().union(*self._needs.values()) - self._watched

    def sizes(self) -> dict[str, int]:
        """How much is held of the cluster, by what it is."""
        kinds, listed = len(self.watches.kinds), len(self.watches.kinds & self.watches.listed)
        return {
            "objects": len(self.owned),
            "kinds_watched": kinds - listed,
            "kinds_listed": listed,
            "documents": sum(len(known) for known in self.documents.values()),
            "contested": len(self.contested),
        }

    def _trim_soon(self) -> None:
        if self._trimming is None or self._trimming.done():
            self._trimming = asyncio.create_task(self._trim())

    async def _trim(self) -> None:
        await asyncio.sleep(_TRIM_SECONDS)
        # What a Stack left behind on purpose is still watched: it may be removed with it.
        kept = [self.owned.kinds(owner) for owner in self._needs]
        if ended := await self.watches.trim(frozenset().union(*self._needs.values(), *kept)):
            names = ", ".join(sorted(map(kind_text, ended)))
            log.info("no Stack needs these kinds any more, they are not watched: %s", names)

    def _trouble(self, kind: WatchKey, trouble: OcistateError | None) -> None:
        for listener in self._listeners:
            listener(trouble)

    def _changed(self, change: ObjectChange) -> None:
        wake = self._wakes.get(change.owner)
        if wake is None:
            # The last of an owner that is gone: another one may wait for the name.
            heirs = self.owned.wanting(change.id) if change.what is ChangeKind.GONE else ()
            for heir in heirs:
                if heir in self._wakes:
                    self._wakes[heir](_GATHER_SECONDS)
            return
        if change.what is ChangeKind.HEALTH or change.what is ChangeKind.APPEARED:
            wake(_GATHER_SECONDS)
        else:
            # Another writer that never stops is not fought at full speed.
            wake(self.contested.drifted(change.id, change.by))
