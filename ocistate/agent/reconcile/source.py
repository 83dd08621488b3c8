"""The first phases of a pass: what the pointer names, proven to be trusted, and in memory.

What is on disk or in memory is not fetched again; what is verified is not verified again while the
policies stay.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Final

from ocistate.agent.reconcile.channel import Pointed, follow_channel
from ocistate.agent.reconcile.context import Inputs, Progress, advance, worth_keeping
from ocistate.agent.reconcile.outcome import Chosen, Failed, Fetched, Found, Resolved, Verification
from ocistate.agent.reconcile.phase import log_digest, phase
from ocistate.agent.reconcile.rollback import is_held
from ocistate.agent.reconcile.state import Look, ReconcileState
from ocistate.api.status import StackStatus
from ocistate.errors import ConfigError, NotFound, OcistateError, TrustError, Unavailable
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import Content
from ocistate.ops.signing.verify import verify_artifact
from ocistate.reference import Reference
from ocistate.semver import newest, parse_range

LOOK_SECONDS: Final = 10.0


@contextlib.asynccontextmanager
async def in_time(repository: Reference) -> AsyncIterator[None]:
    """The store is patient; but as long as it waits, what runs is not looked after.

    Raises Unavailable.
    """
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            yield
    except TimeoutError:
        raise Unavailable(
            f"{repository} did not answer within {LOOK_SECONDS:g} s",
            hint="is the registry up, and reachable from here?",
        ) from None


@phase("connect", measured=False)
async def connect(inputs: Inputs, state: ReconcileState) -> tuple[Store, ReconcileState]:
    """Open the Stack's repository."""
    return await inputs.services.connect_store(inputs.stack), state


@phase("resolve")
async def resolve(
    inputs: Inputs, state: ReconcileState, store: Store, status: StackStatus
) -> tuple[Resolved, ReconcileState]:
    """What the pointer names now. A channel's record has yet to be saved before it is used."""
    source = inputs.stack.spec.source
    async with in_time(source.records.reference):
        if source.channel:
            record = await _follow(inputs, state, store, status)
            return Resolved(digest=record.digest, record=record), state
        tag = await _tag_in(store, source.semver) if source.semver else source.tag
        found = await store.resolve(source.digest or tag)
    return Resolved(digest=found.digest, tag=tag), state


async def _follow(
    inputs: Inputs, state: ReconcileState, store: Store, status: StackStatus
) -> Pointed:
    return await follow_channel(
        inputs.stack,
        store,
        connect=inputs.services.connect_store,
        policies=inputs.trust.policies,
        followed=status.channels,
        last=state.record,
        now=inputs.services.now(),
        cluster=inputs.services.cluster,
    )


async def _tag_in(store: Store, versions: str) -> str:
    """The tag of the highest version in a range."""
    tag = newest(await store.tags(), parse_range(versions))
    if tag is None:
        raise NotFound(
            f"{store.reference} has no tag in the range {versions!r}",
            hint="tags are versions like 1.2.3 or v1.2.3; fix spec.source.semver, or push one",
        )
    return tag


@phase("verify")
async def verify(
    inputs: Inputs, state: ReconcileState, store: Store, digest: str, *, keep: Collection[str]
) -> tuple[Verification | Failed, ReconcileState]:
    """Whether a digest is trusted. Of earlier results, those of ``keep`` stay remembered."""
    trust = state.trust_of(digest, inputs.trust)
    if trust is not None:
        return Verification(trust=trust), state
    try:
        trust = await verify_artifact(
            store, digest, inputs.trust.policies, policy_name=inputs.trust.policy or None
        )
    except (TrustError, ConfigError) as error:
        return Failed(error=error), state.refused(digest, inputs.trust, error)
    return Verification(trust=trust), state.verified(digest, inputs.trust, trust, keep=keep)


@phase("verify what runs", measured=False)
async def verify_again(
    inputs: Inputs, state: ReconcileState, digest: str, *, keep: Collection[str]
) -> tuple[Verification | Failed, ReconcileState]:
    """Whether a digest that runs is still trusted."""
    async with (
        in_time(inputs.stack.spec.source.repository.reference),
        await inputs.services.connect_store(inputs.stack) as store,
    ):
        return await verify(inputs, state, store, digest, keep=keep)


@phase("load", measured=False)
async def load(
    inputs: Inputs, state: ReconcileState, digest: str
) -> tuple[Content | None, ReconcileState]:
    """An artifact that is in memory or on disk, else None."""
    if state.content is not None and state.content.digest == digest:
        return state.content, state
    content = await inputs.services.cache(inputs.stack).load(digest)
    return content, state if content is None else state.loaded(content)


@phase("fetch")
async def fetch(
    inputs: Inputs, state: ReconcileState, store: Store, digest: str
) -> tuple[Fetched | Failed, ReconcileState]:
    """Have an artifact in memory, and a copy on disk.

    Without room for a copy a rollout continues, and each look at the registry tries again.
    """
    content, state = await load(inputs, state, digest)
    if isinstance(content, Failed):
        return content, state
    cache = inputs.services.cache(inputs.stack)
    if content is None:
        content, trouble = await cache.fetch(store, digest)
    elif state.uncached == digest:
        trouble = await cache.keep(store, content.manifest)
    else:
        return Fetched(content=content), state
    is_news = state.uncached != digest
    state = state.fetched(content, cached=not trouble)
    return Fetched(content=content, trouble=trouble if is_news else ""), state


@phase("retrieve", measured=False)
async def retrieve(
    inputs: Inputs, state: ReconcileState, digest: str, *, keep: Collection[str]
) -> tuple[Found | Failed, ReconcileState]:
    """Verify and fetch a digest that the pointer does not name now."""
    async with await inputs.services.connect_store(inputs.stack) as store:
        async with in_time(inputs.stack.spec.source.repository.reference):
            await store.resolve(digest)
        return await _retrieve(inputs, state, store, digest, keep)


@phase("last good", measured=False)
async def last_good(
    inputs: Inputs, state: ReconcileState, digest: str, *, ask: bool, keep: Collection[str]
) -> tuple[Found | Failed | None, ReconcileState]:
    """What runs, if it is trusted; with ``ask`` the registry, or its mirrors, may be asked."""
    content, state = await load(inputs, state, digest)
    if isinstance(content, Failed):
        return content, state
    trust = state.trust_of(digest, inputs.trust)
    if content is not None and trust is not None:
        return Found(content=content, trust=trust), state
    if not ask:
        return None, state
    async with (
        in_time(inputs.stack.spec.source.repository.reference),
        await inputs.services.connect_store(inputs.stack) as store,
    ):
        return await _retrieve(inputs, state, store, digest, keep)


async def _retrieve(
    inputs: Inputs, state: ReconcileState, store: Store, digest: str, keep: Collection[str]
) -> tuple[Found | Failed, ReconcileState]:
    trust, state = await verify(inputs, state, store, digest, keep=keep)
    if isinstance(trust, Failed):
        return trust, state
    fetched, state = await fetch(inputs, state, store, digest)
    if isinstance(fetched, Failed):
        return fetched, state
    return Found(content=fetched.content, trust=trust.trust, trouble=fetched.trouble), state


async def find(inputs: Inputs, progress: Progress) -> tuple[Found | Failed, Progress]:
    """What the pointer names, verified: as it was seen within the interval, or again."""
    if inputs.is_fresh(progress.state):
        known, progress = await recall(inputs, progress)
        if known is not None:
            return known, progress
    store, _ = await connect(inputs, progress.state)
    if isinstance(store, Failed):
        return store, progress
    async with store:
        return await _ask(inputs, progress, store)


async def _ask(inputs: Inputs, progress: Progress, store: Store) -> tuple[Found | Failed, Progress]:
    progress = replace(progress, state=progress.state.asking(inputs.requests))
    resolved, state = await resolve(inputs, progress.state, store, progress.status)
    if isinstance(resolved, Failed):
        return resolved, progress
    followed = advance(inputs, progress, resolved)
    if followed.status.channels != progress.status.channels:
        # Saved before it is used: what was accepted once is never gone back behind.
        try:
            await inputs.services.save(inputs.stack, followed.status)
        except OcistateError as error:
            return Failed(error=error), progress
    look = Look(
        stack=inputs.stack,
        digest=resolved.digest,
        tag=resolved.tag,
        at=inputs.services.elapsed(),
    )
    progress = replace(followed, state=state.resolved(resolved.record))
    progress = _choose(inputs, progress, look)
    digest, keep = progress.digest, worth_keeping(progress.status)
    verified, state = await verify(inputs, progress.state, store, digest, keep=keep)
    progress = replace(progress, state=state)
    if isinstance(verified, Failed):
        return verified, progress
    progress = replace(advance(inputs, progress, verified), verified=True)
    fetched, state = await fetch(inputs, state, store, digest)
    if isinstance(fetched, Failed):
        return fetched, replace(progress, state=state)
    progress = advance(inputs, replace(progress, state=state.found(look)), fetched)
    return Found(content=fetched.content, trust=verified.trust), progress


async def recall(inputs: Inputs, progress: Progress) -> tuple[Found | None, Progress]:
    """What the pointer named at the last look, if it is trusted, and in memory or on disk."""
    look = progress.state.look
    if look is None or look.stack != inputs.stack:
        return None, progress
    progress = _choose(inputs, progress, look)
    trust = progress.state.trust_of(progress.digest, inputs.trust)
    content, state = await load(inputs, progress.state, progress.digest)
    progress = replace(progress, state=state)
    if trust is None or content is None or isinstance(content, Failed):
        return None, progress
    return Found(content=content, trust=trust), progress


def _choose(inputs: Inputs, progress: Progress, look: Look) -> Progress:
    """What the pointer names, unless that was left for what was healthy before."""
    last = progress.status.last_healthy
    if last is not None and is_held(progress.status, inputs.stack, look.digest):
        chosen = Chosen(digest=last.digest, tag=last.tag, held_back=True)
    else:
        chosen = Chosen(digest=look.digest, tag=look.tag)
    log_digest(chosen.digest)
    progress = advance(inputs, progress, chosen)
    return replace(progress, digest=chosen.digest, tag=chosen.tag)
