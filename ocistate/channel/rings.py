"""Rings: which clusters of a channel take a new release first, and which later. Pure.

    rollout = Rollout(stable=old, rings=parse_rings_text("canary=5%/10m,all=100%"), opened_at=now)
    place = rollout.ring_of(Cluster(name="east-1"), seed=seed)
    rollout.is_open(place)

A cluster belongs to the first ring that takes it in: by its labels, or by a number from 0 to 100
that is drawn from its name, always the same one for a channel. So rings nest: what a percentage
takes in, a larger one takes in too. The last ring takes in every cluster.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from ocistate.canonical import DIGEST_PATTERN
from ocistate.documents.fields import Fields
from ocistate.errors import ConfigError, InvalidRecord

MAX_RINGS: Final = 16
MAX_LABELS: Final = 16
PATIENCE_SECONDS: Final = 300
"""How long a cluster of an open ring may be in trouble before the rollout goes back."""

_MAX_SECONDS: Final = 90 * 24 * 3600
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._/]{0,251}[A-Za-z0-9])?")
_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?)?")
_SPEC: Final = re.compile(r"([a-z0-9-]+)=([0-9]{1,3})%(?:/([0-9a-z]+))?")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster as it calls itself. Without a name it is in the last ring of every rollout."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """One ring. It takes in clusters by ``percent``, those of the rings before included, or those
    that have all the ``labels``.

    ``soak``: seconds that its clusters must be healthy before the next ring is opened;
    ``patience``: seconds that one of them may be in trouble before the rollout goes back.
    """

    name: str
    percent: int = 0
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    soak: int = 0
    patience: int = PATIENCE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A release on its way through the rings, the first ``open`` of which have it.

    ``stable`` are the digests, by repository, that all others stay on; ``opened_at`` is when the
    last ring was opened.
    """

    stable: Mapping[str, str]
    rings: tuple[Ring, ...]
    opened_at: datetime
    open: int = 1

    def ring_of(self, cluster: Cluster, *, seed: str) -> int:
        """The place of the ring that a cluster belongs to."""
        last = len(self.rings) - 1
        if not cluster.name:
            return last
        drawn = draw(seed, cluster.name)
        return next(
            (n for n, ring in enumerate(self.rings[:last]) if _takes(ring, cluster, drawn)), last
        )

    def is_open(self, place: int) -> bool:
        """Whether a ring has the new release."""
        return place < self.open

    @property
    def newest(self) -> Ring:
        """The ring that was opened last."""
        return self.rings[self.open - 1]

    def __str__(self) -> str:
        return f"{self.newest.name}, {self.open} of {len(self.rings)} rings"


def draw(seed: str, cluster: str) -> float:
    """A number from 0 up to 100, uniform over names, and always the same for these two."""
    drawn = hashlib.sha256(f"ring\n{seed}\n{cluster}".encode()).digest()[:6]
    return int.from_bytes(drawn) * 100 / 2**48


def _takes(ring: Ring, cluster: Cluster, drawn: float) -> bool:
    if ring.labels:
        return ring.labels.items() <= cluster.labels.items()
    return drawn < ring.percent


def parse_rings_text(text: str) -> tuple[Ring, ...]:
    """``canary=5%/10m,all=100%``: each ring's name, percentage, soak time. Raises ConfigError."""
    rings = []
    for part in text.split(","):
        match = _SPEC.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                f"rings: {part.strip()!r} is no ring",
                hint="write NAME=PERCENT%/SOAK, such as canary=5%/10m,early=25%/1h,all=100%",
            )
        rings.append({"name": match[1], "percent": int(match[2]), "soak": match[3] or "0s"})
    return parse_rings({"rings": rings})


def parse_rings(value: Any, *, origin: str = "") -> tuple[Ring, ...]:
    """Rings as a person writes them into a file. Raises ConfigError."""
    fields = Fields(value, path="", origin=origin)
    rings = []
    for item in fields.items("rings"):
        rings.append(
            Ring(
                name=item.text("name"),
                percent=item.integer("percent", 0, most=100),
                labels=MappingProxyType(_texts(item.raw("labels"), item)),
                soak=_whole(item, "soak", 0),
                patience=_whole(item, "patience", PATIENCE_SECONDS),
            )
        )
        item.finish()
    fields.finish()
    if problem := _problem(rings):
        raise fields.error("rings", problem)
    return tuple(rings)


def _whole(item: Fields, key: str, default: int) -> int:
    seconds = item.seconds(key, float(default), most=_MAX_SECONDS)
    if seconds != int(seconds):
        raise item.error(key, "must be whole seconds")
    return int(seconds)


def _texts(value: Any, item: Fields) -> dict[str, str]:
    if value is None:
        return {}
    problem = labels_problem(value)
    if problem:
        raise item.error("labels", problem)
    return dict(value)


def labels_problem(value: Any) -> str:
    """What keeps a value from being labels; empty when nothing does."""
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        return f"must be a mapping of at most {MAX_LABELS} labels"
    for key, text in value.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            return f"{str(key)[:80]!r} is not a label's key"
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            return f"{str(text)[:80]!r} is not a label's value: it must be a text of at most 63"
    return ""


def _problem(rings: list[Ring]) -> str:
    """What is wrong with rings as a whole; empty when nothing is."""
    if not 0 < len(rings) <= MAX_RINGS:
        return f"there must be from 1 to {MAX_RINGS} of them"
    if strange := next((ring.name for ring in rings if not _NAME.fullmatch(ring.name)), None):
        return f"{strange[:80]!r} is no name: lower-case letters, digits and '-'"
    if len({ring.name for ring in rings}) < len(rings):
        return "each must have a name of its own"
    least = 0
    for ring in rings:
        if bool(ring.labels) == bool(ring.percent):
            return f"{ring.name} must have either a percent or labels"
        if ring.percent:
            if ring.percent <= least:
                return f"{ring.name} must take in more than the rings before it, {least}%"
            least = ring.percent
    if rings[-1].percent != 100:
        return f"the last one, {rings[-1].name}, must take in 100%"
    return ""


def write_rollout(rollout: Rollout, opened_at: str) -> dict[str, Any]:
    """A rollout as it is written into a record."""
    return {
        "stable": dict(rollout.stable),
        "open": rollout.open,
        "openedAt": opened_at,
        "rings": [
            {
                "name": ring.name,
                **({"labels": dict(ring.labels)} if ring.labels else {"percent": ring.percent}),
                "soakSeconds": ring.soak,
                "patienceSeconds": ring.patience,
            }
            for ring in rollout.rings
        ],
    }


def read_rollout(value: Any, opened_at: datetime) -> Rollout:
    """A rollout from a record whose signature holds. Unknown fields are refused, for who follows a
    part of it would run what it should not. Raises InvalidRecord."""
    if not isinstance(value, dict) or value.keys() != {"stable", "open", "openedAt", "rings"}:
        raise InvalidRecord("record: rollout has not the fields stable, open, openedAt, rings")
    stable, found, opened = value["stable"], value["rings"], value["open"]
    if not isinstance(stable, dict) or not all(
        isinstance(digest, str) and DIGEST_PATTERN.fullmatch(digest) for digest in stable.values()
    ):
        raise InvalidRecord("record: rollout.stable is not digests by repository")
    if not isinstance(found, list) or len(found) > MAX_RINGS:
        raise InvalidRecord(f"record: rollout.rings is not a list of at most {MAX_RINGS}")
    rings = [_read_ring(item) for item in found]
    if problem := _problem(rings):
        raise InvalidRecord(f"record: rollout.rings: {problem}")
    if not _is_whole(opened, len(rings)) or opened == 0:
        raise InvalidRecord(f"record: rollout.open is not a number from 1 to {len(rings)}")
    return Rollout(
        stable=MappingProxyType(stable), rings=tuple(rings), opened_at=opened_at, open=opened
    )


def _read_ring(value: Any) -> Ring:
    known = {"name", "percent", "labels", "soakSeconds", "patienceSeconds"}
    if not isinstance(value, dict) or not value.keys() <= known:
        raise InvalidRecord(f"record: rollout.rings has one with other fields than {sorted(known)}")
    labels = value.get("labels", {})
    if problem := labels_problem(labels):
        raise InvalidRecord(f"record: rollout.rings: labels: {problem}")
    name, percent = value.get("name"), value.get("percent", 0)
    soak, patience = value.get("soakSeconds", 0), value.get("patienceSeconds", PATIENCE_SECONDS)
    if (
        not isinstance(name, str)
        or not _is_whole(percent, 100)
        or not _is_whole(soak, _MAX_SECONDS)
        or not _is_whole(patience, _MAX_SECONDS)
    ):
        raise InvalidRecord("record: rollout.rings: a name is no text, or a number not in bounds")
    return Ring(
        name=name,
        percent=percent,
        labels=MappingProxyType(labels),
        soak=soak,
        patience=patience,
    )


def _is_whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
