"""Carrying out a plan: what one failure means for the others, and for what is to be pruned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from ocistate.apply.executor import apply
from ocistate.apply.options import Options
from ocistate.apply.plan import Plan, make_plan
from ocistate.apply.result import ApplyOutcome, ObjectState
from ocistate.errors import ClusterUnavailable, HealthTimeout
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId, object_id
from tests.support.factories.objects import as_applied, config_map, desire, obj

APPLIED, FAILED, SKIPPED = ObjectState.APPLIED, ObjectState.FAILED, ObjectState.SKIPPED


class Server:
    """Takes every object, but those with an error in ``errors``, which are used up one by one."""

    def __init__(self, errors: Mapping[str, Sequence[Exception]] | None = None) -> None:
        self.errors = {name: list(each) for name, each in (errors or {}).items()}
        self.applied: list[str] = []
        self.deleted: list[str] = []
        self.slept: list[float] = []

    async def get(self, id: ObjectId, **keywords: Any) -> None:
        return None

    async def apply_raw(self, sent: Mapping[str, Any], **keywords: Any) -> bytes:
        id = object_id(sent)
        if errors := self.errors.get(id.name):
            raise errors.pop(0)
        self.applied.append(id.name)
        metadata = {**sent["metadata"], "uid": id.name, "resourceVersion": "1"}
        return json.dumps({**sent, "metadata": metadata}).encode()

    async def delete(self, id: ObjectId, **keywords: Any) -> bool:
        self.deleted.append(id.name)
        return True

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def carry_out(server: Server, plan: Plan, **options: Any) -> ApplyOutcome:
    chosen = Options(sleep=server.sleep, clock=lambda: 0.0, rng=lambda: 0.5, **options)
    return asyncio.run(apply(cast(KubeClient, server), plan, chosen))


def states(outcome: ApplyOutcome) -> dict[str, ObjectState]:
    return {each.id.name: each.state for each in outcome.results}


def refused() -> StatusError:
    return StatusError("no", status=422)


def test_one_refusal_does_not_stop_the_others_but_nothing_is_pruned() -> None:
    old = desire(config_map("old"))
    plan = make_plan(desire(config_map("a"), config_map("b")), as_applied(old))
    server = Server({"a": [refused()]})
    outcome = carry_out(server, plan)
    assert states(outcome) == {"a": FAILED, "b": APPLIED, "old": SKIPPED}
    assert server.deleted == []


def test_what_is_no_longer_wanted_is_deleted_when_all_is_applied() -> None:
    plan = make_plan(desire(config_map("a")), as_applied(desire(config_map("old"))))
    server = Server()
    assert states(carry_out(server, plan)) == {"a": APPLIED, "old": ObjectState.DELETED}
    assert server.deleted == ["old"]


def test_objects_of_a_namespace_that_failed_are_not_tried() -> None:
    inside = config_map("inside", namespace="new")
    plan = make_plan(desire(obj("Namespace", "new"), inside, config_map("a")), {})
    server = Server({"new": [refused()]})
    assert states(carry_out(server, plan)) == {"new": FAILED, "inside": SKIPPED, "a": APPLIED}


def test_a_cluster_that_is_gone_is_asked_once() -> None:
    plan = make_plan(desire(*(config_map(name) for name in "abc")), {})
    server = Server({"a": [ClusterUnavailable("down")]})
    outcome = carry_out(server, plan, concurrency=1)
    assert states(outcome) == {"a": FAILED, "b": SKIPPED, "c": SKIPPED}
    assert [each.reason for each in outcome.results] == ["down"] * 3


def test_a_wave_is_begun_when_the_gate_lets_it() -> None:
    late = config_map("late", annotations={"ocistate.dev/wave": "1"})
    plan = make_plan(desire(config_map("a"), late), {})
    waited: list[str] = []

    async def open_gate(ids: Sequence[ObjectId]) -> None:
        waited.extend(id.name for id in ids)

    async def closed_gate(ids: Sequence[ObjectId]) -> None:
        raise HealthTimeout("not healthy")

    assert states(carry_out(Server(), plan, gate=open_gate)) == {"a": APPLIED, "late": APPLIED}
    assert waited == ["a"]
    outcome = carry_out(Server(), plan, gate=closed_gate)
    assert states(outcome) == {"a": APPLIED, "late": SKIPPED}
    assert outcome.results[-1].reason == "wave 1 was not begun: not healthy"


@pytest.mark.parametrize("times", [1, 5])
def test_a_passing_refusal_is_tried_again_ever_more_slowly(times: int) -> None:
    webhook = StatusError('failed calling webhook "w"', status=500, code="InternalError")
    server = Server({"a": [webhook] * times})
    assert states(carry_out(server, make_plan(desire(config_map("a")), {}))) == {"a": APPLIED}
    assert server.slept == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4][:times])


def test_a_passing_refusal_that_does_not_pass_fails_in_the_end() -> None:
    webhook = StatusError('failed calling webhook "w"', status=500, code="InternalError")
    server = Server({"a": [webhook] * 6})
    assert states(carry_out(server, make_plan(desire(config_map("a")), {}))) == {"a": FAILED}
    assert len(server.slept) == 5
