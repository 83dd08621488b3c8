"""Put an agent together: from files, or from a cluster's own objects."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from ocistate.agent.api import Stack
from ocistate.agent.embedded import FileSource, FolderKeeper, FolderPlaces
from ocistate.agent.memory import StateFolder, default_state_folder
from ocistate.agent.runtime import Agent
from ocistate.oci import StoreOptions, open_store
from ocistate.oci.store import Store

if TYPE_CHECKING:
    pass


@contextlib.asynccontextmanager
async def embedded_agent(
    stacks: Path,
    *,
    state: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
) -> AsyncIterator[tuple[Agent, FileSource]]:
    """An agent for the Stacks in files, its memory in a state folder. Raises ConfigError.

    A cluster is only connected to when a Stack belongs in one.
    """
    async with contextlib.AsyncExitStack() as resources:
        folder = _open_folder(state, resources)
        places = FolderPlaces(folder)
        agent = Agent(
            keeper=FolderKeeper(folder),
            places=places,
            folder=folder,
            connect=_connect,
            workers=workers,
        )
        yield agent, FileSource(agent, folder, stacks)


def _open_folder(state: Path | None, resources: contextlib.AsyncExitStack) -> StateFolder:
    folder = StateFolder(state or default_state_folder())
    folder.open()
    resources.callback(folder.close)
    return folder


def _connect(stack: Stack, options: StoreOptions) -> Store:
    return open_store(stack.source.repository, options)
