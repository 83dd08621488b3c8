"""Objects that are meant to vanish: which ones, how they end, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.apply.plan import make_plan
from ocistate.health.model import HealthStatus
from ocistate.health.vanishing import Ending, Lifetime, Runs, ending_of
from tests.support.factories.objects import as_applied, desire, obj

BATCH = "batch/v1"


def pod(policy: str) -> dict[str, Any]:
    return obj("Pod", "p", spec={"restartPolicy": policy})


def lifetime(given: dict[str, Any]) -> Lifetime:
    (wanted,) = desire(given, namespaced=lambda group, kind: True).wanted
    assert wanted.problem is None
    return wanted.lifetime


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (obj("Job", "j", BATCH, spec={}), Lifetime.KEPT),
        (obj("Job", "j", BATCH, spec={"ttlSecondsAfterFinished": 0}), Lifetime.ONCE),
        (obj("Job", "j", BATCH, spec={"ttlSecondsAfterFinished": None}), Lifetime.KEPT),
        (obj("Job", "j", BATCH, annotations={"ocistate.dev/apply": "once"}), Lifetime.ONCE),
        (obj("ConfigMap", "c", annotations={"ocistate.dev/apply": "once"}), Lifetime.ONCE),
        (
            obj(
                "CronJob",
                "c",
                BATCH,
                spec={"jobTemplate": {"spec": {"ttlSecondsAfterFinished": 1}}},
            ),
            Lifetime.KEPT,
        ),
        (
            obj(
                "TFJob",
                "t",
                "kubeflow.org/v1",
                spec={"runPolicy": {"ttlSecondsAfterFinished": 5}},
            ),
            Lifetime.ONCE,
        ),
        (obj("Workflow", "w", "argoproj.io/v1alpha1", spec={}), Lifetime.ENDS),
        (
            obj("Workflow", "w", "argoproj.io/v1alpha1", spec={"ttlStrategy": {}}),
            Lifetime.ONCE,
        ),
        (
            obj("SparkApplication", "s", "sparkoperator.k8s.io/v1", spec={"timeToLiveSeconds": 9}),
            Lifetime.ONCE,
        ),
        (obj("CertificateSigningRequest", "c", "certificates.k8s.io/v1"), Lifetime.ONCE),
        (obj("Backup", "b", "velero.io/v1"), Lifetime.ONCE),
        (pod("Never"), Lifetime.ENDS),
        (pod("OnFailure"), Lifetime.ENDS),
        (pod("Always"), Lifetime.KEPT),
        (
            obj(
                "Secret",
                "s",
                type="bootstrap.kubernetes.io/token",
                stringData={"expiration": "2027-01-01T00:00:00Z"},
            ),
            Lifetime.ONCE,
        ),
        (obj("Secret", "s", type="bootstrap.kubernetes.io/token", data={}), Lifetime.KEPT),
        (obj("ConfigMap", "c", data={"a": '"ttlSecondsAfterFinished"'}), Lifetime.KEPT),
    ],
)
def test_how_long_an_object_is_wanted(given: dict[str, Any], expected: Lifetime) -> None:
    assert lifetime(given) is expected


def condition(type_: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": type_, "status": status}]}


@pytest.mark.parametrize(
    ("kind", "group", "status", "expected"),
    [
        ("Job", "batch", condition("Complete"), Ending.SUCCEEDED),
        ("Job", "batch", condition("Failed"), Ending.FAILED),
        ("Job", "batch", condition("SuccessCriteriaMet"), Ending.UNFINISHED),
        ("Job", "batch", {}, Ending.UNFINISHED),
        ("Pod", "", {"phase": "Succeeded"}, Ending.SUCCEEDED),
        ("Pod", "", {"phase": "Failed"}, Ending.FAILED),
        ("Pod", "", {"phase": "Running"}, Ending.UNFINISHED),
        ("Workflow", "argoproj.io", {"phase": "Error"}, Ending.FAILED),
        ("Workflow", "argoproj.io", {"phase": "Running"}, Ending.UNFINISHED),
        ("TaskRun", "tekton.dev", condition("Succeeded"), Ending.SUCCEEDED),
        ("TaskRun", "tekton.dev", condition("Succeeded", "False"), Ending.FAILED),
        ("TaskRun", "tekton.dev", condition("Succeeded", "Unknown"), Ending.UNFINISHED),
        ("Backup", "velero.io", {"phase": "Completed"}, Ending.SUCCEEDED),
        ("Thing", "ex.io", {"phase": "Bound"}, None),
        ("Thing", "ex.io", {}, None),
    ],
)
def test_how_it_ended(
    kind: str, group: str, status: dict[str, Any], expected: Ending | None
) -> None:
    given = obj(kind, "x", f"{group}/v1" if group else "v1", status=status)
    (wanted,) = desire(given, namespaced=lambda group, kind: True).wanted
    assert ending_of(wanted.id, given) is expected


def test_what_is_done_is_not_made_again_until_its_content_changes() -> None:
    job = obj("Job", "j", BATCH, spec={"ttlSecondsAfterFinished": 0})
    desired = desire(job)
    (wanted,) = desired.wanted
    runs = Runs()
    runs.began(wanted.id, wanted.marker)
    assert make_plan(desired, {}, done=runs.by_id).empty
    assert not make_plan(desired, {}).empty
    assert make_plan(desired, as_applied(desired), done=runs.by_id).empty

    (other,) = desire(obj("Job", "j", BATCH, spec={"ttlSecondsAfterFinished": 1})).wanted
    assert runs.done(wanted.id, wanted.marker) is not None
    assert runs.done(other.id, other.marker) is None


def test_what_failed_and_is_gone_is_still_told() -> None:
    (wanted,) = desire(obj("Job", "j", BATCH, spec={"ttlSecondsAfterFinished": 0})).wanted
    runs = Runs()
    runs.ended(wanted.id, wanted.marker, Ending.FAILED)
    run = runs.done(wanted.id, wanted.marker)
    assert run is not None
    assert run.health.status is HealthStatus.DEGRADED
    runs.began(wanted.id, wanted.marker)
    assert runs.done(wanted.id, wanted.marker) == run
    runs.keep([])
    assert not runs.by_id
