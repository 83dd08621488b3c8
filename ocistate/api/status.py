"""A Stack's status: pure data, and how one pass turns the old one into the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from ocistate.api.stack_spec import KubeconfigRef, StackTarget
from ocistate.errors import OcistateError
from ocistate.health.vanishing import Ending, Run
from ocistate.objects import ObjectId
from ocistate.text import plain
from ocistate.times import format_time
from ocistate.watch.conflicts import Contest, ContestReason

Truth = Literal["True", "False", "Unknown"]

HISTORY_LENGTH: Final = 10

LONGEST_TEXT: Final = 4096
"""Of any text in a status: what an artifact says of itself may be longer."""

MOST_CONTESTS: Final = 20
"""So many contested objects are named in a status."""

MOST_RUNS: Final = 200
"""So many objects that are meant to vanish are remembered."""

MOST_DRIFTED: Final = 10
"""So many objects that differ are named in a status."""

_REFUSED: Final[tuple[tuple[str, Truth], ...]] = (("Ready", "False"), ("Stalled", "True"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A standard Kubernetes condition."""

    type: str
    status: Truth
    reason: str
    message: str
    since: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """What is applied: its digest, the pointer that named it, who signed it, since when."""

    digest: str
    tag: str = ""
    revision: str = ""
    signed_by: tuple[str, ...] = ()
    applied_at: str = ""
    verified: Truth = "Unknown"
    """Whether the policies that there are now trust it: not what they thought when it came."""
    verification: str = ""
    """Why, or why not."""
    channel: str = ""
    epoch: int = 0
    sequence: int = 0
    """The record that named it, where a channel did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The last pass that meant to change something. ``error`` is empty when it succeeded."""

    digest: str
    error: str
    at: str
    begun: str = ""
    """When the digest was first tried, under this spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One artifact that was applied: when, and how it went."""

    digest: str
    revision: str
    at: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHealthy:
    """What was healthy last, to go back to."""

    digest: str
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """A digest that was left again, since it did not become healthy in time.

    It is not tried again before the pointer names another one, the spec gets another
    ``generation``, or somebody asks for it with another ``reconcile_at``.
    """

    digest: str
    reason: str
    at: str
    generation: int = 0
    reconcile_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The newest record of a channel that was accepted: none before it is ever accepted again."""

    channel: str
    repository: str
    epoch: int
    sequence: int
    record: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTarget:
    """Another cluster that objects were applied to: the Secret with its kubeconfig, and the
    context in it."""

    secret: str
    key: str = ""
    context: str = ""

    @property
    def as_target(self) -> StackTarget:
        """As the spec of a Stack names it."""
        secret = KubeconfigRef(name=self.secret, key=self.key)
        return StackTarget(kubeconfig_secret_ref=secret, context=self.context)

    def __str__(self) -> str:
        context = f"the context {self.context} of " if self.context else ""
        return f"{context}the Secret {self.secret}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What differs from the artifact, where that is only reported: how many, and the first ones."""

    total: int
    objects: tuple[str, ...]

    @classmethod
    def of(cls, different: Sequence[str]) -> Drift | None:
        """None for nothing."""
        if not different:
            return None
        return cls(total=len(different), objects=tuple(sorted(different)[:MOST_DRIFTED]))

    def __str__(self) -> str:
        more = self.total - len(self.objects)
        return ", ".join(self.objects) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """What the agent says of a Stack, and all it must remember of it between two runs."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    current: Current | None = None
    last_attempt: Attempt | None = None
    history: tuple[HistoryEntry, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    """``Kind.group/version`` of everything applied now or about to be: where to look for it."""
    last_healthy: LastHealthy | None = None
    held_back: HeldBack | None = None
    channels: tuple[Followed, ...] = ()
    """What was accepted of each channel that was ever followed, the latest first."""
    last_handled_reconcile_at: str = ""
    target: RemoteTarget | None = None
    """Where its objects are, also when the spec can't be read any more; None: in the agent's own
    cluster."""
    contested: tuple[Contest, ...] = ()
    """The objects that others want otherwise, at most `MOST_CONTESTS` of them."""
    drift: Drift | None = None
    runs: tuple[Run, ...] = ()
    """What was applied of objects that are meant to vanish: these are not put back."""

    def condition(self, type_: str) -> Condition | None:
        """One condition by type."""
        return next((c for c in self.conditions if c.type == type_), None)

    def is_true(self, type_: str) -> bool:
        """Whether a condition is there and True."""
        condition = self.condition(type_)
        return condition is not None and condition.status == "True"

    def with_condition(
        self,
        type_: str,
        status: Truth,
        reason: str,
        message: str,
        *,
        now: datetime,
        generation: int,
    ) -> StackStatus:
        """The status with one condition set; its time moves only when the truth changes."""
        old = self.condition(type_)
        since = old.since if old and old.status == status else format_time(now)
        new = Condition(
            type=type_,
            status=status,
            reason=reason,
            message=plain(message, most=1024),
            since=since,
            generation=generation,
        )
        if new == old:
            return self
        others = tuple(c for c in self.conditions if c.type != type_)
        return replace(self, conditions=tuple(sorted((*others, new), key=lambda c: c.type)))

    def without_condition(self, type_: str) -> StackStatus:
        """The status without one condition."""
        if self.condition(type_) is None:
            return self
        return replace(self, conditions=tuple(c for c in self.conditions if c.type != type_))

    def with_history(self, entry: HistoryEntry) -> StackStatus:
        """The status with one more artifact applied; the same digest again replaces its entry."""
        rest = self.history
        if rest and rest[0].digest == entry.digest:
            rest = rest[1:]
        return replace(self, history=(entry, *rest)[:HISTORY_LENGTH])


def refused(
    status: StackStatus, error: OcistateError, *, now: datetime, generation: int
) -> StackStatus:
    """The status of a Stack whose spec can't be read."""
    status = replace(status, observed_generation=generation).without_condition("Reconciling")
    for type_, truth in _REFUSED:
        status = status.with_condition(
            type_, truth, error.reason, str(error), now=now, generation=generation
        )
    return status


def moment_of(text: str) -> datetime | None:
    """The inverse of `times.format_time`; None for what is no time."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def status_to_dict(status: StackStatus) -> dict[str, Any]:
    """The ``status`` of the Stack object."""
    found = _short(_status_to_dict(status))
    assert isinstance(found, dict)
    return found


def _short(value: Any) -> Any:
    """The value with every text cut to what the schema allows."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list) else value


def _status_to_dict(status: StackStatus) -> dict[str, Any]:
    value: dict[str, Any] = {
        "observedGeneration": status.observed_generation,
        "conditions": [
            {
                "type": c.type,
                "status": c.status,
                "reason": c.reason,
                "message": c.message,
                "lastTransitionTime": c.since,
                "observedGeneration": c.generation,
            }
            for c in status.conditions
        ],
        "history": [
            {"digest": h.digest, "revision": h.revision, "at": h.at, "outcome": h.outcome}
            for h in status.history
        ],
        "resources": dict(status.resources),
        "kinds": list(status.kinds),
    }
    if status.current:
        value["current"] = {
            "digest": status.current.digest,
            "tag": status.current.tag,
            "revision": status.current.revision,
            "signedBy": list(status.current.signed_by),
            "appliedAt": status.current.applied_at,
            "verified": status.current.verified,
            "verification": status.current.verification,
        }
        if status.current.channel:
            value["current"] |= {
                "channel": status.current.channel,
                "epoch": status.current.epoch,
                "sequence": status.current.sequence,
            }
    if status.channels:
        value["channels"] = [
            {
                "channel": f.channel,
                "repository": f.repository,
                "epoch": f.epoch,
                "sequence": f.sequence,
                "record": f.record,
                "at": f.at,
            }
            for f in status.channels
        ]
    if status.last_attempt:
        value["lastAttempt"] = {
            "digest": status.last_attempt.digest,
            "error": status.last_attempt.error,
            "at": status.last_attempt.at,
            "begun": status.last_attempt.begun,
        }
    if status.last_healthy:
        value["lastHealthy"] = {
            "digest": status.last_healthy.digest,
            "tag": status.last_healthy.tag,
        }
    if status.held_back:
        value["heldBack"] = {
            "digest": status.held_back.digest,
            "reason": status.held_back.reason,
            "at": status.held_back.at,
            "generation": status.held_back.generation,
            "reconcileAt": status.held_back.reconcile_at,
        }
    if status.target:
        where = status.target
        value["target"] = {
            "kubeconfigSecretRef": {"name": where.secret, "key": where.key},
            "context": where.context,
        }
    if status.drift:
        value["drift"] = {"total": status.drift.total, "objects": list(status.drift.objects)}
    if status.runs:
        value["runs"] = [
            {
                "group": r.id.group,
                "kind": r.id.kind,
                "namespace": r.id.namespace,
                "name": r.id.name,
                "content": r.content,
                "ended": r.ending.value if r.ending else "",
            }
            for r in status.runs
        ]
    if status.contested:
        value["contested"] = [
            {
                "group": c.id.group,
                "kind": c.id.kind,
                "namespace": c.id.namespace,
                "name": c.id.name,
                "reason": c.reason.value,
                "by": c.by,
                "fields": list(c.fields),
            }
            for c in status.contested
        ]
    if status.last_handled_reconcile_at:
        value["lastHandledReconcileAt"] = status.last_handled_reconcile_at
    return value


def status_from_dict(value: Mapping[str, Any] | None) -> StackStatus:
    """Read a status back. What is missing or of another shape is as if it were not there."""
    value = value or {}
    current, attempt = value.get("current"), value.get("lastAttempt")
    healthy, held = value.get("lastHealthy"), value.get("heldBack")
    drift = value.get("drift")
    return StackStatus(
        observed_generation=_integer(value.get("observedGeneration")),
        conditions=tuple(
            Condition(
                type=_text(c.get("type")),
                status=_truth(c.get("status")),
                reason=_text(c.get("reason")),
                message=_text(c.get("message")),
                since=_text(c.get("lastTransitionTime")),
                generation=_integer(c.get("observedGeneration")),
            )
            for c in _mappings(value.get("conditions"))
        ),
        current=None
        if not isinstance(current, Mapping)
        else Current(
            digest=_text(current.get("digest")),
            tag=_text(current.get("tag")),
            revision=_text(current.get("revision")),
            signed_by=_texts(current.get("signedBy")),
            applied_at=_text(current.get("appliedAt")),
            verified=_truth(current.get("verified")),
            verification=_text(current.get("verification")),
            channel=_text(current.get("channel")),
            epoch=_integer(current.get("epoch")),
            sequence=_integer(current.get("sequence")),
        ),
        last_attempt=None
        if not isinstance(attempt, Mapping)
        else Attempt(
            digest=_text(attempt.get("digest")),
            error=_text(attempt.get("error")),
            at=_text(attempt.get("at")),
            begun=_text(attempt.get("begun")),
        ),
        last_healthy=None
        if not isinstance(healthy, Mapping)
        else LastHealthy(digest=_text(healthy.get("digest")), tag=_text(healthy.get("tag"))),
        held_back=None
        if not isinstance(held, Mapping)
        else HeldBack(
            digest=_text(held.get("digest")),
            reason=_text(held.get("reason")),
            at=_text(held.get("at")),
            generation=_integer(held.get("generation")),
            reconcile_at=_text(held.get("reconcileAt")),
        ),
        history=tuple(
            HistoryEntry(
                digest=_text(h.get("digest")),
                revision=_text(h.get("revision")),
                at=_text(h.get("at")),
                outcome=_text(h.get("outcome")),
            )
            for h in _mappings(value.get("history"))
        ),
        resources={
            str(key): _integer(count)
            for found in _mappings([value.get("resources")])
            for key, count in found.items()
        },
        kinds=_texts(value.get("kinds")),
        channels=tuple(
            Followed(
                channel=_text(f.get("channel")),
                repository=_text(f.get("repository")),
                epoch=_integer(f.get("epoch")),
                sequence=_integer(f.get("sequence")),
                record=_text(f.get("record")),
                at=_text(f.get("at")),
            )
            for f in _mappings(value.get("channels"))
        ),
        last_handled_reconcile_at=_text(value.get("lastHandledReconcileAt")),
        target=remote_target(value.get("target")),
        drift=None
        if not isinstance(drift, Mapping)
        else Drift(total=_integer(drift.get("total")), objects=_texts(drift.get("objects"))),
        runs=tuple(
            Run(
                id=_id(r),
                content=_text(r.get("content")),
                ending=Ending(r["ended"]) if r.get("ended") in tuple(Ending) else None,
            )
            for r in _mappings(value.get("runs"))
        ),
        contested=tuple(
            Contest(
                id=_id(c),
                reason=ContestReason(c["reason"]),
                by=_text(c.get("by")),
                fields=_texts(c.get("fields")),
            )
            for c in _mappings(value.get("contested"))
            if c.get("reason") in tuple(ContestReason)
        ),
    )


def remote_target(target: Any) -> RemoteTarget | None:
    """The other cluster that the ``target`` of a Stack's status names."""
    for found in _mappings([target]):
        for reference in _mappings([found.get("kubeconfigSecretRef")]):
            if name := _text(reference.get("name")):
                key, context = _text(reference.get("key")), _text(found.get("context"))
                return RemoteTarget(secret=name, key=key, context=context)
    return None


def _id(value: Mapping[str, Any]) -> ObjectId:
    parts = (_text(value.get(part)) for part in ("group", "kind", "namespace", "name"))
    return ObjectId(*parts)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: Any) -> int:
    return value if isinstance(value, int) and abs(value) < 2**63 else 0


def _truth(value: Any) -> Truth:
    return value if value in ("True", "False") else "Unknown"


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
