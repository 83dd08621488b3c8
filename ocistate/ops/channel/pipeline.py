"""See how a pipeline stands, and move whatever may move.

Facts come from the registry alone: the channels' records, the artifacts, what was attested of them,
and the clusters' reports. A stage is moved on top of the very record that was looked at, and only
while what feeds it is what it was; whoever comes second finds it done.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from ocistate.artifact.inventory import Inventory
from ocistate.channel.change import Why, promoted
from ocistate.channel.fleet import Fleet
from ocistate.channel.gates import (
    Approvals,
    Attested,
    Changes,
    Facts,
    Gate,
    GateOutcome,
    Healthy,
    evaluate,
)
from ocistate.channel.pipeline import Pipeline, PipelineStage
from ocistate.channel.record import Record, RecordProvenance, read_number_text
from ocistate.channel.trust import Trusted, check_policy, check_time
from ocistate.errors import (
    ArtifactError,
    ChannelError,
    Conflict,
    DigestMismatch,
    LimitExceeded,
    NotFound,
    ProtocolError,
    RecordReplayed,
    TrustError,
)
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import fetch_inventory, fetch_manifest
from ocistate.ops.channel.reader import (
    Channel,
    channel_of,
    fetch_record,
    follow_numbers,
    read_newest,
    repository_of,
)
from ocistate.ops.channel.reports import read_fleet
from ocistate.ops.channel.writer import Writer
from ocistate.ops.signing.gather import gather_signatures
from ocistate.ops.signing.verify import verify_artifact
from ocistate.semver import newest, parse_range
from ocistate.signing.found import FoundSignature
from ocistate.signing.keys import Signer
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.select import select_policy

StageState = Literal["Current", "Ready", "Waiting", "Held", "Blocked", "Moved"]
"""``Current``: it has what feeds it. ``Ready``: all gates are open. ``Waiting``: one is closed.
``Held``: it, or what feeds it, is on hold or being rolled out. ``Blocked``: a record, or the
artifact, is not to be believed or not there. ``Moved``: it was moved just now."""

_TRIES: Final = 8
_MAX_WALK: Final = 200
"""Records that are looked back for the one that first named a digest."""
_BROKEN: Final = (
    TrustError, ArtifactError, NotFound, ProtocolError, DigestMismatch, LimitExceeded,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageHead:
    """What a channel has: its newest record, and since when it names the digest it names.

    ``origins`` are where the records since then say that the digest came from.
    """

    newest: Trusted
    digest: str
    since: datetime
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFeed:
    """What would get into a stage: a digest, from a channel's record or from a tag."""

    digest: str
    origin: str
    held: StageHead | None = None

    @property
    def mark(self) -> str:
        """What tells that another decision was made: the record, or else the digest."""
        return self.held.newest.digest if self.held else self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """How a stage stands. ``why`` says what its state means where no gate does.

    ``revision`` is what it has was made from, ``made`` what feeds it, None until that is read.
    """

    stage: PipelineStage
    state: StageState
    held: StageHead | None = None
    revision: str = ""
    feed: StageFeed | None = None
    made: RecordProvenance | None = None
    outcomes: tuple[GateOutcome, ...] = ()
    why: str = ""


@dataclass(slots=True)
class PipelineRun:
    """One look at a pipeline, or one run of it, with a store of its repository."""

    store: Store
    pipeline: Pipeline
    policies: Sequence[TrustPolicy]
    clock: Callable[[], datetime]
    settle: float = -1.0

    async def status(self) -> list[StageStatus]:
        """All stages as they stand. Raises StoreError, ConfigError."""
        return [await self.stage(place) for place in range(len(self.pipeline.stages))]

    def check_signer(self, signer: Signer) -> None:
        """That a key moves channels here, be there something to move or not. Raises Untrusted."""
        for stage in self.pipeline.stages:
            self._writer(stage, signer).check_signer()

    async def run(self, signer: Signer, actor: str = "") -> list[StageStatus]:
        """Move whatever may move, each stage once at most.

        The last stage comes first: what is ready there goes on before what feeds it is replaced.
        Raises StoreError, ConfigError, Untrusted for a key that moves no channel.
        """
        self.check_signer(signer)
        found = [
            await self._advance(place, signer, actor)
            for place in reversed(range(len(self.pipeline.stages)))
        ]
        return found[::-1]

    async def _advance(self, place: int, signer: Signer, actor: str) -> StageStatus:
        for _ in range(_TRIES):
            status = await self.stage(place)
            if status.state != "Ready":
                return status
            assert status.feed is not None
            assert status.held is not None
            assert status.made is not None
            try:
                written = await self._move(place, status, signer, actor)
            except Conflict:
                continue  # somebody else decided meanwhile: look again
            except ChannelError as error:
                return replace(status, state="Blocked", why=str(error))
            if written is None:
                continue
            held = StageHead(
                newest=written,
                digest=status.feed.digest,
                since=written.record.issued_at,
                origins=(written.record.source,),
            )
            return replace(
                status,
                state="Moved",
                held=held,
                revision=status.made.revision,
                why=f"moved from {status.held.newest.record} to {written.record}",
            )
        raise Conflict(
            f"the channel {self.pipeline.stages[place].channel} was moved by others all the time",
            hint="run it again, with fewer jobs at the same time",
        )

    async def _move(
        self, place: int, status: StageStatus, signer: Signer, actor: str
    ) -> Trusted | None:
        """The record that was written; None when what feeds the stage is another by now."""
        feed, held = status.feed, status.held
        assert feed is not None
        assert held is not None
        assert status.made is not None
        why = Why(
            now=self.clock().replace(microsecond=0),
            reason=_reason(self.pipeline, status),
            actor=actor,
            source=feed.origin,
        )
        if (await self._feed(place)).mark != feed.mark:
            return None
        pins = {repository_of(self.store.reference): (feed.digest, status.made)}

        def make(old: Trusted | None) -> Record | None:
            assert old is not None  # the base is checked before this is asked
            return promoted(old, pins, why)

        return await self._writer(status.stage, signer).write(make, base=held.newest.digest)

    async def stage(self, place: int) -> StageStatus:
        """How one stage stands now. Raises StoreError, ConfigError."""
        stage = self.pipeline.stages[place]
        status = StageStatus(stage=stage, state="Blocked")
        try:
            held = await self._held(stage.channel)
            status = replace(status, held=held, revision=_made(held).revision)
            feed = await self._feed(place)
            status = replace(status, feed=feed)
            _check_memory(held, feed)
            if feed.digest == held.digest:
                on_hold = ", on hold" if held.newest.record.hold else ""
                why = f"it has what {feed.origin} names{on_hold}"
                return replace(status, state="Current", made=_made(held), why=why)
            if hold := _hold(held, feed):
                return replace(status, state="Held", why=hold)
            return await self._judge(status, held, feed)
        except _BROKEN as error:
            return replace(status, state="Blocked", why=str(error))

    async def _judge(self, status: StageStatus, held: StageHead, feed: StageFeed) -> StageStatus:
        now = self.clock()
        gates = status.stage.gates
        verified = await verify_artifact(self.store, feed.digest, self.policies)
        signed = GateOutcome(kind="signature", open=True, reason=verified.summary)
        inventory = await self._inventory(feed.digest)
        facts = Facts(
            now=now,
            repository=repository_of(self.store.reference),
            channel=status.stage.channel,
            digest=feed.digest,
            feeder=feed.held.newest.record.channel if feed.held else feed.origin,
            inventory=inventory,
            current=await self._current(gates, held.digest),
            found=await self._found(gates, feed.digest),
            policy=self._policy,
            fleet=await self._fleet(gates, feed, now),
            fed_since=feed.held.since if feed.held else None,
        )
        outcomes = [await asyncio.to_thread(evaluate, gate, facts) for gate in gates]
        return replace(
            status,
            state="Ready" if all(outcome.open for outcome in outcomes) else "Waiting",
            made=RecordProvenance(source=inventory.source, revision=inventory.revision),
            outcomes=(signed, *outcomes),
        )

    def _writer(self, stage: PipelineStage, signer: Signer) -> Writer:
        channel = self._channel(stage.channel)
        return Writer(store=self.store, channel=channel, signer=signer, settle=self.settle)

    def _channel(self, name: str) -> Channel:
        return channel_of(name, self.store.reference, self.policies)

    async def _held(self, name: str) -> StageHead:
        """What a channel has now: the newest record by number, whatever the name was moved to."""
        channel = self._channel(name)
        top = await follow_numbers(self.store, channel, await read_newest(self.store, channel))
        if len(top.record.subjects) > 1:
            raise ArtifactError(
                f"{top.record} names {len(top.record.subjects)} repositories, and a pipeline moves "
                "one: move sets with 'ocistate promote'"
            )
        here = repository_of(self.store.reference)
        digest = top.record.digest_of(here)
        first, origins = top.record, [top.record.source]
        for _ in range(_MAX_WALK):
            if not first.previous:
                break
            try:
                before = channel.check(*await fetch_record(self.store, first.previous)).record
            except _BROKEN:
                break  # an older key, or cleaned up: it counts from what can be proven
            if before.subjects.get(here) != digest:
                break
            first = before
            origins.append(first.source)
        return StageHead(newest=top, digest=digest, since=first.issued_at, origins=tuple(origins))

    async def _feed(self, place: int) -> StageFeed:
        feeder = self.pipeline.feeder(place)
        if not feeder:
            tag = self.pipeline.source.tag or await self._version()
            return StageFeed(digest=(await self.store.resolve(tag)).digest, origin=tag)
        held = await self._held(feeder)
        record = held.newest.record
        check_policy(record, self._channel(feeder).trust)
        check_time(record, self.clock())
        return StageFeed(digest=held.digest, origin=str(record), held=held)

    async def _version(self) -> str:
        wanted = self.pipeline.source.semver
        tag = newest(await self.store.tags(), parse_range(wanted))
        if tag is None:
            raise NotFound(f"{self.store.reference} has no tag in the range {wanted!r}")
        return tag

    async def _inventory(self, digest: str) -> Inventory:
        return await fetch_inventory(self.store, await fetch_manifest(self.store, digest))

    async def _current(self, gates: Sequence[Gate], digest: str) -> Inventory | None:
        if not any(isinstance(gate, Changes) for gate in gates):
            return None
        try:
            return await self._inventory(digest)
        except NotFound:
            return None

    @property
    def _policy(self) -> TrustPolicy:
        return select_policy(self.policies, self.store.reference.name)

    async def _found(self, gates: Sequence[Gate], digest: str) -> tuple[FoundSignature, ...]:
        if not any(isinstance(gate, Approvals | Attested) for gate in gates):
            return ()
        legacy = self._policy.allow_legacy
        return tuple(await gather_signatures(self.store, digest, legacy=legacy))

    async def _fleet(self, gates: Sequence[Gate], feed: StageFeed, now: datetime) -> Fleet | None:
        if feed.held is None or not any(isinstance(gate, Healthy) for gate in gates):
            return None
        record = feed.held.newest.record
        reporters = self._policy.reporters
        return await read_fleet(self.store, self._channel(record.channel), reporters, record, now)


def _made(held: StageHead) -> RecordProvenance:
    record = held.newest.record
    return record.artifacts.get(min(record.subjects), RecordProvenance())


def _hold(held: StageHead, feed: StageFeed) -> str:
    """What keeps a digest from going on, a hold or a rollout; empty when nothing does."""
    for record in (held.newest.record, feed.held.newest.record if feed.held else None):
        if record is not None and record.hold:
            return f"{record} is on hold: {record.reason or 'no reason given'}"
        if record is not None and record.rollout is not None:
            return f"{record} is being rolled out still: {record.rollout}"
    return ""


_ORIGIN: Final = re.compile(r"([a-z0-9-]+)@([0-9.]+)")


def _check_memory(held: StageHead, feed: StageFeed) -> None:
    """That a feeding channel is not shown older than a stage has seen it. Raises RecordReplayed.

    The stage's own signed records tell what it was fed from: a memory for jobs that have none.
    """
    if feed.held is None:
        return
    record = feed.held.newest.record
    for origin in held.origins:
        match = _ORIGIN.fullmatch(origin)
        if match and match[1] == record.channel:
            seen = read_number_text(match[2])
            if seen is not None and record.number < seen:
                raise RecordReplayed(
                    f"{record} is shown as the newest, and {held.newest.record} came from {origin}",
                    hint="newer records are held back: see who may write to the registry",
                )


def _reason(pipeline: Pipeline, status: StageStatus) -> str:
    assert status.feed is not None
    approved = [o.reason for o in status.outcomes if o.kind == "approvals"]
    words = [f"pipeline {pipeline.name}: {status.stage.name} from {status.feed.origin}", *approved]
    return ", ".join(words)[:1000]
