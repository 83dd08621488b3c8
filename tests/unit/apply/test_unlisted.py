"""What is left out of a plan while its kind cannot be listed."""

from __future__ import annotations

import pytest

from ocistate.apply.plan import make_plan
from ocistate.apply.unlisted import blind, is_broken, names_its_webhook
from ocistate.errors import ClusterUnavailable, OcistateError
from ocistate.kube.errors import StatusError
from ocistate.objects import GroupKind
from tests.support.factories.objects import as_applied, config_map, crd, desire, obj

DOWN = StatusError("conversion webhook for ex.io/v1, Kind=Thing failed", status=500)
UNLISTED = {GroupKind("ex.io", "Thing"): DOWN}


def test_only_objects_of_the_broken_kind_are_refused() -> None:
    desired = desire(crd("Thing", "ex.io"), obj("Thing", "a", "ex.io/v1"), config_map("b"))
    plan = make_plan(blind(desired, UNLISTED), {})
    assert [action.id.name for action in plan.refuse] == ["a"]
    assert "conversion webhook" in plan.refuse[0].reason
    assert {action.id.name for action in plan.write} == {"things.ex.io", "b"}


def test_what_was_seen_before_stays_as_it_is() -> None:
    desired = desire(crd("Thing", "ex.io"), obj("Thing", "a", "ex.io/v1"))
    mine = as_applied(desired)
    assert make_plan(blind(desired, UNLISTED, mine), mine).empty


def test_without_objects_of_the_kind_nothing_changes() -> None:
    desired = desire(config_map("b"))
    assert blind(desired, UNLISTED) is desired


@pytest.mark.parametrize(
    ("error", "broken", "webhook"),
    [
        (DOWN, True, True),
        (StatusError("no answer", status=504), True, False),
        (StatusError("the server is currently unable", status=503), True, False),
        (StatusError("conversion webhook failed: no service", status=404), True, True),
        (StatusError("forbidden", status=403), False, False),
        (ClusterUnavailable("conversion webhook"), False, False),
    ],
)
def test_what_is_broken(error: OcistateError, broken: bool, webhook: bool) -> None:
    assert is_broken(error) is broken
    assert names_its_webhook(error) is webhook
