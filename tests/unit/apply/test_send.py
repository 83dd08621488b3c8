"""Which nulls of an object the API server refuses."""

from __future__ import annotations

from ocistate.apply.send import refused_nulls
from ocistate.kube.errors import Cause, StatusError

TANK = {
    "kind": "Tank",
    "spec": {
        "opts": None,
        "may": None,
        "map": {"a/b": None, "x.y": None},
        "ports": [{"port": 1, "name": None}, None],
    },
}


def refusal(*fields: str, status: int = 422) -> StatusError:
    causes = [
        Cause(
            field=field,
            reason="FieldValueTypeInvalid",
            message=f'Invalid value: "null": {field} in body must be of type object: "null"',
        )
        for field in fields
    ]
    return StatusError("invalid", status=status, code="Invalid", causes=causes)


def test_exactly_the_refused_nulls_are_found() -> None:
    error = refusal("spec.opts", "spec.map.a/b", "spec.map[x.y]", "spec.ports[0].name")
    assert refused_nulls(TANK, error) == [
        "/spec/opts",
        "/spec/map/a~1b",
        "/spec/map/x.y",
        "/spec/ports/0/name",
    ]


def test_other_refusals_have_nothing_to_do_with_nulls() -> None:
    assert refused_nulls(TANK, refusal("spec.ports[1]")) == []
    assert refused_nulls(TANK, refusal("spec.missing")) == []
    assert refused_nulls(TANK, refusal("spec.opts", status=409)) == []
    plain = Cause(field="spec.opts", reason="FieldValueInvalid", message="too long")
    assert refused_nulls(TANK, StatusError("x", status=422, causes=[plain])) == []
