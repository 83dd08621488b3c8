"""Where the agent's TrustPolicies come from: the cluster's objects, or files beside it.

The agent is only ever given whole sets: with half of one, a wider policy would decide where a
stricter one should.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ocistate.agent.backends.feed import Feed
from ocistate.agent.backends.policies import REFRESH_SECONDS, Policies
from ocistate.agent.runtime import Agent
from ocistate.api.loader import Settled, fingerprint, load_files
from ocistate.kube.client import KubeClient

log = logging.getLogger("ocistate.agent")

_FILES_SECONDS: Final = 2.0


@dataclass(slots=True)
class PolicySource:
    """Feeds an agent with TrustPolicies. ``files``: from there, and not from the cluster."""

    agent: Agent
    client: KubeClient
    files: Path | None = None
    read: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once there is a whole set."""
    _policies: Policies = field(init=False)

    def __post_init__(self) -> None:
        self._policies = Policies(self.client)

    async def run(self) -> None:
        """Follow them until cancelled."""
        if self.files is not None:
            await self._follow_files(self.files)
            return
        feed = Feed(
            client=self.client, kind="TrustPolicy", listed=self._listed, changed=self._changed
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.run())
            tasks.create_task(self._refresh())

    async def _listed(self, objects: Sequence[dict[str, Any]]) -> None:
        await self._policies.replace(objects)
        self._give()

    async def _changed(self, type_: str, obj: dict[str, Any]) -> None:
        if type_ == "DELETED":
            self._policies.remove(obj["metadata"]["name"])
        else:
            await self._policies.put(obj)
        self._give()

    def _give(self) -> None:
        self.agent.set_policies(self._policies.all)
        self.read.set()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                if await self._policies.refresh():
                    self.agent.set_policies(self._policies.all)
            except Exception:
                log.exception("reading what policies refer to failed unexpectedly")

    async def _follow_files(self, path: Path) -> None:
        """Read the files again when one changed; while one is wrong, what was read last holds."""
        settled = Settled()
        trouble = ""
        while True:
            try:
                if settled.is_news(fingerprint(path)):
                    self.agent.set_policies(load_files(path).policies)
                    self.read.set()
                    trouble = ""
            except Exception as error:
                if str(error) != trouble:
                    log.error("%s; the policies read before stay", error)
                trouble = str(error)
            await asyncio.sleep(_FILES_SECONDS)
