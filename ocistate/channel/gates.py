"""Gates of a pipeline: whether an artifact may go on into a channel, decided on plain facts.

    outcome = evaluate(gate, facts)      # open or closed, why, and when it may open

Nothing here asks a registry or a clock: what a gate goes by is in the Facts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from ocistate.artifact.diff import diff_inventories
from ocistate.artifact.inventory import Inventory
from ocistate.channel.approval import PREDICATE, why_not
from ocistate.channel.fleet import Fleet, by_cluster, healthy_since
from ocistate.channel.window import TimeWindow
from ocistate.signing.claims import read_claims
from ocistate.signing.decide import Certify, Verdict, decide
from ocistate.signing.found import FoundSignature
from ocistate.signing.keyless import certify
from ocistate.signing.policy.model import (
    RequiredAttestation,
    TrustedIdentity,
    TrustedKey,
    TrustPolicy,
)
from ocistate.times import format_time

GateKind = Literal["healthy", "approvals", "attestation", "window", "check", "changes", "signature"]

MAX_STEPS: Final = 1_000_000
"""Of a check over an inventory, as `ocistate.cel` counts them: ten seconds at most."""
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The artifact has been healthy for ``soak`` in ``share`` percent of the clusters of the
    channel it comes from: of ``clusters``, or of all that are enrolled."""

    soak: timedelta
    share: int = 100
    clusters: tuple[str, ...] = ()
    kind: GateKind = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """So many of those named have approved exactly this digest for exactly this channel."""

    count: int
    keys: tuple[TrustedKey, ...]
    identities: tuple[TrustedIdentity, ...]
    kind: GateKind = "approvals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A trusted signer attests it, and the conditions on the predicate are true."""

    needed: RequiredAttestation
    kind: GateKind = "attestation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """It is the time for it."""

    window: TimeWindow
    kind: GateKind = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryCheck:
    """A CEL expression over the inventory is true; ``message`` is added to the reason."""

    expression: str
    message: str = ""
    kind: GateKind = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """At most so many objects are added, changed and removed; at most this share, in percent, of
    those that the channel has now."""

    most: int | None = None
    share: int | None = None
    kind: GateKind = "changes"


Gate = Healthy | Approvals | Attested | Opening | InventoryCheck | Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one move: ``digest`` into ``channel``, from ``feeder``.

    ``inventory`` is the artifact's, ``current`` that of what the channel names now (None when it is
    not there any more), ``found`` the artifact's signatures and attestations, unverified, and
    ``policy`` whose signatures count; ``fleet`` the clusters of the feeding channel, which names
    the digest since ``fed_since``.
    """

    now: datetime
    repository: str
    channel: str
    digest: str
    feeder: str
    inventory: Inventory
    current: Inventory | None = None
    found: tuple[FoundSignature, ...] = ()
    policy: TrustPolicy | None = None
    fleet: Fleet | None = None
    fed_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """Whether a gate is open, why, in one sentence, and when it may open where that is known."""

    kind: GateKind
    open: bool
    reason: str
    opens_at: datetime | None = None


def evaluate(gate: Gate, facts: Facts, *, certify: Certify = certify) -> GateOutcome:
    """What a gate makes of the facts. May take a second or two: keep it off an event loop.

    Raises ConfigError, Unavailable when an identity's trusted root can't be used.
    """
    match gate:
        case Healthy():
            return _healthy(gate, facts)
        case Approvals():
            return _approvals(gate, facts, certify)
        case Attested():
            return _attested(gate, facts, certify)
        case Opening():
            return _opening(gate, facts)
        case InventoryCheck():
            return _check(gate, facts)
        case Changes():
            return _changes(gate, facts)


def _healthy(gate: Healthy, facts: Facts) -> GateOutcome:
    def closed(reason: str, opens_at: datetime | None = None) -> GateOutcome:
        return GateOutcome(kind="healthy", open=False, reason=reason, opens_at=opens_at)

    if facts.fleet is None or facts.fed_since is None:
        return closed(f"no cluster reports on {facts.feeder}")
    heard = by_cluster(facts.fleet)
    names = gate.clusters or tuple(heard)
    if not names:
        return closed(f"no cluster is enrolled for {facts.feeder}")
    needed = math.ceil(len(names) * gate.share / 100)
    # No cluster's report on it counts from before the channel named it.
    since = {
        name: max(healthy, facts.fed_since)
        for name in names
        if (healthy := healthy_since(heard.get(name, []))) is not None
    }
    soak = _span(gate.soak)
    ready = [name for name, start in since.items() if start + gate.soak <= facts.now]
    of = f"{len(ready)} of {len(names)} clusters"
    if len(ready) >= needed:
        return GateOutcome(
            kind="healthy", open=True, reason=f"{of} of {facts.feeder} healthy for {soak}"
        )
    asked = f"healthy for {soak} in {facts.feeder}, and {needed} are asked for"
    if len(since) >= needed:
        return closed(f"{of} {asked}", sorted(since.values())[needed - 1] + gate.soak)
    return closed(f"{of} {asked}: {_some(_unhealthy(facts.fleet, names, since))}")


def _unhealthy(fleet: Fleet, names: Sequence[str], healthy: Iterable[str]) -> list[str]:
    found = by_cluster(fleet)
    reasons = []
    for name in names:
        if name in healthy:
            continue
        member = next(
            (m for m in found.get(name, []) if m.standing != "Healthy" or not m.current), None
        )
        if member is None:
            reasons.append(f"{name} is not enrolled")
        else:
            behind = "behind" if member.standing == "Healthy" else member.standing
            reasons.append(f"{name} is {behind}")
    return reasons


def _approvals(gate: Approvals, facts: Facts, certify: Certify) -> GateOutcome:
    # Each is judged by itself first: who approved in vain once may approve again, and only then
    # counts, and counts once.
    good: list[FoundSignature] = []
    refused: list[str] = []
    claimed = _claimed(facts, PREDICATE)
    authors = _authors(gate, facts, certify) if claimed else frozenset()
    for item in claimed:
        verdict = _decide(gate, facts.digest, [item], certify)[1][0]
        if not verdict.counts or verdict.statement is None:
            refused.append(f"one {verdict.reason}")
            continue
        fault = why_not(
            verdict.statement.predicate,
            channel=facts.channel,
            repository=facts.repository,
            digest=facts.digest,
            now=facts.now,
        )
        if authors.intersection(verdict.people):
            fault = "is by who signed the artifact"
        if fault:
            refused.append(f"that of {verdict.signer} {fault}")
        else:
            good.append(item)
    signers = _decide(gate, facts.digest, good, certify)[0]
    by = f"approved by {', '.join(signers)}" if signers else "approved by no one"
    if len(signers) >= gate.count:
        return GateOutcome(kind="approvals", open=True, reason=by)
    vain = f"; not counted: {_some(refused)}" if refused else ""
    return GateOutcome(
        kind="approvals",
        open=False,
        reason=f"{by}, {len(signers)} of {gate.count} approvals for {facts.channel}{vain}",
    )


def _decide(
    gate: Approvals, digest: str, found: Sequence[FoundSignature], certify: Certify
) -> tuple[tuple[str, ...], tuple[Verdict, ...]]:
    policy = TrustPolicy(
        name="approvals",
        repositories=("**",),
        keys=gate.keys,
        identities=gate.identities,
        threshold=gate.count,
    )
    decision = decide(policy, digest, found, attestation=PREDICATE, certify=certify)
    return decision.signers, decision.verdicts


def _authors(gate: Approvals, facts: Facts, certify: Certify) -> frozenset[str]:
    """Who really signed the artifact, as keys and certificates name them: an entry's name or
    pattern does not show whether two of them are one person."""
    policy = facts.policy
    both = TrustPolicy(
        name="authors",
        repositories=("**",),
        keys=(*gate.keys, *(policy.keys if policy else ())),
        identities=(*gate.identities, *(policy.identities if policy else ())),
        allow_legacy=True,
    )
    decision = decide(both, facts.digest, facts.found, certify=certify)
    return frozenset(person for verdict in decision.verdicts for person in verdict.people)


def _attested(gate: Attested, facts: Facts, certify: Certify) -> GateOutcome:
    kind = gate.needed.predicate_type
    policy = TrustPolicy(name="attestation", repositories=("**",), attestations=(gate.needed,))
    decision = decide(
        policy, facts.digest, _claimed(facts, kind), attestation=kind, certify=certify
    )
    if decision.error is None:
        by = ", ".join(decision.signers)
        return GateOutcome(kind="attestation", open=True, reason=f"{kind} is attested by {by}")
    reasons = [verdict.reason for verdict in decision.verdicts if not verdict.counts]
    because = f": one {_some(reasons)}" if reasons else ""
    return GateOutcome(
        kind="attestation", open=False, reason=f"no one trusted attests {kind} as required{because}"
    )


def _claimed(facts: Facts, kind: str) -> list[FoundSignature]:
    """Those whose own claim is of a kind: no others can count, or be missed."""
    return [f for f in facts.found if read_claims(f, facts.digest).predicate_type == kind]


def _opening(gate: Opening, facts: Facts) -> GateOutcome:
    window = gate.window
    if window.is_open(facts.now):
        return GateOutcome(kind="window", open=True, reason=f"it is the time: {window}")
    opens_at = window.opens_at(facts.now)
    when = f"opens at {format_time(opens_at)}" if opens_at else "does not open within a year"
    return GateOutcome(
        kind="window", open=False, reason=f"the window {window} {when}", opens_at=opens_at
    )


def _check(gate: InventoryCheck, facts: Facts) -> GateOutcome:
    from ocistate.cel import EvaluationError, cel_value, is_true

    note = f" ({gate.message})" if gate.message else ""
    try:
        variables = {key: cel_value(value) for key, value in _variables(facts).items()}
        if is_true(gate.expression, variables, steps=MAX_STEPS):
            return GateOutcome(kind="check", open=True, reason=f"{gate.expression!r} is true")
        fault = "is false"
    except EvaluationError as error:
        fault = str(error)
    return GateOutcome(kind="check", open=False, reason=f"{gate.expression!r} {fault}{note}")


def _variables(facts: Facts) -> dict[str, Any]:
    inventory = facts.inventory
    return {
        "resources": [
            {
                "apiVersion": entry.api_version,
                "kind": entry.id.kind,
                "namespace": entry.id.namespace,
                "name": entry.id.name,
            }
            for entry in inventory.resources
        ],
        "images": [{"image": image.name, "pinned": image.pinned} for image in inventory.images],
        "source": inventory.source,
        "revision": inventory.revision,
        "digest": facts.digest,
    }


def _changes(gate: Changes, facts: Facts) -> GateOutcome:
    if facts.current is None:
        return GateOutcome(
            kind="changes",
            open=False,
            reason=f"what {facts.channel} names is gone, so that changes can't be counted",
        )
    count = len(diff_inventories(facts.current, facts.inventory))
    total = len(facts.current.resources)
    share = math.ceil(100 * count / max(total, 1))
    limits = []
    if gate.most is not None and count > gate.most:
        limits.append(f"at most {gate.most} may")
    if gate.share is not None and 100 * count > gate.share * max(total, 1):
        limits.append(f"at most {gate.share} % may")
    summary = f"{count} objects change, where {facts.channel} has {total} ({share} %)"
    if limits:
        return GateOutcome(kind="changes", open=False, reason=f"{summary}; {' and '.join(limits)}")
    return GateOutcome(kind="changes", open=True, reason=summary)


def _some(texts: Sequence[str]) -> str:
    different = list(dict.fromkeys(texts))
    more = len(different) - _MOST_NAMED
    return ", ".join(different[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
