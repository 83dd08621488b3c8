"""What of an artifact is wanted where, in which order, and what is sent."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from ocistate.apply.desired.prepare import ApplyMode, IgnoredFields, body
from ocistate.canonical import canonical_json, digest_of
from ocistate.errors import ConfigError, InvalidManifest
from ocistate.kube.errors import UNKNOWN_KIND, StatusError
from ocistate.labels import DIGEST_ANNOTATION, STACK_LABEL
from ocistate.objects import ObjectId
from tests.support.factories.objects import (
    ARTIFACT,
    OWNER,
    config_map,
    crd,
    deployment,
    desire,
    obj,
)


def names(desired: object) -> list[str]:
    return [wanted.id.name for wanted in desired.wanted]  # type: ignore[attr-defined]


def test_objects_without_a_namespace_get_the_target_one() -> None:
    desired = desire(config_map("a"), config_map("b", namespace="own"), namespace="shop")
    assert set(desired.by_id) == {
        ObjectId("", "ConfigMap", "shop", "a"),
        ObjectId("", "ConfigMap", "own", "b"),
    }


def test_a_forced_namespace_moves_everything_but_cluster_scoped_objects() -> None:
    desired = desire(
        config_map("b", namespace="own"), obj("Namespace", "n"), namespace="x", force_namespace=True
    )
    assert {str(id) for id in desired.by_id} == {"ConfigMap/x/b", "Namespace/n"}


def test_a_namespace_on_a_cluster_scoped_object_is_dropped() -> None:
    desired = desire(obj("Namespace", "n", namespace="odd"))
    assert "namespace" not in body(desired.wanted[0], OWNER)["metadata"]


def test_two_objects_that_become_one_are_refused_by_name() -> None:
    desired = desire(config_map("a"), config_map("a", "2", namespace="shop"), namespace="shop")
    problems = [wanted.problem for wanted in desired.wanted if wanted.problem]
    assert len(problems) == 1
    assert isinstance(problems[0], InvalidManifest)
    assert "ConfigMap/shop/a" in str(problems[0])


def test_kinds_defined_by_the_artifact_itself_are_known_with_their_scope() -> None:
    desired = desire(
        crd("Widget", "ex.io"),
        crd("Planet", "ex.io", scope="Cluster"),
        obj("Widget", "w", "ex.io/v1"),
        obj("Planet", "p", "ex.io/v1"),
        namespace="shop",
    )
    assert ObjectId("ex.io", "Widget", "shop", "w") in desired.by_id
    assert ObjectId("ex.io", "Planet", "", "p") in desired.by_id
    assert not desired.unknown


def test_a_kind_nobody_serves_is_that_objects_problem_alone() -> None:
    desired = desire(obj("Thing", "t", "nope.io/v1"), config_map("a"))
    bad = [wanted for wanted in desired.wanted if wanted.problem]
    assert [wanted.id.kind for wanted in bad] == ["Thing"]
    assert isinstance(bad[0].problem, StatusError)
    assert bad[0].problem.code == UNKNOWN_KIND
    assert desired.unknown == {("nope.io", "Thing")}


def test_what_others_need_comes_first_and_webhooks_last() -> None:
    desired = desire(
        obj("ValidatingWebhookConfiguration", "hook", "admissionregistration.k8s.io/v1"),
        obj("Widget", "cr", "ex.io/v1"),
        deployment("web"),
        obj("Service", "svc"),
        config_map("settings"),
        crd("Widget", "ex.io"),
        obj("Namespace", "ns"),
    )
    assert names(desired) == ["ns", "widgets.ex.io", "settings", "svc", "web", "cr", "hook"]


def test_waves_go_before_stages_but_namespaces_before_all_waves() -> None:
    early = {"ocistate.dev/wave": "-1"}
    late = {"ocistate.dev/wave": "2"}
    desired = desire(
        config_map("last", annotations=late),
        deployment("middle"),
        deployment("first", annotations=early),
        obj("Namespace", "ns"),
        obj("Namespace", "late-ns", annotations=late),
    )
    assert names(desired) == ["ns", "first", "middle", "late-ns", "last"]


@pytest.mark.parametrize(
    "annotations", [{"ocistate.dev/wave": "soon"}, {"ocistate.dev/apply": "sometimes"}]
)
def test_an_annotation_that_says_nothing_known_is_refused(annotations: dict[str, str]) -> None:
    assert isinstance(
        desire(config_map("a", annotations=annotations)).wanted[0].problem, InvalidManifest
    )


def test_the_apply_annotation_is_the_mode() -> None:
    desired = desire(config_map("a", annotations={"ocistate.dev/apply": "ifnotpresent"}))
    assert desired.wanted[0].mode is ApplyMode.IF_NOT_PRESENT


def test_the_marker_is_the_hash_of_the_object_but_never_of_a_secret() -> None:
    secret = obj("Secret", "s", stringData={"pin": "1234"})
    given = config_map("a")
    desired = desire(secret, given)
    markers = {wanted.id.kind: wanted.marker for wanted in desired.wanted}
    assert markers["ConfigMap"] == digest_of(canonical_json(given))
    assert markers["Secret"] == ARTIFACT


def test_a_change_of_what_is_ignored_changes_the_marker() -> None:
    rule = IgnoredFields(kind="Deployment", pointers=("/spec/replicas",))
    plain, ignoring = desire(deployment("web")), desire(deployment("web"), ignore=[rule])
    assert plain.wanted[0].marker != ignoring.wanted[0].marker
    other = desire(config_map("a"), ignore=[rule])
    assert other.wanted[0].marker == desire(config_map("a")).wanted[0].marker


def test_the_body_carries_label_and_marker_and_nothing_the_server_owns() -> None:
    given = config_map("a", labels={"x": "y"})
    given["metadata"] |= {"uid": "u", "resourceVersion": "5", "creationTimestamp": None}
    given["status"] = {"phase": "odd"}
    before = copy.deepcopy(given)
    wanted = desire(given, namespace="shop").wanted[0]
    sent = body(wanted, OWNER)
    assert sent["metadata"] == {
        "name": "a",
        "namespace": "shop",
        "labels": {"x": "y", STACK_LABEL: OWNER},
        "annotations": {DIGEST_ANNOTATION: wanted.marker},
    }
    assert "status" not in sent
    assert given == before


def test_ignored_fields_are_left_out_and_the_source_is_untouched() -> None:
    given = deployment("web")
    before = copy.deepcopy(given)
    rule = IgnoredFields(
        pointers=("/spec/replicas", "/spec/template/spec/containers/0/env", "/spec/none/of/this")
    )
    sent = body(desire(given, ignore=[rule]).wanted[0], OWNER)
    assert "replicas" not in sent["spec"]
    assert "env" not in sent["spec"]["template"]["spec"]["containers"][0]
    assert sent["spec"]["template"]["spec"]["containers"][0]["image"]
    assert given == before


def test_pointers_with_slashes_and_tildes_are_understood() -> None:
    given = config_map("a", annotations={"example.com/a~b": "1", "keep": "2"})
    rule = IgnoredFields(pointers=("/metadata/annotations/example.com~1a~0b",))
    sent = body(desire(given, ignore=[rule]).wanted[0], OWNER)
    assert set(sent["metadata"]["annotations"]) == {"keep", DIGEST_ANNOTATION}


def test_ignore_rules_pick_objects_by_every_criterion() -> None:
    id = ObjectId("apps", "Deployment", "shop", "web")
    assert IgnoredFields(pointers=("/spec/x",), group="apps", name="web").fits(id)
    for odd in ({"group": "batch"}, {"kind": "Job"}, {"namespace": "x"}, {"name": "x"}):
        assert not IgnoredFields(pointers=("/spec/x",), **odd).fits(id)


@pytest.mark.parametrize("pointer", ["spec/replicas", "/", "/kind", "/metadata"])
def test_pointers_that_make_no_sense_are_refused(pointer: str) -> None:
    with pytest.raises(ConfigError):
        IgnoredFields(pointers=(pointer,))


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "Secret", "stringData": ["x"]},
        {"kind": "Secret", "stringData": {"a": "b"}, "data": "x"},
        {"kind": "CustomResourceDefinition", "spec": "x"},
        {"kind": "CustomResourceDefinition", "spec": {"group": ["x"], "names": {"kind": "K"}}},
        {"kind": "CustomResourceDefinition", "spec": {"group": "x.io", "names": ["K"]}},
    ],
)
def test_what_is_no_object_of_its_kind_is_left_for_the_server_to_refuse(
    parts: dict[str, Any],
) -> None:
    version = "v1" if parts["kind"] == "Secret" else "apiextensions.k8s.io/v1"
    rest = {key: value for key, value in parts.items() if key != "kind"}
    desired = desire(config_map("a"), obj(parts["kind"], "bad", version, **rest))
    assert len(desired.wanted) == 2
    for wanted in desired.wanted:
        sent = body(wanted, OWNER)
        if wanted.id.name == "bad":
            assert {key: sent[key] for key in rest} == rest


def test_string_data_is_encoded_as_the_server_would() -> None:
    given = obj("Secret", "s", stringData={"a": "new"}, data={"a": "b2xk", "b": "eA=="})
    sent = body(desire(given).wanted[0], OWNER)
    assert "stringData" not in sent
    assert sent["data"] == {"a": base64.b64encode(b"new").decode(), "b": "eA=="}


@pytest.mark.parametrize("owner", ["", "a b", "-x", "x" * 64])
def test_an_owner_that_is_no_label_value_is_refused(owner: str) -> None:
    with pytest.raises(ValueError, match="label value"):
        desire(config_map("a"), owner=owner)


CA = {"clientConfig": {"caBundle": "", "url": "https://x"}}


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (obj("ClusterRole", "x", "rbac.authorization.k8s.io/v1", rules=[],
             aggregationRule={"clusterRoleSelectors": []}), {"aggregationRule"}),
        (obj("ClusterRole", "x", "rbac.authorization.k8s.io/v1", rules=[]), {"rules"}),
        (obj("PersistentVolumeClaim", "x", spec={"volumeName": "", "a": 1}), {"spec", "a"}),
        (obj("PersistentVolumeClaim", "x", spec={"volumeName": "v"}), {"spec", "volumeName"}),
        (obj("MutatingWebhookConfiguration", "x", "admissionregistration.k8s.io/v1",
             webhooks=[CA]), {"webhooks", "clientConfig", "url"}),
    ],
)  # fmt: skip
def test_what_a_controller_fills_in_is_not_sent_empty(
    given: dict[str, Any], left: set[str]
) -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys, value))
        return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()

    desired = desire(given)
    sent = body(desired.wanted[0], OWNER)
    assert (
        keys({k: v for k, v in sent.items() if k not in ("metadata", "kind", "apiVersion")})
        - {"clusterRoleSelectors"}
        == left
    )
