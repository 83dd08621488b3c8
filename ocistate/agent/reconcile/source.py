"""The first half of a pass: what the pointer names, proven to be trusted, and at hand.

What was found holds for an interval, and as long as the policies stay; what is on disk or in memory
is not fetched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from ocistate.agent.reconcile.cache import ContentCache
from ocistate.agent.reconcile.channel import follow_channel
from ocistate.agent.reconcile.context import ReconcileState, Services, TrustInputs
from ocistate.agent.reconcile.rollback import is_held
from ocistate.agent.reconcile.running import REASON, RunningTrust, with_running_trust
from ocistate.agent.reconcile.step import as_step, now_at
from ocistate.api.stack import Stack
from ocistate.api.status import (
    Current,
    StackStatus,
    Truth,
)
from ocistate.errors import (
    ConfigError,
    NotFound,
    OcistateError,
    TrustError,
    Unavailable,
)
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import Content
from ocistate.ops.signing.verify import Verified, verify_artifact
from ocistate.reference import Reference
from ocistate.semver import newest, parse_range

LOOK_SECONDS: Final = 10.0


@contextlib.asynccontextmanager
async def in_time(repository: Reference) -> AsyncIterator[None]:
    """The store is patient; but as long as it waits, no one looks after what runs.

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


@dataclass(slots=True)
class SourceResolution:
    """What a pass knows, and how it finds out what is wanted."""

    stack: Stack
    status: StackStatus
    reconcile_state: ReconcileState
    services: Services
    jitter: Callable[[], float]
    _digest: str = ""
    _tag: str = ""
    _served: bool = False
    """What runs has been looked after, though the registry is out of reach."""
    _said: bool = False
    """Whether this pass has verified what the pointer names, and said so."""
    _rules: TrustInputs = ("", ())

    async def _wanted(self) -> tuple[Content, Verified]:
        """What the pointer names, verified: as it was seen within the interval, or again."""
        if self._is_fresh() and (known := await self._known()) is not None:
            return known
        async with await self.services.connect_store(self.stack) as store:
            self.reconcile_state.resolve_again = False
            pointed = await self._resolve(store)
            self.reconcile_state.looked = None
            at = self.services.elapsed()
            self._choose(pointed)
            trust = await self._verify(store, self._digest)
            self._set_verified_condition(trust)
            content = await self._content(store)
        self.reconcile_state.looked = (self.stack, pointed, at)
        return content, trust

    async def _known(self) -> tuple[Content, Verified] | None:
        """What the pointer named when it was looked at last, if all of it is at hand."""
        if self.reconcile_state.looked is None or self.reconcile_state.looked[0] != self.stack:
            return None
        self._choose(self.reconcile_state.looked[1])
        trust, content = self._trust_of(self._digest), await self._at_hand(self._digest)
        return None if trust is None or content is None else (content, trust)

    def _choose(self, pointed: str) -> None:
        """What the pointer names, unless that was left again for what was healthy before."""
        last = self.status.last_healthy
        if last is not None and is_held(self.status, self.stack, pointed):
            self._digest, self._tag = last.digest, last.tag
        else:
            if self.status.held_back is not None:
                self.status = replace(self.status, held_back=None)
            self._digest, self._tag = pointed, self.reconcile_state.tag
        now_at(self._digest)

    def _is_fresh(self) -> bool:
        return not self.reconcile_state.resolve_again and self._age() < self.stack.source.interval

    def _age(self) -> float:
        """Seconds since the last look; for ever, when there is none."""
        looked = self.reconcile_state.looked
        return math.inf if looked is None else self.services.elapsed() - looked[2]

    @as_step("resolve")
    async def _resolve(self, store: Store) -> str:
        source = self.stack.source
        async with in_time(source.records):
            if not source.channel:
                self.reconcile_state.tag = (
                    await self._tag_in(store) if source.semver else source.tag
                )
                return (await store.resolve(source.digest or self.reconcile_state.tag)).digest
            self.reconcile_state.tag = ""
            pointed = await follow_channel(
                self.stack,
                store,
                connect=self.services.connect_store,
                policies=self.services.policies(),
                followed=self.status.channels,
                last=self.reconcile_state.pointed,
                now=self.services.now(),
                cluster=self.services.cluster,
            )
        if pointed.followed != self.status.channels:
            # Kept before it is used: what was accepted once is never gone back behind.
            await self.services.save(self.stack, replace(self.status, channels=pointed.followed))
            self.status = replace(self.status, channels=pointed.followed)
        self.reconcile_state.pointed = pointed
        if self.status.current is not None:
            self.status = replace(self.status, current=self._numbered(self.status.current))
        return pointed.digest

    def _numbered(self, current: Current) -> Current:
        """What is applied, with the channel's record that names it now."""
        pointed = self.reconcile_state.pointed
        if not self.stack.source.channel or pointed is None or pointed.digest != current.digest:
            return current
        epoch, sequence = pointed.record.record.number
        return replace(current, channel=self.stack.source.channel, epoch=epoch, sequence=sequence)

    async def _tag_in(self, store: Store) -> str:
        """The tag of the highest version in the range."""
        wanted = self.stack.source.semver
        tag = newest(await store.tags(), parse_range(wanted))
        if tag is None:
            raise NotFound(
                f"{store.reference} has no tag in the range {wanted!r}",
                hint="tags are versions like 1.2.3 or v1.2.3; fix spec.source.semver, or push one",
            )
        return tag

    @as_step("verify")
    async def _verify(self, store: Store, digest: str) -> Verified:
        trust = self._trust_of(digest)
        if trust is None:
            try:
                trust = await verify_artifact(
                    store, digest, self.services.policies(), policy_name=self.stack.policy or None
                )
            except (TrustError, ConfigError) as error:
                self.reconcile_state.refused = (self._rules, digest, error)
                raise
            self.reconcile_state.trusted = {
                known: outcome
                for known, outcome in self.reconcile_state.trusted.items()
                if known in self._worth_keeping()
            } | {digest: (self._rules, trust)}
        return trust

    def _worth_keeping(self) -> set[str]:
        """What may be gone back to, or be repaired without the registry."""
        known = (self.status.current, self.status.last_healthy)
        return {each.digest for each in known if each is not None}

    def _set_verified_condition(self, trust: Verified) -> None:
        self._said = True
        if trust.mode == "off":
            self._condition("Verified", "Unknown", "VerificationOff", trust.summary)
        elif not trust.satisfied:
            self._condition("Verified", "False", "NotEnforced", trust.summary)
        else:
            self._condition("Verified", "True", "Verified", trust.summary)

    async def _verify_running(self) -> None:
        """Verify what runs, where the pass came to an end before it was asked: with another
        artifact that fails, or a Stack that is suspended, there may be no other occasion."""
        current, refused = self.status.current, self.reconcile_state.refused
        if current is None or current.digest == self._digest or self.reconcile_state.unreachable:
            return
        known = refused is not None and refused[:2] == (self._rules, current.digest)
        if known or self._trust_of(current.digest) is not None:
            return
        with contextlib.suppress(OcistateError):  # then it stays unknown, and is looked at again
            async with (
                in_time(self.stack.source.repository),
                await self.services.connect_store(self.stack) as store,
            ):
                await self._verify(store, current.digest)

    def _set_running_trust_condition(self) -> None:
        """Say whether what runs is trusted by the policies that there are now."""
        if self.status.current is None:
            return
        digest, refused = self.status.current.digest, self.reconcile_state.refused
        trust, refusal = self._trust_of(digest), None
        if trust is None and refused is not None and refused[:2] == (self._rules, digest):
            refusal = refused[2]
        self.status, news = with_running_trust(
            self.status,
            RunningTrust(trust, refusal),
            now=self.services.now(),
            generation=self.stack.generation,
            newer=self._said,
        )
        if news:
            self.services.event(self.stack, "Warning", REASON, news)

    def _trust_of(self, digest: str) -> Verified | None:
        """The outcome of an earlier verification, if the policies are still the same."""
        rules, trust = self.reconcile_state.trusted.get(digest, (None, None))
        return trust if rules == self._rules else None

    async def _last_good(self, digest: str, *, ask: bool) -> Content | None:
        """What runs, if it is trusted; with ``ask`` what is not at hand may be asked for."""
        content, trusted = await self._at_hand(digest), self._trust_of(digest) is not None
        if content is not None and trusted:
            return content
        if not ask or (not trusted and digest == self._digest):
            return None  # it can't be had, or has just failed
        async with (
            in_time(self.stack.source.repository),
            await self.services.connect_store(self.stack) as store,
        ):
            await self._verify(store, digest)
            if content is None:
                content = await self._fetch(store, digest)
        return content

    async def _at_hand(self, digest: str) -> Content | None:
        """A content that is in memory or on disk, else None."""
        if self.reconcile_state.content is None or self.reconcile_state.content.digest != digest:
            content = await self._cache().load(digest)
            if content is None:
                return None
            self.reconcile_state.content = content
        return self.reconcile_state.content

    @as_step("fetch")
    async def _content(self, store: Store) -> Content:
        content = await self._at_hand(self._digest)
        if content is None:
            content = await self._fetch(store, self._digest)
        elif self.reconcile_state.unkept == self._digest:
            self._set_cached_condition(content, await self._cache().keep(store, content.manifest))
        return content

    async def _fetch(self, store: Store, digest: str) -> Content:
        content, trouble = await self._cache().fetch(store, digest)
        self.reconcile_state.content = content
        self._set_cached_condition(content, trouble)
        return content

    def _set_cached_condition(self, content: Content, trouble: str) -> None:
        """Without room for a copy on disk a rollout goes on, and each look tries again."""
        digest = content.digest
        if trouble and self.reconcile_state.unkept != digest:
            self.services.event(
                self.stack, "Warning", "NotKept", f"no copy of {digest} on disk: {trouble}"
            )
        self.reconcile_state.unkept = digest if trouble else ""

    def _cache(self) -> ContentCache:
        return self.services.cache(self.stack)

    def _condition(self, type_: str, truth: Truth, reason: str, message: str) -> None:
        self.status = self.status.with_condition(
            type_,
            truth,
            reason,
            message,
            now=self.services.now(),
            generation=self.stack.generation,
        )
