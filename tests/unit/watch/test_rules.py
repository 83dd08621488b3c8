"""Which rule decides on the health of an owned object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ocistate.health.model import HEALTHY, Health, HealthStatus
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.labels import DIGEST_ANNOTATION, FIELD_MANAGER, STACK_LABEL
from ocistate.objects import GroupKind
from ocistate.watch.rules import GOING, HealthRules
from tests.support.factories.objects import OWNER, live

THING = GroupKind("ex.io", "Thing")
THINGS = ApiResource(
    group="ex.io",
    version="v1",
    kind="Thing",
    plural="things",
    namespaced=True,
    subresources=frozenset({"status"}),
)
DEGRADED = Health(HealthStatus.DEGRADED, "broken")
SUSPENDED = Health(HealthStatus.SUSPENDED, "paused")
OBJECT = {"apiVersion": "ex.io/v1", "kind": "Thing", "metadata": {"name": "a", "generation": 1}}


def degraded(obj: Mapping[str, Any]) -> Health:
    return DEGRADED


def suspended(obj: Mapping[str, Any]) -> Health:
    return SUSPENDED


def test_an_owners_rule_goes_before_the_watchs_and_that_before_the_built_in() -> None:
    rules = HealthRules({THING: suspended})
    assert rules.evaluate(THINGS, live(), OBJECT, None) == SUSPENDED
    rules.set_owner(OWNER, {THING: degraded})
    assert rules.evaluate(THINGS, live(), OBJECT, None) == DEGRADED
    assert rules.evaluate(THINGS, live(owner="other"), OBJECT, None) == SUSPENDED
    rules.set_owner(OWNER, {})
    assert rules.evaluate(THINGS, live(), OBJECT, None) == SUSPENDED


def test_what_was_judged_in_a_thread_is_not_judged_again() -> None:
    rules = HealthRules()
    rules.set_owner(OWNER, {THING: degraded})
    assert rules.evaluate(THINGS, live(), OBJECT, SUSPENDED) == SUSPENDED


def test_a_kind_that_never_reports_is_not_waited_for() -> None:
    rules = HealthRules()
    assert rules.evaluate(THINGS, live(), OBJECT, None).status is HealthStatus.PROGRESSING
    rules.silence(THING, True)
    assert rules.evaluate(THINGS, live(), OBJECT, None) == HEALTHY
    rules.silence(THING, False)
    assert rules.evaluate(THINGS, live(), OBJECT, None).status is HealthStatus.PROGRESSING


def test_of_metadata_alone_only_the_deletion_shows() -> None:
    rules = HealthRules()
    assert rules.evaluate(THINGS, live(), None, None) == HEALTHY
    assert rules.evaluate(THINGS, live(deleting=True), None, None) == GOING


def test_an_objects_rule_is_that_of_the_owner_in_its_label() -> None:
    rules = HealthRules()
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{STACK_LABEL}": {}}}}
    ours = codec.ManagedFields(
        manager=FIELD_MANAGER, operation="Apply", fieldsV1=msgspec.Raw(codec.encode(fields))
    )
    metadata = codec.Metadata(
        name="a",
        labels={STACK_LABEL: OWNER},
        annotations={DIGEST_ANNOTATION: "m"},
        managedFields=[ours],
    )
    assert rules.of_object(THINGS, metadata) == {}
    rules.set_owner(OWNER, {THING: degraded})
    assert rules.of_object(THINGS, metadata) == {THING: degraded}
    assert rules.of_object(THINGS, codec.Metadata(name="a")) == {}
