"""Where a Stack's content belongs: one interface for clusters and folders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ocistate.agent.targets.folder import FileAction, OwnedFolder
from ocistate.api.stack import ALLOW_PRUNE, Stack
from ocistate.apply.desired.prepare import IgnoredFields
from ocistate.apply.plan import guard_removal
from ocistate.errors import ConfigError, TargetError
from ocistate.health.vanishing import Run
from ocistate.ops.artifact.fetch import Content
from ocistate.watch.conflicts import Contest


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply did, counted, and what went wrong with single objects."""

    created: int = 0
    changed: int = 0
    kept: int = 0
    pruned: int = 0
    errors: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    """What was found different from the artifact though the artifact had not changed."""

    runs: tuple[Run, ...] = ()
    """What to remember of objects that are meant to vanish."""

    waiting: str = ""
    """What else is to be done, later; empty: nothing."""

    @property
    def touched(self) -> int:
        """How many objects are not what they were."""
        return self.created + self.changed + self.pruned

    def __str__(self) -> str:
        return (
            f"{self.created} created, {self.changed} changed, {self.kept} unchanged, "
            f"{self.pruned} pruned"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """How the objects are: counts by status, and the one that matters most."""

    counts: Mapping[str, int] = field(default_factory=dict)
    worst: str = ""
    """``Healthy``, ``Progressing`` or ``Degraded``: of all of them together."""
    message: str = ""
    contested: tuple[Contest, ...] = ()
    """What others want otherwise, and neither side gives in."""
    runs: tuple[Run, ...] = ()
    """What to remember of objects that are meant to vanish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What a removal did: how many objects went, and which ones stay, as no one's, and why."""

    count: int
    kept: tuple[str, ...] = ()


class Target(Protocol):
    """One Stack's place. Raises errors of the ClusterError branch, or TargetError."""

    def kinds(self, content: Content) -> tuple[str, ...]:
        """The kinds an apply will touch, to be remembered before it starts."""
        ...

    async def drifted(self, content: Content) -> Sequence[str]:
        """What is known, or must be suspected, to differ from the content: objects, or files."""
        ...

    async def apply(self, content: Content, *, changed: bool, dry_run: bool = False) -> Applied:
        """Make the place equal to the content. ``changed`` is False for a mere repair."""
        ...

    async def health(self) -> HealthReport:
        """How the objects are now."""
        ...

    async def explain(self) -> str:
        """Why the object that matters most is not well, as its parts tell; may be empty."""
        ...

    async def remove(self) -> Removed:
        """Take away everything that is the Stack's."""
        ...

    async def release(self) -> None:
        """Leave everything where it is, as no one's."""
        ...

    def forget(self) -> None:
        """The Stack is gone: remember nothing of it any more."""
        ...


class TargetFactory(Protocol):
    """Makes the place a Stack belongs in."""

    def stack_target(self, stack: Stack, wake: Callable[[float], None]) -> Target:
        """The place; ``wake`` is called, with a delay in seconds, when something changed there."""
        ...

    def reachable(self) -> Mapping[str, bool]:
        """Of each cluster that Stacks name: whether it answered when it was last asked."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """How much is held in memory of what is there, by what it is."""
        ...


def ignore_rules(stack: Stack) -> list[IgnoredFields]:
    """The fields a Stack leaves to others. Raises ConfigError for those that it cannot."""
    return [
        IgnoredFields(kind=r.kind, name=r.name, pointers=r.json_pointers) for r in stack.spec.ignore
    ]


def allow_hint(digest: str) -> str:
    """How a person lets an artifact remove as much as it does."""
    return f"if that is meant, annotate the Stack: {ALLOW_PRUNE}={digest}"


def select_path(content: Content, path: str) -> Mapping[str, bytes]:
    """The files of one folder inside the artifact, or all. Raises ConfigError for none."""
    if not path:
        return content.files
    prefix = f"{path}/"
    chosen = {name: data for name, data in content.files.items() if name.startswith(prefix)}
    if not chosen:
        raise ConfigError(
            f"the artifact {content.digest} holds no folder {path}",
            hint="fix spec.source.path; 'ocistate inspect' lists what there is",
        )
    return chosen


@dataclass(slots=True)
class FolderTarget:
    """A folder as a Stack's target: its files are put there as they are in the artifact."""

    stack: Stack
    target: OwnedFolder

    def kinds(self, content: Content) -> tuple[str, ...]:
        return ()

    async def drifted(self, content: Content) -> Sequence[str]:
        # In threads: unpacking, hashing and writing files takes time, and others share the loop.
        plan = await asyncio.to_thread(self._plan, content)
        return [action.path for action in plan if action.verb != "keep"]

    async def apply(self, content: Content, *, changed: bool, dry_run: bool = False) -> Applied:
        return await asyncio.to_thread(self._apply, content, changed=changed, dry_run=dry_run)

    def _plan(self, content: Content) -> Sequence[FileAction]:
        return self.target.plan(self._files(content), prune=self.stack.spec.prune)

    def _apply(self, content: Content, *, changed: bool, dry_run: bool) -> Applied:
        files = self._files(content)
        # A layer that is not what its inventory says goes nowhere.
        resources = content.resources().values()
        objects = {str(each.id) for each in resources if each.path in files}
        self._guard(content, objects)
        if dry_run:
            actions = self.target.plan(files, prune=self.stack.spec.prune)
        else:
            actions = self.target.apply(files, prune=self.stack.spec.prune, objects=objects)
        verbs = [action.verb for action in actions]
        return Applied(
            created=verbs.count("create"),
            changed=verbs.count("change"),
            kept=verbs.count("keep"),
            pruned=verbs.count("prune"),
            drifted=()
            if changed
            else tuple(action.path for action in actions if action.verb != "keep"),
        )

    def _guard(self, content: Content, objects: Collection[str]) -> None:
        """Raises MassPrune. Objects count, not files: one file may hold all of them."""
        stack, before = self.stack, self.target.objects()
        gone = sorted(before.difference(objects)) if stack.spec.prune else []
        if stack.allow_prune != content.digest:
            guard_removal(
                gone,
                len(before),
                percent=stack.spec.max_prune_percent,
                hint=allow_hint(content.digest),
            )

    async def health(self) -> HealthReport:
        return HealthReport(counts={"total": len(self.target.owned())}, worst="Healthy")

    async def explain(self) -> str:
        return ""

    async def remove(self) -> Removed:
        return Removed(count=len(await asyncio.to_thread(self.target.remove)))

    async def release(self) -> None:
        self.target.record.unlink(missing_ok=True)

    def forget(self) -> None:
        """Nothing to forget."""

    def _files(self, content: Content) -> Mapping[str, bytes]:
        if self.stack.spec.force_namespace or self.stack.spec.namespace:
            raise TargetError(
                f"Stack {self.stack}: a folder has no namespace to put objects into",
                hint="remove spec.namespace, or name the namespace in the manifests",
            )
        return select_path(content, self.stack.spec.source.path)
