"""What a namespace or an account refuses is asked for by one object now and then, not by all."""

from __future__ import annotations

import pytest

from ocistate.apply.barred import Barred
from ocistate.kube.errors import Cause, StatusError
from ocistate.objects import ObjectId

GOING = StatusError(
    "apply: no new content",
    status=403,
    causes=[Cause(field="", reason="NamespaceTerminating", message="being terminated")],
)
FORBIDDEN = StatusError("apply: forbidden", status=403)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def config_map(number: int, namespace: str = "n") -> ObjectId:
    return ObjectId("", "ConfigMap", namespace, f"a-{number:04}")


def sent_in_a_minute(barred: Barred, clock: Clock, error: StatusError, *, new: bool) -> int:
    """How many of 1,500 objects are sent, of which none is taken, tried every ten seconds."""
    sent = 0
    for _ in range(6):
        for number in range(1500):
            if barred.refusal(config_map(number), new=new) is None:
                sent += 1
                barred.refused(config_map(number), error, new=new)
        clock.now += 10
    return sent


@pytest.mark.parametrize(("error", "most"), [(GOING, 5), (FORBIDDEN, 12)])
def test_what_cannot_be_written_costs_a_handful_of_requests(error: StatusError, most: int) -> None:
    clock = Clock()
    barred = Barred(clock=clock)
    assert sent_in_a_minute(barred, clock, error, new=True) <= most
    assert barred.refusal(config_map(1, "other"), new=True) is None
    known = barred.refusal(config_map(0), new=True)
    assert known is error, "it is told as it was when it was sent"
    assert "held back" in str(barred.refusal(config_map(99), new=True))


def test_it_is_over_as_soon_as_one_is_taken() -> None:
    clock = Clock()
    barred = Barred(clock=clock)
    sent_in_a_minute(barred, clock, GOING, new=True)
    clock.now += 60
    assert barred.refusal(config_map(7), new=True) is None
    assert barred.refusal(config_map(8), new=True) is not None, "one finds out for all"
    barred.written(config_map(7), new=True)
    assert barred.refusal(config_map(8), new=True) is None


def test_a_new_namespace_of_that_name_is_another_one() -> None:
    barred = Barred(clock=Clock())
    barred.refused(config_map(0), GOING, new=True)
    barred.written(ObjectId("", "Namespace", "", "n"), new=True)
    assert barred.refusal(config_map(1), new=True) is None


def test_what_is_there_may_be_changed_while_its_namespace_goes() -> None:
    barred = Barred(clock=Clock())
    barred.refused(config_map(0), GOING, new=True)
    assert barred.refusal(config_map(1), new=False) is None


def test_what_is_wrong_with_an_object_holds_no_other_back() -> None:
    barred = Barred(clock=Clock())
    for number in range(100):
        assert barred.refusal(config_map(number), new=True) is None
        barred.refused(config_map(number), StatusError("invalid", status=422), new=True)
