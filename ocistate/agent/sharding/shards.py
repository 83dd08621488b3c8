"""Holds Leases: the shell around `ocistate.agent.sharding.lease`.

    shards = Shards(client, namespace="ocistate-system", count=4, identity=new_identity())
    shards.check(("shop", "web"))       # raises LeaseLost unless we hold its shard

A shard's work ends at once when its Lease could not be renewed in time, and in good order, with
passes in flight allowed to end, when it is handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ocistate.agent.sharding.lease import (
    ROLE_LABEL,
    SHARDS_ANNOTATION,
    VALID_SHARE,
    ObservedLease,
    choose,
    lease_name,
    see,
    shard_of,
)
from ocistate.errors import LeaseLost, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId, StackKey

log = logging.getLogger("ocistate.agent")

_GROUP: Final = "coordination.k8s.io"
_MANAGER: Final = "ocistate-agent"
LEASE_SECONDS: Final = 10


def new_identity() -> str:
    """A name no other agent has: this pod's or machine's, and something random."""
    name = os.environ.get("HOSTNAME") or socket.gethostname()
    return f"{name.lower()[:180]}-{secrets.token_hex(4)}"


class Work(Protocol):
    """What is done for a shard."""

    async def read(self, shard: int) -> None:
        """Learn how its Stacks are now, after the agent that had it before."""
        ...

    def begin(self, shard: int) -> None:
        """Its Stacks are ours from now on."""
        ...

    async def finish(self, shard: int) -> None:
        """Let passes in flight end; new ones do not start any more."""
        ...

    def abort(self, shard: int) -> None:
        """End passes in flight where they are."""
        ...


@dataclass(slots=True)
class Shards:
    """The shards that this agent holds."""

    client: KubeClient
    namespace: str
    count: int
    identity: str
    seconds: int = LEASE_SECONDS
    _held: dict[int, float] = field(default_factory=dict)
    """Until when, by our clock, each Lease is surely ours."""
    _working: set[int] = field(default_factory=set)
    _ending: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _seen: dict[str, ObservedLease] = field(default_factory=dict)
    _trouble: str = ""
    _work: Work | None = None

    def mine(self, key: StackKey) -> bool:
        """Whether a pass for a Stack may start."""
        shard = shard_of(key, self.count)
        return shard not in self._ending and self._holds(shard)

    def check(self, key: StackKey) -> None:
        """Raises LeaseLost unless a Stack is ours to write, at this very moment."""
        shard = shard_of(key, self.count)
        if not self._holds(shard):
            raise LeaseLost(
                f"the Lease of shard {shard} is not ours any more",
                hint="another agent goes on with the Stack",
            )

    def _holds(self, shard: int) -> bool:
        return shard in self._working and _now() < self._held.get(shard, 0.0)

    @property
    def working(self) -> frozenset[int]:
        """The shards whose Stacks we reconcile."""
        return frozenset(self._working)

    async def run(self, stop: asyncio.Event, done: asyncio.Event, work: Work) -> None:
        """Do ``work`` for the shards that we should hold.

        Nothing more is taken after ``stop``, and all is released after ``done``.
        """
        self._work = work
        guard = asyncio.create_task(self._end_what_runs_out())
        try:
            while not done.is_set():
                try:
                    await self._round(taking=not stop.is_set())
                    self._trouble = ""
                except (OcistateError, TimeoutError) as error:
                    if str(error) != self._trouble:
                        log.warning("leases: %s", str(error) or "no answer in time")
                    self._trouble = str(error)
                except Exception:
                    log.exception("leases: failed unexpectedly")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), self.seconds / 5)
        finally:
            guard.cancel()
            await self._release_all()

    async def _round(self, *, taking: bool) -> None:
        async with asyncio.timeout(self.seconds * VALID_SHARE):
            if self.count > 1:
                await self._write("member", self.identity)
            for shard in list(self._held):
                await self._renew(shard)
            await self._observe()
        for attempt in range(2 if taking else 1):
            choice = choose(self._seen, self._held, me=self.identity, shards=self.count, now=_now())
            if taking:
                async with asyncio.timeout(self.seconds * VALID_SHARE):
                    for shard in choice.take if attempt == 0 else ():
                        await self._take(shard)
                    if choice.take and attempt == 0:
                        await self._observe()
                        continue
            for shard in sorted(choice.work - self._working):
                await self._begin(shard)
            for shard in choice.give:
                if shard not in self._ending:
                    # Passes may take their time; the Lease is renewed until they have ended.
                    self._ending[shard] = asyncio.create_task(self._give(shard))
            for name in choice.forget:
                await self.client.delete(self._id(name))
            return

    async def _observe(self) -> None:
        resource = await self.client.kind(_GROUP, "Lease")
        listing = await self.client.list(resource, self.namespace, label_selector=ROLE_LABEL)
        self._seen = see(listing.items, self._seen, _now())

    async def _take(self, shard: int) -> None:
        begun = _now()
        old = self._seen.get(lease_name("shard", shard))
        try:
            await self._write("shard", shard, replacing=old)
        except StatusError as error:
            if error.status != 409:
                raise
            return  # another agent was faster
        self._held[shard] = begun + self.seconds * VALID_SHARE

    async def _renew(self, shard: int) -> None:
        begun = _now()
        if begun >= self._held[shard]:
            return  # too late; the guard ends it
        old = self._seen.get(lease_name("shard", shard))
        try:
            await self._write("shard", shard, replacing=old)
        except StatusError as error:
            if error.status != 409:
                raise
            # An earlier renewal, whose answer was lost, also changed it: then it is still ours.
            await self._observe()
            now = self._seen.get(lease_name("shard", shard))
            if now is None or now.holder != self.identity:
                self._end(shard, "another agent has taken it")
            return
        if shard in self._held:
            self._held[shard] = begun + self.seconds * VALID_SHARE

    async def _write(
        self, role: str, which: int | str, *, replacing: ObservedLease | None = None
    ) -> None:
        """Put our name and the time into a Lease. Raises StatusError 409 if it changed since."""
        name = lease_name(role, which)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: dict[str, Any] = {
            "labels": {ROLE_LABEL: role},
            "annotations": {SHARDS_ANNOTATION: str(self.count)},
        }
        spec: dict[str, Any] = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.seconds,
            "renewTime": now,
        }
        known = replacing if role == "shard" else self._seen.get(name)
        if known is None or known.holder != self.identity:
            spec["acquireTime"] = now
        if known is None:
            await self.client.create(
                {
                    "apiVersion": f"{_GROUP}/v1",
                    "kind": "Lease",
                    "metadata": {"name": name, "namespace": self.namespace, **metadata},
                    "spec": spec,
                },
                manager=_MANAGER,
            )
            return
        if role == "shard":
            metadata["resourceVersion"] = known.version
        await self._patch(name, {"metadata": metadata, "spec": spec})

    async def _patch(self, name: str, patch: dict[str, Any]) -> None:
        answer = await self.client.patch(self._id(name), patch, manager=_MANAGER)
        self._seen |= see([answer], self._seen, _now())

    async def _begin(self, shard: int) -> None:
        if self._work is not None:
            async with asyncio.timeout(self.seconds):
                await self._work.read(shard)
        if _now() >= self._held.get(shard, 0.0):
            return
        log.info("shard %d of %d is ours now", shard, self.count)
        self._working.add(shard)
        if self._work is not None:
            self._work.begin(shard)

    async def _give(self, shard: int) -> None:
        """Hand a shard over: no new pass, those in flight end, then the Lease is free."""
        try:
            if shard in self._working and self._work is not None:
                await self._work.finish(shard)
            self._working.discard(shard)
            await self._free(shard)
        finally:
            self._ending.pop(shard, None)

    async def _free(self, shard: int) -> None:
        old = self._seen.get(lease_name("shard", shard))
        self._held.pop(shard, None)
        if old is None or old.holder != self.identity:
            return
        log.info("shard %d is released", shard)
        try:
            async with asyncio.timeout(self.seconds / 2):
                await self._patch(
                    old.name,
                    {
                        "metadata": {"resourceVersion": old.version},
                        "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
                    },
                )
        except (OcistateError, TimeoutError) as error:
            # It runs out by itself; a 409 says that another agent has it already.
            log.warning("shard %d: not released: %s", shard, str(error) or "no answer in time")

    async def _release_all(self) -> None:
        if self._ending:
            await asyncio.wait(self._ending.values())
        for shard in list(self._held):
            await self._give(shard)
        if self.count > 1:
            with contextlib.suppress(OcistateError, TimeoutError):
                async with asyncio.timeout(self.seconds / 2):
                    await self.client.delete(self._id(lease_name("member", self.identity)))

    async def _end_what_runs_out(self) -> None:
        """The other half of the promise: who cannot renew stops before another may start."""
        while True:
            now = _now()
            for shard, until in list(self._held.items()):
                if until <= now:
                    self._end(shard, "it could not be renewed in time")
            soonest = min(self._held.values(), default=now + 1.0)
            await asyncio.sleep(min(max(soonest - _now(), 0.01), 1.0))

    def _end(self, shard: int, why: str) -> None:
        self._held.pop(shard, None)
        if shard in self._working:
            self._working.discard(shard)
            log.warning("shard %d is not ours any more: %s", shard, why)
            if self._work is not None:
                self._work.abort(shard)

    def _id(self, name: str) -> ObjectId:
        return ObjectId(_GROUP, "Lease", self.namespace, name)


def _now() -> float:
    return asyncio.get_running_loop().time()
