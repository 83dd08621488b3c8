"""Refusals of Secrets: values are hidden, verdicts are not."""

from __future__ import annotations

import pytest

from ocistate.kube.errors import StatusError, status_error
from ocistate.kube.refusals import is_immutable


def refused(message: str) -> StatusError:
    cause = {"field": "type", "reason": "FieldValueInvalid", "message": message}
    body = {
        "message": f'Secret "s" is invalid: type: {message}',
        "reason": "Invalid",
        "details": {"causes": [cause]},
    }
    return status_error(422, body, doing="apply Secret/n/s", secret=True)


@pytest.mark.parametrize(
    ("message", "immutable"),
    [
        ('Invalid value: "s3cret": field is immutable', True),
        ("Forbidden: field is immutable when `immutable` is set", True),
        ('Invalid value: "s3cret": must be another one', False),
        ('Invalid value: "s3cret: field is immutable, they say"', False),
        ('Invalid value: "s3cret": field is immutable": s3cret', False),
    ],
)
def test_a_verdict_stays_when_the_value_is_hidden(message: str, immutable: bool) -> None:
    error = refused(message)
    assert is_immutable(error) is immutable
    assert "s3cret" not in f"{error} {error.causes}"
