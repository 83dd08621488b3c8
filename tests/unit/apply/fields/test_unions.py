"""What of a live object is in the way of what is applied."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.apply.fields.migration import room_for
from ocistate.apply.fields.unions import claim, in_the_way
from ocistate.kube.errors import Cause, StatusError

CONTAINER = 'k:{"name":"c"}'
HELD: dict[str, Any] = {"f:spec": {"f:containers": {CONTAINER: {".": {}, "f:name": {}}}}}
PROBE = ("f:spec", "f:containers", CONTAINER, "f:probe")


def live(probe: dict[str, Any], **spec: Any) -> dict[str, Any]:
    entry = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": HELD}
    injected = {"name": "injected"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "managedFields": [entry]},
        "spec": {"containers": [injected, {"name": "c", "probe": probe}], **spec},
    }


def sent(probe: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "spec": {"containers": [{"name": "c", "probe": probe}], **spec}}


MORE = "Forbidden: may not specify more than 1 handler type"


def refusal(*fields: str, status: int = 422, message: str = MORE) -> StatusError:
    causes = [Cause(field=field, reason="FieldValueForbidden", message=message) for field in fields]
    return StatusError("invalid", status=status, causes=causes)


@pytest.mark.parametrize(
    "field", ["spec.containers[1].probe.tcp", "spec.containers[1].probe.http.port"]
)
def test_an_alternative_is_found_whichever_is_blamed_and_wherever_it_is(field: str) -> None:
    there = live({"http": {"port": 1, "scheme": "HTTP"}, "period": 10})
    found = in_the_way(refusal(field), there, sent({"tcp": {"port": 1}}))
    assert found == [(*PROBE, "f:http")]


def test_a_text_that_excludes_ours_is_found_where_no_mapping_does() -> None:
    there = live({"value": "x", "name": "A"})
    error = refusal("spec.containers[1].probe.valueFrom")
    assert in_the_way(error, there, sent({"name": "A", "valueFrom": {}})) == [(*PROBE, "f:value")]


def test_what_is_blamed_itself_is_found_alone() -> None:
    there = live({}, strategy={"type": "RollingUpdate", "rolling": {"surge": 1}, "other": {}})
    error = refusal("spec.strategy.rolling")
    found = in_the_way(error, there, sent({}, strategy={"type": "Recreate"}))
    assert found == [("f:spec", "f:strategy", "f:rolling")]


def test_what_we_send_ourselves_and_other_refusals_are_left_alone() -> None:
    there = live({"http": {"port": 1}})
    assert (
        in_the_way(
            refusal("spec.containers[1].probe.http.port"), there, sent({"http": {"port": 1}})
        )
        == []
    )
    assert in_the_way(refusal("spec.replicas"), there, sent({"tcp": {}})) == []
    error = refusal("spec.containers[1].probe.tcp", status=403)
    assert in_the_way(error, there, sent({"tcp": {}})) == []
    assert room_for(sent({}), there, refusal("spec.replicas"), takeover=True) is None


@pytest.mark.parametrize("message", ["must be positive", "field is immutable"])
def test_a_field_that_is_wrong_otherwise_costs_nothing_beside_it(message: str) -> None:
    there = live({"http": {"port": 1}}, strategy={"type": "a"}, replicas=1)
    error = refusal("spec.replicas", message=message)
    assert in_the_way(error, there, sent({}, replicas=-1)) == []


def test_a_claim_takes_a_field_from_everybody_else() -> None:
    others = {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:a": {"f:b": {}}}}}
    status = {"manager": "x", "subresource": "status", "fieldsV1": {"f:spec": {"f:a": {}}}}
    ours = {"manager": "ocistate", "fieldsV1": {"f:spec": {"f:c": {}}}}
    assert claim([others, status, ours], [("f:spec", "f:a")]) == [
        status,
        {"manager": "ocistate", "fieldsV1": {"f:spec": {"f:c": {}, "f:a": {}}}},
    ]
