"""A pipeline: channels in order, and the gates before each of them. Pure.

    pipeline = parse_pipeline(obj, origin="pipeline.yaml:1", read=reader)

It is a reviewed file, and no object of a cluster: who moves channels reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import Any, Final

from ocistate.channel.gates import (
    Approvals,
    Attested,
    Changes,
    Gate,
    Healthy,
    InventoryCheck,
    Opening,
)
from ocistate.channel.window import DAYS, Freeze, TimeWindow
from ocistate.documents.fields import Fields
from ocistate.errors import ConfigError, OcistateError
from ocistate.oci.tags import check_artifact_tag
from ocistate.reference import Reference, check_channel, parse_reference
from ocistate.semver import parse_range
from ocistate.signing.policy.model import API_VERSION, TrustPolicy
from ocistate.signing.policy.parse import Reader, parse_attestation, parse_signers

KIND: Final = "Pipeline"

_MAX_EXPRESSION: Final = 4096
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSource:
    """What feeds the first stage: one of a tag, a range of versions, and a channel."""

    tag: str = ""
    semver: str = ""
    channel: str = ""

    def __str__(self) -> str:
        return self.channel or self.tag or self.semver


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStage:
    """A channel, and what must be so before an artifact gets into it."""

    name: str
    channel: str
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Stages in order: each is fed by the channel of the one before, the first by the source.

    ``policy`` is the path of a file with TrustPolicies, as it is written.
    """

    name: str
    repository: Reference
    policy: str
    source: PipelineSource
    stages: tuple[PipelineStage, ...]

    def feeder(self, place: int) -> str:
        """The channel that feeds a stage; empty for a first one that is fed by tags."""
        return self.stages[place - 1].channel if place else self.source.channel


def parse_pipeline(
    obj: Mapping[str, Any], *, origin: str = "", read: Reader | None = None
) -> Pipeline:
    """Read a Pipeline object. Raises ConfigError naming the field that is wrong."""
    top = Fields(obj, path="", origin=origin)
    if top.text("apiVersion") != API_VERSION:
        raise top.error("apiVersion", f"is {obj['apiVersion']!r}", hint=f"write {API_VERSION}")
    if top.text("kind") != KIND:
        raise top.error("kind", f"is {obj['kind']!r}", hint=f"write {KIND}")
    metadata = top.mapping("metadata")
    name = metadata.text("name")
    if not _NAME.fullmatch(name):
        raise metadata.error("name", f"is {name[:80]!r}", hint="lower-case letters, digits, '-'")
    metadata.finish()
    spec = Fields(top.raw("spec"), path="spec", origin=origin)
    top.finish()
    source = _source(spec.mapping("source"))
    stages: list[PipelineStage] = []
    for fields in spec.items("stages"):
        feeder = stages[-1].channel if stages else source.channel
        stage = _stage(fields, feeder, read)
        if stage.name in {other.name for other in stages}:
            raise fields.error("name", f"{stage.name!r} is the name of two stages")
        if stage.channel in {source.channel, *(other.channel for other in stages)}:
            raise fields.error("channel", f"{stage.channel!r} is in the pipeline twice")
        stages.append(stage)
    if not stages:
        raise spec.error("stages", "is empty", hint="name at least one: {name: …, channel: …}")
    pipeline = Pipeline(
        name=name,
        repository=_repository(spec),
        policy=spec.text("policy"),
        source=source,
        stages=tuple(stages),
    )
    spec.finish()
    return pipeline


def check_trust(pipeline: Pipeline, policy: TrustPolicy, *, origin: str = "") -> None:
    """That a pipeline and the TrustPolicy of its repository fit together. Raises ConfigError.

    Who moves channels, signs artifacts or reports must not approve too: a job would approve
    itself. Clusters that a gate names must be enrolled.
    """
    prefix = f"{origin}: " if origin else ""
    taken = {
        trusted.key.fingerprint: what
        for what, keys in (
            ("keys", policy.keys),
            ("reporters", policy.reporters),
            ("channelKeys", policy.channel_keys),
        )
        for trusted in keys
    }
    enrolled = {trusted.name for trusted in policy.reporters}
    for at, stage in enumerate(pipeline.stages):
        for place, gate in enumerate(stage.gates):
            where = f"{prefix}spec.stages[{at}].gates[{place}].{gate.kind}"
            if isinstance(gate, Approvals):
                for trusted in gate.keys:
                    if trusted.key.fingerprint in taken:
                        raise ConfigError(
                            f"{where}.keys: {trusted.name} is one of the {policy.name!r} policy's "
                            f"{taken[trusted.key.fingerprint]}",
                            hint="an approver needs a key that does nothing else",
                        )
                signers = {replace(who, name="") for who in policy.identities}
                if shared := [g for g in gate.identities if replace(g, name="") in signers]:
                    raise ConfigError(
                        f"{where}.identities: {shared[0].name} is one of the "
                        f"{policy.name!r} policy's identities",
                        hint="who signs artifacts must not approve them",
                    )
            if isinstance(gate, Healthy):
                if not enrolled:
                    raise ConfigError(
                        f"{where}: the TrustPolicy {policy.name!r} enrols no cluster",
                        hint="name clusters and their public keys in its spec.reporters",
                    )
                if strange := [name for name in gate.clusters if name not in enrolled]:
                    raise ConfigError(
                        f"{where}.clusters: {strange[0]!r} is none of the {policy.name!r} policy's "
                        "reporters",
                        hint=f"enrolled are {', '.join(sorted(enrolled))}",
                    )


def _repository(spec: Fields) -> Reference:
    text = spec.text("repository")
    try:
        reference = parse_reference(text)
    except OcistateError as error:
        raise spec.error("repository", error.message, hint=error.hint) from None
    if reference.target is not None:
        raise spec.error("repository", f"{text!r} names a tag or digest", hint="leave it out")
    return reference


def _source(fields: Fields) -> PipelineSource:
    given = [key for key in ("tag", "semver", "channel") if fields.has(key)]
    if len(given) != 1:
        raise fields.error(
            "", f"has {len(given)} of tag, semver and channel", hint="give exactly one of them"
        )
    value = fields.text(given[0])
    try:
        if given[0] == "tag":
            check_artifact_tag(value)
        elif given[0] == "semver":
            parse_range(value)
        else:
            check_channel(value)
    except OcistateError as error:
        raise fields.error(given[0], error.message, hint=error.hint) from None
    fields.finish()
    return PipelineSource(**{given[0]: value})


def _stage(fields: Fields, feeder: str, read: Reader | None) -> PipelineStage:
    name = fields.text("name")
    if not _NAME.fullmatch(name):
        raise fields.error("name", f"is {name[:80]!r}", hint="lower-case letters, digits, '-'")
    channel = fields.text("channel", name) or name
    try:
        check_channel(channel)
    except OcistateError as error:
        raise fields.error("channel", error.message, hint=error.hint) from None
    gates = tuple(_gate(item, feeder, read) for item in fields.items("gates"))
    fields.finish()
    return PipelineStage(name=name, channel=channel, gates=gates)


_KINDS: Final = ("healthy", "approvals", "attestation", "window", "check", "changes")


def _gate(fields: Fields, feeder: str, read: Reader | None) -> Gate:
    given = [kind for kind in _KINDS if fields.has(kind)]
    if len(given) == 1:
        kind, inner = given[0], fields.mapping(given[0])
        gate = _gate_of(kind, inner, feeder, read)
        inner.finish()
    for kind in _KINDS:
        fields.raw(kind)
    fields.finish()
    if len(given) != 1:
        raise fields.error(
            "", f"has {len(given)} gates", hint=f"an entry is one of {', '.join(_KINDS)}"
        )
    return gate


def _gate_of(kind: str, inner: Fields, feeder: str, read: Reader | None) -> Gate:
    if kind == "healthy":
        if not feeder:
            raise inner.error(
                "",
                "has no channel before it whose clusters could report",
                hint="put it into a later stage, or feed the first one from a channel",
            )
        if not inner.has("for"):
            raise inner.error("for", "is required", hint="write how long, such as 1h; 0s for now")
        return Healthy(
            soak=timedelta(seconds=inner.seconds("for", 0)),
            share=inner.integer("share", 100, least=1, most=100),
            clusters=tuple(dict.fromkeys(inner.texts("clusters"))),
        )
    if kind == "approvals":
        return _approvals(inner, read)
    if kind == "attestation":
        return Attested(needed=parse_attestation(inner, read))
    if kind == "window":
        return Opening(window=_window(inner))
    if kind == "check":
        return _check(inner)
    if not inner.has("most") and not inner.has("share"):
        raise inner.error("", "has no limit", hint="give most (objects), share (percent) or both")
    return Changes(
        most=inner.integer("most", 0) if inner.has("most") else None,
        share=inner.integer("share", 0, most=100) if inner.has("share") else None,
    )


def _approvals(fields: Fields, read: Reader | None) -> Approvals:
    keys, identities = parse_signers(fields, read)
    count = fields.integer("count", 1, least=1, most=100)
    there = len({trusted.key.fingerprint for trusted in keys}) + len(identities)
    if there < count:
        raise fields.error(
            "count",
            f"asks for {count} approvals, but there are {there} keys and identities",
            hint="name more approvers, or lower the count",
        )
    return Approvals(count=count, keys=keys, identities=identities)


def _check(fields: Fields) -> InventoryCheck:
    from ocistate.cel import check_syntax

    expression = fields.text("expression", most=_MAX_EXPRESSION, lines=True)
    if fault := check_syntax(expression):
        raise fields.error("expression", fault, hint="see docs/pipelines.md")
    return InventoryCheck(expression=expression, message=fields.text("message", "", lines=True))


def _window(fields: Fields) -> TimeWindow:
    from zoneinfo import ZoneInfo

    zone = fields.text("timeZone", "UTC")
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, LookupError):
        raise fields.error(
            "timeZone", f"is {zone[:80]!r}, and no such zone is known", hint="write Europe/Zurich"
        ) from None
    days = fields.texts("days") or DAYS
    for place, day in enumerate(days):
        if day not in DAYS:
            raise fields.error(
                f"days[{place}]", f"is {day[:40]!r}", hint=f"one of {', '.join(DAYS)}"
            )
    start = end = time()
    if fields.has("hours"):
        text = fields.text("hours")
        match = _HOURS.fullmatch(text)
        if match is None:
            raise fields.error("hours", f"is {text[:40]!r}", hint="write 09:00-17:00")
        start = time(int(match[1]), int(match[2]))
        end = time(int(match[3] or 0), int(match[4] or 0))
        if start == end and text != "00:00-24:00":
            raise fields.error("hours", "ends when it starts", hint="leave it out for all day")
    freezes = tuple(
        _freeze(fields, place, text) for place, text in enumerate(fields.texts("freeze"))
    )
    return TimeWindow(
        zone=zone,
        days=frozenset(DAYS.index(day) for day in days),
        start=start,
        end=end,
        freezes=freezes,
    )


def _freeze(fields: Fields, place: int, text: str) -> Freeze:
    first, dots, last = text.partition("..")
    try:
        freeze = Freeze(date.fromisoformat(first), date.fromisoformat(last if dots else first))
    except ValueError:
        raise fields.error(
            f"freeze[{place}]",
            f"is {text[:40]!r}",
            hint="write 2026-12-24 or 2026-12-24..2027-01-02",
        ) from None
    if freeze.last < freeze.first:
        raise fields.error(f"freeze[{place}]", f"{text} ends before it begins")
    return freeze
