"""Show the stages of a pipeline, and promote every stage whose gates are open.

Facts come from the registry alone: the channels' records, the artifacts, their attestations, and
the clusters' reports. A stage moves only on top of the record that was read, and only while its
feed is unchanged; a second job finds it done.
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
``Held``: it, or what feeds it, is on hold or being rolled out. ``Blocked``: a record or the
artifact cannot be verified or is missing. ``Moved``: this run moved it."""

_TRIES: Final = 8
_MAX_WALK: Final = 200
"""How many records are read back to find the one that first named a digest."""
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
        """Changes when another decision was made: the record's digest, or the artifact's."""
        return self.held.newest.digest if self.held else self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """The status of a stage. ``why`` explains its state when no gate does.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A stage whose gates are all open, with what it has and what it gets."""

    status: StageStatus
    held: StageHead
    feed: StageFeed
    made: RecordProvenance

    @classmethod
    def of(cls, status: StageStatus) -> _Ready | None:
        """The same stage; None while it is not ready."""
        held, feed, made = status.held, status.feed, status.made
        if status.state != "Ready" or held is None or feed is None or made is None:
            return None
        return cls(status=status, held=held, feed=feed, made=made)


@dataclass(slots=True)
class PipelineRun:
    """The status of a pipeline, or one run of it, with a store of its repository."""

    store: Store
    pipeline: Pipeline
    policies: Sequence[TrustPolicy]
    clock: Callable[[], datetime]
    settle: float = -1.0

    async def status(self) -> list[StageStatus]:
        """The status of all stages. Raises StoreError, ConfigError."""
        return [await self.stage(place) for place in range(len(self.pipeline.stages))]

    def check_signer(self, signer: Signer) -> None:
        """That a key may move these channels, whether or not one moves. Raises Untrusted."""
        for stage in self.pipeline.stages:
            self._writer(stage, signer).check_signer()

    async def run(self, signer: Signer, actor: str = "") -> list[StageStatus]:
        """Promote every stage whose gates are open, each once at most.

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
            ready = _Ready.of(status)
            if ready is None:
                return status
            try:
                written = await self._move(place, ready, signer, actor)
            except Conflict:
                continue  # another job moved it meanwhile: read it again
            except ChannelError as error:
                return replace(status, state="Blocked", why=str(error))
            if written is None:
                continue
            held = StageHead(
                newest=written,
                digest=ready.feed.digest,
                since=written.record.issued_at,
                origins=(written.record.source,),
            )
            return replace(
                status,
                state="Moved",
                held=held,
                revision=ready.made.revision,
                why=f"moved from {ready.held.newest.record} to {written.record}",
            )
        raise Conflict(
            f"the channel {self.pipeline.stages[place].channel} kept being moved by others",
            hint="run it again, with fewer jobs at the same time",
        )

    async def _move(self, place: int, ready: _Ready, signer: Signer, actor: str) -> Trusted | None:
        """The record that was written; None when what feeds the stage has changed."""
        feed = ready.feed
        why = Why(
            now=self.clock().replace(microsecond=0),
            reason=_reason(self.pipeline, ready),
            actor=actor,
            source=feed.origin,
        )
        if (await self._feed(place)).mark != feed.mark:
            return None
        pins = {repository_of(self.store.reference): (feed.digest, ready.made)}

        def make(old: Trusted | None) -> Record | None:
            return promoted(ready.held.newest if old is None else old, pins, why)

        writer = self._writer(ready.status.stage, signer)
        return await writer.write(make, base=ready.held.newest.digest)

    async def stage(self, place: int) -> StageStatus:
        """The status of one stage. Raises StoreError, ConfigError."""
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
        """What a channel has now: the newest record by number, wherever its name points."""
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
            return f"{record} is still being rolled out: {record.rollout}"
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
                    hint="newer records are being withheld: check who may write to the registry",
                )


def _reason(pipeline: Pipeline, ready: _Ready) -> str:
    status = ready.status
    approved = [o.reason for o in status.outcomes if o.kind == "approvals"]
    moved = f"pipeline {pipeline.name}: {status.stage.name} from {ready.feed.origin}"
    return ", ".join([moved, *approved])[:1000]
