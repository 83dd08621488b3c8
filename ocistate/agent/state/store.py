"""Where status is saved and Events are emitted: one interface for a state folder and a cluster."""

from __future__ import annotations

from typing import Protocol

from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.oci import StoreOptions


class StatusStore(Protocol):
    """Keeps what must be remembered of Stacks, and what only their objects say."""

    async def prepare(self, stack: Stack) -> None:
        """See to it that the Stack is not gone before its objects are dealt with."""
        ...

    async def save(self, stack: Stack, status: StackStatus) -> None:
        """Keep a status. Raises errors of the tree."""
        ...

    async def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Emit an Event. Best effort: failures are dropped."""
        ...

    async def connect_options(self, stack: Stack) -> StoreOptions:
        """How to reach the Stack's repository: credentials, CA."""
        ...

    async def is_abandoned(self, stack: Stack) -> bool:
        """Whether the Stack's surroundings go away with it, and its rights to remove anything."""
        ...

    async def forget(self, stack: Stack) -> None:
        """The Stack is gone and its objects are dealt with: let it go."""
        ...

    async def ask(self, stack: Stack) -> None:
        """Have the agent whose Stack it is look now."""
        ...
