"""Objects of an older version stay valid and keep their meaning under the definitions of this one.

`data/crds-before.yaml` is what an older version installed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.api.stack import parse_stack
from ocistate.install.crds import crds
from testbed.controlplane import ControlPlane
from testbed.kubeapi import Answer
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import install, path_of
from tests.support.factories.invalid_stacks import GOOD, sane

BEFORE = list(yaml.safe_load_all((Path(__file__).parent / "data/crds-before.yaml").read_text()))
API_VERSION = "ocistate.dev/v1alpha1"
DIGEST = "sha256:" + "0a" * 32
SOURCE = GOOD["spec"]["source"]

# The API server took these, though no agent did: they must not get stuck in their deletion.
ODD: list[dict[str, Any]] = [
    {"source": {**SOURCE, "channelRepository": "oci://h.io/all"}},
    {"target": {"directory": "/srv", "kubeconfigSecretRef": {"name": "a"}, "context": "b"}},
    {"target": {"directory": "/srv", "kubeconfig": "/k", "context": "", "kubeconfigSecretRef": {
        "name": "a"}}},
    {"dependsOn": [{"name": "s0", "namespace": ""}]},
    {"wait": {"checks": [{"apiVersion": "v1", "kind": "Secret", "healthy": "not CEL ("}]}},
]  # fmt: skip
SPECS: list[dict[str, Any]] = [
    *(obj["spec"] for obj in sane()),
    {
        "source": {
            "repository": "oci://h.io/shop", "digest": DIGEST, "interval": "0.1s",
            "path": "./a/", "insecure": True, "pullSecretRef": {"name": "a"},
            "caSecretRef": {"name": "b"}, "certSecretRef": {"name": "c"},
            "mirrors": [{"repository": "h.io/near", "insecure": False}],
        },
        "forceNamespace": True, "prune": False, "maxPrunePercent": 0, "drift": "report",
        "onFailure": "rollback", "suspend": True, "deletionPolicy": "orphan",
        "adoptFrom": [{"name": "old"}], "handOverTo": [{"name": "heir", "namespace": "x"}],
        "wait": {"timeout": "876000h"}, "report": {},
    },
    {"source": {**SOURCE, "interval": "100ms"}, "drift": "ignore", "maxPrunePercent": 100},
    {"source": SOURCE, "trust": {}, "target": {}, "wait": {}, "ignore": [], "dependsOn": []},
    *({"source": SOURCE} | spec for spec in ODD),
]  # fmt: skip
KEY = {"pem": "x", "name": "ann"}
POLICIES: list[dict[str, Any]] = [
    {"repositories": ["**"]},
    {"repositories": ["**"], "misspelt": {"deep": [1]}, "mode": "off", "allowLegacy": True},
    {
        "repositories": ["h.io/**"],
        "keys": [KEY, {"secretRef": {"name": "a", "key": ""}}, {"file": "k.pub", "other": 1}],
        "identities": [{"issuer": "https://i", "subjectRegExp": ".*", "trustedRoot": {
            "configMapRef": {"name": "root"}}}],
        "threshold": 100, "epoch": 2**53 - 1, "minSequence": 0, "channelKeys": [KEY],
        "reporters": [KEY],
        "attestations": [{"predicateType": "p", "keys": [KEY], "conditions": ["true"]}],
    },
]  # fmt: skip
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "m",
        "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 1}],
    "current": {"digest": DIGEST, "signedBy": ["a"], "verified": "True", "epoch": 1},
    "runs": [{"group": "", "kind": "Job", "namespace": "a", "name": "b", "ended": ""}],
    "contested": [{"kind": "ConfigMap", "reason": "Flipped", "fields": []}],
    "target": {"kubeconfigSecretRef": {"name": "a", "key": ""}, "context": ""},
    "drift": {"total": 1, "objects": ["a"]}, "resources": {"total": 3}, "kinds": ["Job.batch/v1"],
}  # fmt: skip


def _objects() -> Iterator[dict[str, Any]]:
    for place, spec in enumerate(SPECS):
        metadata = {"name": f"s{place}", "namespace": "default"}
        yield {"apiVersion": API_VERSION, "kind": "Stack", "metadata": metadata, "spec": spec}
    for place, spec in enumerate(POLICIES):
        metadata = {"name": f"p{place}"}
        yield {"apiVersion": API_VERSION, "kind": "TrustPolicy", "metadata": metadata, "spec": spec}


def _path(obj: dict[str, Any]) -> str:
    return path_of(API_VERSION, obj["kind"], "default", obj["metadata"]["name"])


def _created(cluster: ControlPlane, obj: dict[str, Any]) -> Answer | None:
    answer = cluster.request("POST", _path(obj).rpartition("/")[0], obj)
    return answer if answer.status != 404 else None


@pytest.fixture
def stored(control_plane: ControlPlane) -> Iterator[list[dict[str, Any]]]:
    """Objects of all shapes, created under the older definitions; these are replaced since."""
    install(control_plane, copy.deepcopy(BEFORE))
    found: list[dict[str, Any]] = []
    for obj in _objects():
        answer = wait_for(f"{obj['kind']} is served", partial(_created, control_plane, obj))
        assert answer.status == 201, (obj["spec"], answer.body)
        if obj["kind"] == "Stack":
            answer.body["status"] = STATUS
            answer = control_plane.request("PUT", f"{_path(obj)}/status", answer.body)
            assert answer.status == 200, answer.body
        found.append(answer.body)
    install(control_plane, crds())
    wait_for(
        "the new definitions hold",
        lambda: control_plane.request("GET", _path(found[0])).body["spec"].get("prune") is True,
    )
    yield found
    for crd in BEFORE:
        path = path_of(crd["apiVersion"], crd["kind"], "", crd["metadata"]["name"])
        control_plane.request("DELETE", path)
        wait_for(f"{path} is gone", partial(_is_gone, control_plane, path))


def _is_gone(cluster: ControlPlane, path: str) -> bool:
    return cluster.request("GET", path).status == 404


def test_stored_objects_stay_valid_and_mean_the_same(
    control_plane: ControlPlane, stored: list[dict[str, Any]]
) -> None:
    for before in stored:
        after = control_plane.request("GET", _path(before)).body
        assert _contains(after["spec"], before["spec"]), (before["spec"], after["spec"])
        assert after.get("status") == before.get("status")
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        # As an agent adds its finalizer and writes its status, and a person applies the file again.
        after["metadata"]["finalizers"] = ["ocistate.dev/finalizer"]
        for path, obj in (
            (_path(before), after),
            (_path(before), {**after, "spec": before["spec"]}),
        ):
            answer = control_plane.request("PUT", f"{path}?dryRun=All", obj)
            assert answer.status == 200, (before["spec"], answer.body)
        if before["kind"] == "Stack":
            answer = control_plane.request("PUT", f"{_path(before)}/status?dryRun=All", after)
            assert answer.status == 200, (before["spec"], answer.body)

    taken = [obj for obj in stored if obj["kind"] == "Stack"][: -len(ODD)]
    for before in taken:
        after = control_plane.request("GET", _path(before)).body
        assert parse_stack(after) == parse_stack(before)


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return all(key in found and _contains(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_contains, found, wanted))
    return bool(found == wanted)
