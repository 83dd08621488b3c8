"""Tell the registry how Stacks are that follow channels: signed, seldom, and never in the way.

A change is told at once, though at most every ten seconds of one Stack; without a change the report
is repeated, so that silence means something. A registry that takes no reports is told of once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from ocistate.agent.queue import Controller
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.channel.report import MAX_TEXT, Report, ReportedState
from ocistate.channel.rings import Cluster
from ocistate.errors import OcistateError, Unavailable
from ocistate.objects import StackKey
from ocistate.oci.store import Store
from ocistate.ops.channel.reader import repository_of
from ocistate.ops.channel.reports import write_report
from ocistate.signing.keys import Signer
from ocistate.text import plain
from ocistate.times import parse_signed_time

log = logging.getLogger("ocistate.agent")

REPORT_EVERY: Final = 300
"""Seconds between two reports that say the same."""
LEAST_SECONDS: Final = 10.0
_LONGEST_RETRY: Final = 300.0
_WRITE_SECONDS: Final = 10.0

ConnectStack = Callable[[Stack], Awaitable[Store]]


def report_of(
    stack: Stack, status: StackStatus, *, cluster: Cluster, now: datetime, every: int
) -> Report | None:
    """What a Stack's status says of the channel it follows; None when there is nothing to say."""
    source = stack.spec.source
    place = repository_of(source.records.reference)
    followed = next(
        (f for f in status.channels if (f.channel, f.repository) == (source.channel, place)), None
    )
    ready = status.condition("Ready")
    if not source.channel or followed is None or ready is None:
        return None
    state = _state(status)
    current = status.current
    if current is not None:
        digest, begun = current.digest, current.applied_at
    elif status.last_attempt is not None and status.last_attempt.digest:
        digest, begun = status.last_attempt.digest, status.last_attempt.begun
    else:
        return None
    # The clock may have been put back since then.
    since = min(now, max(_time(text, now) for text in (ready.since, begun)))
    return Report(
        cluster=cluster.name,
        labels=cluster.labels,
        stack=str(stack),
        channel=source.channel,
        records=place,
        repository=repository_of(source.repository.reference),
        digest=digest,
        epoch=followed.epoch,
        sequence=followed.sequence,
        state=state,
        since=since,
        at=now,
        every=every,
        message="" if state == "Healthy" else plain(ready.message, most=MAX_TEXT),
    )


@dataclass(slots=True)
class Reporter:
    """Writes the reports of one agent, signed with its own key as ``cluster``."""

    cluster: Cluster
    signer: Signer
    connect: ConnectStack
    every: int = REPORT_EVERY
    now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(microsecond=0)
    _latest: dict[StackKey, tuple[Stack, StackStatus]] = field(default_factory=dict)
    _sent: dict[StackKey, Report] = field(default_factory=dict)
    _failures: dict[StackKey, int] = field(default_factory=dict)
    _queue: Controller = field(init=False)

    def __post_init__(self) -> None:
        self._queue = Controller(reconcile=self._due, on_bug=_on_bug, workers=4)

    def note(self, stack: Stack, status: StackStatus) -> None:
        """A pass has ended: tell of it, if there is anything new."""
        if stack.spec.report is None or not stack.spec.source.channel:
            return
        self._latest[stack.key] = (stack, status)
        report, sent = self._report(stack.key), self._sent.get(stack.key)
        if report is None or (sent is not None and _same(report, sent)):
            return
        # After a failure the pause goes on: a registry that says no is not asked at every pass.
        if not self._failures.get(stack.key):
            self._queue.wake(stack.key, after=self._pause(sent))

    def forget(self, key: StackKey) -> None:
        """A Stack is gone, or another agent's."""
        self._queue.forget(key)
        for known in (self._latest, self._sent, self._failures):
            known.pop(key, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Write reports until told to stop."""
        await self._queue.run(stop)

    def _report(self, key: StackKey) -> Report | None:
        stack, status = self._latest[key]
        return report_of(stack, status, cluster=self.cluster, now=self.now(), every=self.every)

    def _pause(self, sent: Report | None) -> float:
        if sent is None:
            return 0.0
        return max(0.0, LEAST_SECONDS - (self.now() - sent.at).total_seconds())

    async def _due(self, key: StackKey) -> float | None:
        if key not in self._latest:
            return None
        stack, _ = self._latest[key]
        report = self._report(key)
        if report is None:
            return None
        there = _towards(stack)
        try:
            # The store is patient, and the news would be old by then.
            async with asyncio.timeout(_WRITE_SECONDS), await self.connect(there) as store:
                await write_report(store, report, self.signer)
        except OcistateError as error:
            return self._failed(key, stack, error)
        except TimeoutError:
            place = there.spec.source.repository.reference
            late = f"{place} took no report within {_WRITE_SECONDS:g} s"
            return self._failed(key, stack, Unavailable(late))
        self._sent[key] = report
        if self._failures.pop(key, 0):
            log.info("reports are taken again", extra={"stack": str(stack)})
        return float(self.every)

    def _failed(self, key: StackKey, stack: Stack, error: OcistateError) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        if count == 1:
            log.warning(
                "cannot report: %s", error, extra={"stack": str(stack), "reason": error.reason}
            )
        return float(min(_LONGEST_RETRY, 10.0 * 2.0 ** min(count, 10)))


def _towards(stack: Stack) -> Stack:
    """The Stack as if its source were where its reports go."""
    to = stack.spec.report
    assert to is not None
    source = stack.spec.source
    return stack.with_source(
        repository=to.repository or source.records,
        pull_secret_ref=to.push_secret_ref or source.pull_secret_ref,
        mirrors=(),
    )


def _state(status: StackStatus) -> ReportedState:
    ready, healthy = status.condition("Ready"), status.condition("Healthy")
    if status.is_true("Ready"):
        return "Healthy"
    if ready is not None and ready.status == "Unknown":
        return "Progressing"
    if healthy is not None and healthy.status == "False" and status.is_true("Applied"):
        return "Degraded"
    return "Refused"


def _same(one: Report, other: Report) -> bool:
    return replace(one, at=other.at) == other


def _time(text: str, default: datetime) -> datetime:
    try:
        return parse_signed_time(text)
    except ValueError:
        return default


def _on_bug(key: StackKey, error: Exception) -> None:
    log.error("a report failed unexpectedly", exc_info=error, extra={"stack": "/".join(key)})
