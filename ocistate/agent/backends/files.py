"""The agent without a cluster to live in: Stacks from files, memory in a state folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ocistate.agent.runtime import Agent
from ocistate.agent.state.folder import StateFolder
from ocistate.agent.targets.base import FolderTarget, Target, TargetFactory
from ocistate.agent.targets.folder import OwnedFolder
from ocistate.api.loader import Settled, fingerprint, load_files, stamps
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.errors import ConfigError
from ocistate.oci import StoreOptions

log = logging.getLogger("ocistate.agent")

_LOOK_SECONDS: Final = 0.5
"""Between two looks at the files' times; reading them is only done when one changed."""


@dataclass(frozen=True, slots=True)
class FolderStatusStore:
    """Status in the state folder; events are log lines and nothing else."""

    folder: StateFolder

    async def prepare(self, stack: Stack) -> None:
        """Nothing to do: what is declared no more is found in the state folder."""

    async def save(self, stack: Stack, status: StackStatus) -> None:
        self.folder.save(stack, status)

    async def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Logged already."""

    async def connect_options(self, stack: Stack) -> StoreOptions:
        source = stack.spec.source
        if source.pull_secret or source.ca_secret or source.cert_secret:
            raise ConfigError(
                f"Stack {stack}: pullSecretRef, caSecretRef and certSecretRef need a cluster to be "
                "read from",
                hint="use 'ocistate login', and certs.d for certificates",
            )
        return StoreOptions(insecure=stack.spec.source.insecure)

    async def is_abandoned(self, stack: Stack) -> bool:
        return False

    async def forget(self, stack: Stack) -> None:
        """The agent itself removes what is kept."""

    async def ask(self, stack: Stack) -> None:
        """One agent has all Stacks of a folder."""


@dataclass(slots=True)
class FileTargetFactory:
    """Folders for Stacks that name one; clusters, which ``connect`` makes, for all others."""

    folder: StateFolder
    connect: Callable[[], TargetFactory]
    _clusters: TargetFactory | None = None

    def stack_target(self, stack: Stack, wake: Callable[[float], None]) -> Target:
        if stack.directory is not None:
            target = OwnedFolder(stack.directory, self.folder.record(stack.key))
            return FolderTarget(stack, target)
        if stack.spec.target.kubeconfig_secret:
            raise ConfigError(
                f"Stack {stack}: spec.target.kubeconfigSecretRef: there is no cluster to read the "
                "Secret from",
                hint="name a kubeconfig file in spec.target.kubeconfig, or a context of the "
                "agent's own in spec.target.context",
            )
        if self._clusters is None:
            self._clusters = self.connect()
        return self._clusters.stack_target(stack, wake)

    def reachable(self) -> Mapping[str, bool]:
        return self._clusters.reachable() if self._clusters is not None else {}

    def sizes(self) -> Mapping[str, int]:
        return self._clusters.sizes() if self._clusters is not None else {}


@dataclass(slots=True)
class FileSource:
    """Feeds an agent with what the files under ``path`` declare."""

    agent: Agent
    folder: StateFolder
    path: Path
    _settled: Settled = field(default_factory=Settled)
    _trouble: str = ""
    _beside: tuple[Path, ...] = ()

    def load(self) -> None:
        """Give the agent what the files declare. Raises ConfigError; nothing has changed then."""
        mark = fingerprint(self.path)
        declared = load_files(self.path)
        self._beside = declared.beside
        self._settled.take((mark, stamps(self._beside)))
        self.agent.set_policies(declared.policies)
        self.agent.loaded()
        for stack in declared.stacks:
            self.agent.set_stack(stack, self._remembered(stack))
        keys = {stack.key for stack in declared.stacks}
        gone = ({*self.agent.stacks, *self.folder.known()}) - keys
        if gone and not keys:
            # An empty folder is more likely a mistake than the wish to remove everything.
            names = ", ".join("/".join(key) for key in sorted(gone))
            log.error("%s declares no Stack any more; %s stay as they are", self.path, names)
            return
        for key in gone:
            self.agent.drop_stack(key)
            try:
                departed, status = self.folder.departed(key), self.folder.load(key)
            except ConfigError as error:
                log.error("%s; what it put in place stays there", error)
                continue
            if departed is not None:
                self.agent.set_stack(departed, status)

    def _remembered(self, stack: Stack) -> StackStatus:
        try:
            return self.folder.load(stack.key)
        except Exception as error:
            # It costs a verification and a look at every file; nothing is believed for its sake.
            log.error("%s; put aside", error, extra={"stack": str(stack)})
            self.folder.put_aside(stack.key)
            return StackStatus()

    async def follow(self, stop: asyncio.Event) -> None:
        """Load again whenever a file changes. What is wrong is logged, and what ran goes on."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
            try:
                now = (fingerprint(self.path), stamps(self._beside))
                if self._settled.is_news(now):
                    self.load()
                    log.info("loaded %s", self.path)
            except Exception as error:  # of whatever class: the next edit is to be read again
                if str(error) != self._trouble:
                    known = isinstance(error, (ConfigError, OSError))
                    log.error(
                        "%s; what ran before goes on", error, exc_info=None if known else error
                    )
                self._trouble = str(error)
            else:
                self._trouble = ""
