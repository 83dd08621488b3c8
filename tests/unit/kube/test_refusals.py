"""What the API server's refusals mean, in the words of kube-apiserver 1.36."""

from __future__ import annotations

import pytest

from ocistate.kube.errors import Cause, StatusError
from ocistate.kube.refusals import explained, is_immutable, is_passing

IMMUTABLE = [
    'Deployment.apps "d" is invalid: spec.selector: Invalid value: {}: field is immutable',
    'StatefulSet.apps "s" is invalid: spec: Forbidden: updates to statefulset spec for fields '
    "other than 'replicas' are forbidden",
    'PersistentVolumeClaim "p" is invalid: spec: Forbidden: spec is immutable after creation',
    'Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["1"]: may not change once set',
    'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than',
    'Job.batch "j" is invalid: spec.template: Invalid value: {}: field is immutable',
    'RoleBinding "r" is invalid: roleRef: Invalid value: {}: cannot change roleRef',
]


@pytest.mark.parametrize("message", IMMUTABLE)
def test_immutable_fields_are_known_by_their_words(message: str) -> None:
    error = StatusError(message, status=422, code="Invalid")
    assert is_immutable(error)
    assert "recreate" in explained(error).hint


def test_an_object_that_is_also_wrong_otherwise_is_not_worth_recreating() -> None:
    causes = [
        Cause(field="spec.selector", reason="FieldValueInvalid", message="field is immutable"),
        Cause(field="spec.replicas", reason="FieldValueInvalid", message="must be at least 0"),
    ]
    assert not is_immutable(StatusError("x", status=422, code="Invalid", causes=causes))
    assert is_immutable(StatusError("x", status=422, code="Invalid", causes=causes[:1]))


@pytest.mark.parametrize(
    ("status", "message", "passing"),
    [
        (409, "Operation cannot be fulfilled: the object has been modified", True),
        (429, "too many requests", True),
        (500, 'failed calling webhook "x": connection refused', True),
        (404, "the server could not find the requested resource", True),
        (
            403,
            'error looking up service account x/default: serviceaccount "default" not found',
            True,
        ),
        (403, "User cannot patch", False),
        (404, 'namespaces "x" not found', False),
        (422, "field is immutable", False),
        (500, "failed to create typed patch object: .foo: field not declared in schema", False),
    ],
)
def test_what_may_pass_is_tried_again(status: int, message: str, passing: bool) -> None:
    assert is_passing(StatusError(message, status=status)) is passing


def test_field_conflicts_are_told_field_by_field_and_not_repeated() -> None:
    causes = [
        Cause(field=".spec.replicas", reason="FieldManagerConflict", message='conflict with "hpa"'),
        Cause(field=".data.a", reason="FieldManagerConflict", message='conflict with "me"'),
    ]
    error = StatusError("apply D/d: Apply failed", status=409, code="Conflict", causes=causes)
    assert not is_passing(error)
    told = explained(error)
    assert '.spec.replicas (conflict with "hpa"), .data.a (conflict with "me")' in told.message
    assert told.status == 409


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1', "ResourceQuota"),
        (403, 'admission webhook "policy.ex.io" denied the request: no', "policy"),
        (404, 'apply ConfigMap/x/a: namespaces "x" not found', "Namespace"),
    ],
)
def test_common_refusals_come_with_what_to_do(status: int, message: str, hint: str) -> None:
    assert hint in explained(StatusError(message, status=status)).hint


def test_other_refusals_stay_as_they_are() -> None:
    error = StatusError("odd", status=418)
    assert explained(error) is error
