"""Remove old artifacts from a repository, with what refers to them; never what is still needed.

A registry lists tags, and no manifest without one: what has no tag is its own garbage collection's.
What refers to an artifact is removed before the artifact itself, so that a run that is cut short
finds the rest by its tag the next time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ocistate.errors import ArtifactError, NotFound
from ocistate.oci.model import Index, Manifest
from ocistate.oci.parallel import each
from ocistate.oci.store import Store
from ocistate.oci.tags import (
    LEGACY_SUFFIXES,
    fallback_tag,
    is_channel,
    legacy_tag,
    names_artifact,
)
from ocistate.steps.copy import read_records
from ocistate.steps.listing import CREATED, read_created
from ocistate.steps.retention import Artifact, Decision, Rules, decide_retention

_MAX_NESTING = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is kept and what goes, by ``decisions``; ``tags`` are all that the repository has.

    ``needed`` are the digests that are not touched, whatever refers to them or lists them.
    """

    decisions: Sequence[Decision]
    needed: frozenset[str]
    tags: frozenset[str]

    @property
    def doomed(self) -> list[Decision]:
        """What goes, the oldest last."""
        return [decision for decision in self.decisions if not decision.keep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One artifact that goes, and the manifests and tags that go with it, in that order."""

    decision: Decision
    digests: tuple[str, ...]
    tags: tuple[str, ...]


async def plan_gc(store: Store, rules: Rules, now: datetime) -> Plan:
    """Decide on each artifact of a repository. Raises StoreError, and ArtifactError for a channel's
    record that cannot be read: what it names is then not known, and nothing may be removed.
    """
    tags = await store.tags()
    pinned = await _pinned(store, [tag for tag in tags if is_channel(tag)])
    found = await each(filter(names_artifact, tags), lambda tag: _manifest(store, tag))
    artifacts: dict[str, Artifact] = {}
    for tag, manifest in found:
        if manifest is None:
            continue  # removed since the tags were listed
        digest = manifest.descriptor.digest
        known = artifacts.get(digest)
        artifacts[digest] = Artifact(
            digest=digest,
            tags=(*(known.tags if known else ()), tag),
            created=read_created(manifest.annotations.get(CREATED, "")),
            needs=_needs(manifest),
        )
    decisions = decide_retention(artifacts.values(), rules, pinned, now)
    needed = set(pinned)
    for decision in decisions:
        if decision.keep:
            needed |= {decision.artifact.digest, *decision.artifact.needs}
    needed |= await _parts(store, needed)
    return Plan(decisions=decisions, needed=frozenset(needed), tags=frozenset(tags))


async def plan_removals(store: Store, plan: Plan) -> list[Removal]:
    """What goes with each artifact that goes."""
    return await each(plan.doomed, lambda decision: _removal(store, plan, decision), at_once=8)


async def remove(
    store: Store, removals: Sequence[Removal], done: Callable[[Removal], None] = lambda _: None
) -> int:
    """Remove artifacts one after the other, and free what they leave; how many bytes that was."""
    for removal in removals:
        for digest in removal.digests:
            await _delete(store, digest)
        for tag in removal.tags:
            # Some registries keep a tag whose manifest was deleted by its digest.
            await _delete(store, tag)
        done(removal)
    return await store.sweep()


async def _pinned(store: Store, tags: Sequence[str]) -> Mapping[str, str]:
    """What channels' records name, and the records themselves; by whom."""
    pinned: dict[str, str] = {}
    for item in await read_records(store, tags):
        if item.record is None:
            raise ArtifactError(
                f"the tag {item.tag} of {store.reference} holds no channel's record that can be "
                "read, so what it names is not known: nothing is removed",
                hint="mend or delete that tag",
            )
        pinned[item.digest] = f"the tag {item.tag}"
        for digest in item.record.subjects.values():
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


async def _removal(store: Store, plan: Plan, decision: Decision) -> Removal:
    """The family of an artifact, deepest first, without what something else needs."""
    family = [decision.artifact.digest]
    tags: list[str] = [*decision.artifact.tags]
    place = 0
    while place < len(family):
        digest = family[place]
        place += 1
        found = [item.digest for item in await store.referrers(digest)]
        _, manifest = await _manifest(store, digest)
        if isinstance(manifest, Index):
            found += [item.digest for item in manifest.manifests]
        for tag in (fallback_tag(digest), *(legacy_tag(digest, s) for s in LEGACY_SUFFIXES)):
            if tag in plan.tags:
                tags.insert(0, tag)
                _, carrier = await _manifest(store, tag)
                # One description may serve several artifacts: of that only the tag goes.
                if carrier is not None and not tag.endswith(".sbom"):
                    found.append(carrier.descriptor.digest)
        family += [d for d in found if d not in family and d not in plan.needed]
    return Removal(decision=decision, digests=tuple(reversed(family)), tags=tuple(tags))


async def _delete(store: Store, target: str) -> None:
    with contextlib.suppress(NotFound):
        await store.delete(target)
