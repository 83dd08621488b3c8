"""Remove old artifacts from a repository, with what refers to them; never what is still needed.

A registry lists tags, and no manifest without one: what has no tag is its own garbage collection's.
A layout and an archive list all that they hold.
What refers to an artifact is removed before the artifact itself, so that a run that is cut short
finds the rest by its tag the next time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ocistate.canonical import DIGEST_PATTERN
from ocistate.concurrency import each
from ocistate.errors import ArtifactError, NotFound, StoreError
from ocistate.oci.local.indexed import IndexedStore
from ocistate.oci.model import Index, Manifest
from ocistate.oci.store import Store
from ocistate.oci.tags import (
    LEGACY_SUFFIXES,
    fallback_tag,
    is_by_digest,
    is_channel,
    legacy_tag,
    names_artifact,
)
from ocistate.ops.repository.copy import read_records
from ocistate.ops.repository.listing import CREATED, read_created
from ocistate.ops.repository.retention import (
    Artifact,
    RetentionDecision,
    RetentionRules,
    decide_retention,
)

_MAX_NESTING = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPlan:
    """What is kept and what goes, by ``decisions``; ``tags`` are all that the repository has.

    ``needed`` are the digests that are not touched, whatever refers to them or lists them.
    """

    decisions: Sequence[RetentionDecision]
    needed: frozenset[str]
    tags: frozenset[str]

    @property
    def doomed(self) -> list[RetentionDecision]:
        """What goes, the oldest last."""
        return [decision for decision in self.decisions if not decision.keep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One artifact that goes. ``digests`` are the manifests that go with it, itself the last;
    ``targets`` are those and the tags, in the order in which they are deleted."""

    decision: RetentionDecision
    digests: tuple[str, ...]
    targets: tuple[str, ...]


async def plan_gc(store: Store, rules: RetentionRules, now: datetime) -> CleanupPlan:
    """Decide on each artifact of a repository. Raises StoreError, and ArtifactError for a channel's
    record that cannot be read: what it names is then not known, and nothing may be removed.
    """
    tags = await store.tags()
    pinned = await _pinned(store, [tag for tag in tags if is_channel(tag)])
    targets = list(filter(names_artifact, tags))
    if rules.untagged and isinstance(store, IndexedStore):
        targets += [item.digest for item in await store.untagged()]
    found = await each(targets, lambda target: _manifest(store, target))
    artifacts: dict[str, Artifact] = {}
    for target, manifest in found:
        if manifest is None:
            continue  # removed since it was listed
        digest = manifest.descriptor.digest
        known = artifacts.get(digest)
        artifacts[digest] = Artifact(
            digest=digest,
            tags=(*(known.tags if known else ()), *((target,) if target != digest else ())),
            created=read_created(manifest.annotations.get(CREATED, "")),
            needs=_needs(manifest),
        )
    decisions = decide_retention(artifacts.values(), rules, pinned, now)
    needed = set(pinned)
    for decision in decisions:
        if decision.keep:
            needed |= {decision.artifact.digest, *decision.artifact.needs}
    needed |= await _parts(store, needed)
    return CleanupPlan(decisions=decisions, needed=frozenset(needed), tags=frozenset(tags))


async def plan_removals(store: Store, plan: CleanupPlan) -> list[Removal]:
    """What goes with each artifact that goes."""
    return await each(plan.doomed, lambda decision: _removal(store, plan, decision), at_once=8)


async def remove(
    store: Store, removals: Sequence[Removal], done: Callable[[Removal], None] = lambda _: None
) -> int:
    """Remove artifacts, and free what they leave; how many bytes that was."""

    async def one(removal: Removal) -> None:
        for target in removal.targets:
            await _delete(store, target)
        done(removal)

    await each(removals, one, at_once=8)
    return await store.sweep()


async def _pinned(store: Store, tags: Sequence[str]) -> Mapping[str, str]:
    """What channels' records name, and the records themselves; by whom."""
    pinned: dict[str, str] = {}
    for item in await read_records(store, tags):
        if item.record is None:
            raise ArtifactError(
                f"the tag {item.tag} of {store.reference} holds no channel's record that can be "
                "read, so what it names is not known: nothing is removed",
                hint="fix or delete that tag",
            )
        pinned[item.digest] = f"the tag {item.tag}"
        for digest in item.record.digests:
            pinned[digest] = f"the channel record {item.record}"
    return pinned


async def _manifest(store: Store, target: str) -> tuple[str, Manifest | Index | None]:
    try:
        return target, await store.fetch_manifest(target)
    except NotFound:
        return target, None


def _needs(manifest: Manifest | Index) -> tuple[str, ...]:
    parts = manifest.manifests if isinstance(manifest, Index) else ()
    subject = (manifest.subject,) if manifest.subject else ()
    return tuple(part.digest for part in (*parts, *subject))


async def _parts(store: Store, roots: set[str]) -> set[str]:
    """What the given manifests list and refer to, and what that does, and so on."""
    seen: set[str] = set()
    waiting = roots
    for _ in range(_MAX_NESTING):
        waiting = waiting - seen
        if not waiting:
            break
        seen |= waiting
        found = await each(waiting, lambda digest: _manifest(store, digest))
        waiting = {d for _, manifest in found if manifest is not None for d in _needs(manifest)}
    return seen


async def _removal(store: Store, plan: CleanupPlan, decision: RetentionDecision) -> Removal:
    """An artifact and what goes with it, deepest first, without what something else needs."""
    family: dict[str, tuple[str, ...]] = {decision.artifact.digest: decision.artifact.tags}
    waiting = [decision.artifact.digest]
    while waiting:
        digest = waiting.pop(0)
        found: dict[str, tuple[str, ...]]
        found = {item.digest: () for item in await store.referrers(digest)}
        _, manifest = await _manifest(store, digest)
        if isinstance(manifest, Index):
            found |= {item.digest: () for item in manifest.manifests}
        found |= await _carriers(store, plan, digest)
        new = [item for item in found if item not in family and item not in plan.needed]
        family |= {item: found[item] for item in new}
        waiting += new
    targets: list[str] = []
    for digest, tags in reversed(family.items()):
        beside = (fallback_tag(digest), legacy_tag(digest, ".sbom"))
        targets += [*(tag for tag in beside if tag in plan.tags), digest, *tags]
    return Removal(decision=decision, digests=tuple(reversed(family)), targets=tuple(targets))


async def _carriers(store: Store, plan: CleanupPlan, digest: str) -> dict[str, tuple[str, ...]]:
    """The manifests that carry an artifact's older signatures, with their tags.

    A description (``.sbom``) may serve several artifacts: of that only the tag goes.
    """
    found: dict[str, tuple[str, ...]] = {}
    for suffix in LEGACY_SUFFIXES:
        tag = legacy_tag(digest, suffix)
        if tag in plan.tags and suffix != ".sbom":
            _, manifest = await _manifest(store, tag)
            if manifest is not None:
                found[manifest.descriptor.digest] = (tag,)
    return found


async def _delete(store: Store, target: str) -> None:
    """Delete a manifest or a tag; nothing happens when it is gone already.

    Some registries keep a tag whose manifest was deleted by its digest, and some delete no tag: so
    a list of referrers, which only its tag names, is deleted by its digest first. Empty lists are
    one manifest, whichever tags name it: when another one was deleted, ours may be a mere name.
    """
    if is_by_digest(target) and "." not in target:
        with contextlib.suppress(NotFound):
            await store.delete((await store.resolve(target)).digest)
        try:
            await store.delete(target)
        except StoreError:
            with contextlib.suppress(NotFound):
                await store.resolve(target)
                raise
        return
    with contextlib.suppress(NotFound):
        if not DIGEST_PATTERN.fullmatch(target):
            await store.resolve(target)
        await store.delete(target)
