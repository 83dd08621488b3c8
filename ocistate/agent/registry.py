"""The Stacks there are: what is known of each, and what they are to each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ocistate.agent.dependencies import Followers, find_cycle
from ocistate.agent.reconcile.state import ReconcileState
from ocistate.agent.targets.base import Target
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.errors import OcistateError
from ocistate.health.vanishing import Run
from ocistate.objects import StackKey
from ocistate.watch.conflicts import Contest


@dataclass(slots=True)
class StackEntry:
    """All that is known of one Stack."""

    stack: Stack
    status: StackStatus
    reconcile_state: ReconcileState = field(default_factory=ReconcileState)
    stack_target: tuple[Stack, Target] | None = None
    """The target, as this spec describes it."""
    refusal: tuple[int, OcistateError] | None = None
    """A later generation of the spec, and why it can't be read; ``stack`` is the one before."""
    saved: StackStatus | None = None
    passes: Counter[str] = field(default_factory=Counter)
    """How many have ended, by the reason they left on Ready."""
    removals: int = 0
    """How often it could not be removed."""
    requests: int = 0
    """How often a webhook asked for a look."""
    asked: float = -math.inf
    """When a webhook last asked for a look."""

    def where_it_is(self) -> Stack:
        """The Stack with the target that its objects were applied to, whatever its spec says."""
        where = self.status.target
        if where is None:
            return self.stack
        return self.stack.with_target(where.as_target)


@dataclass(slots=True)
class Stacks(Mapping[StackKey, StackEntry]):
    """What is known, by namespace and name."""

    has_loaded: bool = False
    """Whether all Stacks have been read once."""
    _entries: dict[StackKey, StackEntry] = field(default_factory=dict)
    _followers: Followers = field(default_factory=Followers)
    """Which Stacks depend on a Stack, or may adopt its objects."""

    def __getitem__(self, key: StackKey) -> StackEntry:
        return self._entries[key]

    def __iter__(self) -> Iterator[StackKey]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def mark_loaded(self) -> None:
        """All Stacks have been read once."""
        self.has_loaded = True

    def put(self, entry: StackEntry) -> None:
        """Know this of the Stack, and nothing else."""
        self._entries[entry.stack.key] = entry
        self.respecify(entry, entry.stack)

    def respecify(self, entry: StackEntry, stack: Stack) -> None:
        """The Stack's spec is this now."""
        entry.stack, entry.refusal = stack, None
        self._followers.set(stack.key, {*stack.depends_on, *stack.adopt_from})

    def drop(self, key: StackKey) -> StackEntry | None:
        """Know nothing of it any more; what was known."""
        self._followers.drop(key)
        return self._entries.pop(key, None)

    # What other parts ask

    def kinds(self, stack: Stack) -> tuple[str, ...]:
        """The kinds that a Stack has, or may have, objects of."""
        entry = self.get(stack.key)
        return entry.status.kinds if entry else ()

    def contests(self, stack: Stack) -> tuple[Contest, ...]:
        """The objects of a Stack that others want otherwise."""
        entry = self.get(stack.key)
        return entry.status.contested if entry else ()

    def runs(self, stack: Stack) -> tuple[Run, ...]:
        """What a Stack has applied of objects that are meant to vanish."""
        entry = self.get(stack.key)
        return entry.status.runs if entry else ()

    # What they are to each other

    def followers(self, key: StackKey) -> Collection[StackKey]:
        """The Stacks that depend on this one, or may adopt its objects."""
        return self._followers.of(key)

    def waiting_for(self, key: StackKey) -> list[StackKey]:
        """The Stacks that depend on this one and are not ready."""
        followers = ((other, self[other]) for other in self._followers.of(key))
        return [
            other
            for other, entry in followers
            if key in entry.stack.depends_on and not entry.status.is_true("Ready")
        ]

    def is_ready(self, key: StackKey) -> bool | None:
        """Whether a Stack is Ready, by its newest spec; None when there is none of that name."""
        entry = self.get(key)
        if entry is None:
            return None
        seen = entry.status.observed_generation == entry.stack.generation
        return seen and entry.status.is_true("Ready")

    def cycle(self, stack: Stack) -> tuple[StackKey, ...]:
        """The Stacks through which one depends on itself; empty when it does not."""
        if not stack.depends_on:
            return ()
        return find_cycle(stack.key, _Dependencies(self))

    def adoptable_owners(self, stack: Stack) -> frozenset[str]:
        """The owners whose objects a Stack may take over: both sides must say so."""
        others = (self.get(key) for key in stack.adopt_from)
        return frozenset(
            other.stack.uid for other in others if other and stack.key in other.stack.hand_over_to
        )

    def called(self, stack: Stack, owner: str) -> str:
        """The name of an owner as a Stack may see it; empty: not at all.

        Owners of its namespace by their name; existing ones elsewhere not, for their UID is what a
        forged label needs. An owner that no longer exists is named by its UID, which is what a
        search for it needs. Nothing is said before all Stacks are known.
        """
        if not self.has_loaded:
            return ""
        others = (entry.stack for entry in self._entries.values() if entry.stack.uid == owner)
        other = next(others, None)
        if other is None:
            return owner
        return str(other) if other.namespace == stack.namespace else ""

    def handover_owners(self, stack: Stack) -> frozenset[str]:
        """The owners that a Stack leaves objects to."""
        others = (self.get(key) for key in stack.hand_over_to)
        return frozenset(
            other.stack.uid for other in others if other and stack.key in other.stack.adopt_from
        )


@dataclass(frozen=True, slots=True)
class _Dependencies(Mapping[StackKey, tuple[StackKey, ...]]):
    stacks: Stacks

    def __getitem__(self, key: StackKey) -> tuple[StackKey, ...]:
        return self.stacks[key].stack.depends_on

    def __iter__(self) -> Iterator[StackKey]:
        return iter(self.stacks)

    def __len__(self) -> int:
        return len(self.stacks)
