"""Objects that are meant to vanish: how long each is wanted, and how it ended.

A Job with ``ttlSecondsAfterFinished`` is removed when it is finished; put back as if that were
drift, it would run again and again. Pure functions; `Runs` is the memory, which a Stack's status
keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from ocistate.health.model import MISSING, Health, HealthStatus, conditions_of
from ocistate.objects import GroupKind, ObjectId

ONCE: Final = "once"
"""The value of ``ocistate.dev/apply`` for what is meant to vanish, whatever it is."""

REMOVED: Final = "ran to its end, and was removed"
_FAILED: Final = "failed, and was removed; it runs again when the artifact changes it"
_CONTENT_LENGTH: Final = 16


class Lifetime(StrEnum):
    """When an object that is not there any more is put back."""

    KEPT = "kept"
    """Always."""
    ENDS = "ends"
    """Unless it was seen to end."""
    ONCE = "once"
    """Only if it was seen to go before its end."""


class Ending(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNFINISHED = "unfinished"


_HINTS: Final = (
    b'"ttlSecondsAfterFinished"',
    b'"ttlStrategy"',
    b'"timeToLiveSeconds"',
    b'"bootstrap.kubernetes.io/token"',
)
_ONCE_KINDS: Final = frozenset(
    {
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("velero.io", "Backup"),
        ("velero.io", "Restore"),
        ("velero.io", "DeleteBackupRequest"),
    }
)
_RUNS: Final = frozenset(
    {
        ("argoproj.io", "Workflow"),
        ("argoproj.io", "AnalysisRun"),
        ("tekton.dev", "TaskRun"),
        ("tekton.dev", "PipelineRun"),
        ("tekton.dev", "CustomRun"),
    }
)
"""Kinds that run to an end, and are tidied away by their controllers or beside them."""

_JOB: Final = ("batch", "Job")
_POD: Final = ("", "Pod")


def lifetime_of(id: ObjectId, json: bytes, load: Callable[[], Mapping[str, Any]]) -> Lifetime:
    """How long an object is wanted; ``load`` parses it, where its ``json`` gives cause to."""
    key = GroupKind(id.group, id.kind)
    if key in _ONCE_KINDS:
        return Lifetime.ONCE
    hinted = any(hint in json for hint in _HINTS)
    if not hinted and key != _POD:
        return Lifetime.ENDS if key in _RUNS else Lifetime.KEPT
    obj = load()
    spec = _mapping(obj.get("spec"))
    if key == _POD:
        ends = spec.get("restartPolicy") in ("Never", "OnFailure")
        return Lifetime.ENDS if ends else Lifetime.KEPT
    if key == ("", "Secret"):
        expires = any("expiration" in _mapping(obj.get(part)) for part in ("data", "stringData"))
        token = obj.get("type") == "bootstrap.kubernetes.io/token"
        return Lifetime.ONCE if expires and token else Lifetime.KEPT
    limits = (
        spec.get("ttlSecondsAfterFinished"),
        _mapping(spec.get("runPolicy")).get("ttlSecondsAfterFinished"),
        spec.get("ttlStrategy"),
        spec.get("timeToLiveSeconds"),
    )
    if any(limit is not None for limit in limits):
        return Lifetime.ONCE
    return Lifetime.ENDS if key in _RUNS else Lifetime.KEPT


def ending_of(id: ObjectId, obj: Mapping[str, Any]) -> Ending | None:
    """How a live object ended; UNFINISHED: not yet; None: it does not say, or never ends."""
    status = _mapping(obj.get("status"))
    key = GroupKind(id.group, id.kind)
    if key == _POD:
        phases = {"Succeeded": Ending.SUCCEEDED, "Failed": Ending.FAILED}
        return phases.get(str(status.get("phase")), Ending.UNFINISHED)
    truths = {type_: each.get("status") for type_, each in conditions_of(obj).items()}
    if truths.get("Failed") == "True" or truths.get("Succeeded") == "False":
        return Ending.FAILED
    if "True" in (truths.get("Complete"), truths.get("Completed"), truths.get("Succeeded")):
        return Ending.SUCCEEDED
    if key == _JOB:
        return Ending.UNFINISHED
    for text in (status.get("phase"), status.get("state"), status.get("jobStatus")):
        if (ending := _PHASES.get(str(text).lower())) is not None:
            return ending
    return Ending.UNFINISHED if key in _RUNS else None


_PHASES: Final = {
    **dict.fromkeys(("succeeded", "completed", "successful"), Ending.SUCCEEDED),
    **dict.fromkeys(("failed", "error", "partiallyfailed"), Ending.FAILED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An object that is meant to vanish, and was applied: which content, and how it ended."""

    id: ObjectId
    content: str
    ending: Ending | None = None

    @property
    def health(self) -> Health:
        """Its health once it is gone."""
        return health_after(self.ending)


def health_after(ending: Ending | None) -> Health:
    """The health of an object that is gone, and is not to be put back."""
    if ending is Ending.FAILED:
        return Health(HealthStatus.DEGRADED, _FAILED)
    return MISSING if ending is Ending.UNFINISHED else Health(HealthStatus.HEALTHY, REMOVED)


def content_of(marker: str) -> str:
    """What tells one content of an object from another, short enough for a status."""
    return marker[-_CONTENT_LENGTH:]


@dataclass(slots=True)
class Runs:
    """What one Stack has applied of objects that are meant to vanish."""

    by_id: dict[ObjectId, Run] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Runs:
        return cls({run.id: run for run in runs})

    def began(self, id: ObjectId, marker: str) -> None:
        """It was applied, or found to be there, with this content."""
        known = self.by_id.get(id)
        if known is None or known.content != content_of(marker):
            self.by_id[id] = Run(id=id, content=content_of(marker))

    def ended(self, id: ObjectId, marker: str, ending: Ending) -> None:
        """It was seen to end."""
        self.began(id, marker)
        self.by_id[id] = replace(self.by_id[id], ending=ending)

    def done(self, id: ObjectId, marker: str) -> Run | None:
        """The run of this very content, if there was one."""
        run = self.by_id.get(id)
        return run if run is not None and run.content == content_of(marker) else None

    def keep(self, ids: Iterable[ObjectId]) -> None:
        """Forget all others."""
        self.by_id = {id: self.by_id[id] for id in ids if id in self.by_id}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
