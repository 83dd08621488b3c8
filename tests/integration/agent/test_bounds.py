"""What one object may hold: the API server refuses it by the schema that `install` prints."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from testbed.controlplane import ControlPlane
from tests.support.environments.agent import path_of
from tests.support.factories.invalid_stacks import WRONG, WRONG_POINTERS, sane

PATH = path_of("ocistate.dev/v1alpha1", "Stack", "default") + "?dryRun=All"


def test_the_api_server_accepts_unusual_but_valid_stacks(installed: ControlPlane) -> None:
    for obj in sane():
        answer = installed.request("POST", PATH, copy.deepcopy(obj))
        assert answer.status == 201, (obj["spec"], answer.body)


def test_the_api_server_refuses_what_is_out_of_bounds(installed: ControlPlane) -> None:
    for path, obj in [*WRONG, *(("source", each) for each in WRONG_POINTERS)]:
        answer = installed.request("POST", PATH, copy.deepcopy(obj))
        assert answer.status in (400, 422), (path, obj["spec"])


@pytest.mark.parametrize(
    "spec",
    [
        {"threshold": 101},
        {"threshold": 0},
        {"epoch": 2**53},
        {"minSequence": -1},
        {"keys": [{"pem": "x" * 100_000}]},
        {"keys": [{"secretRef": {"name": ".."}}]},
        {"repositories": []},
    ],
)
def test_the_api_server_refuses_a_policy_out_of_bounds(
    installed: ControlPlane, spec: dict[str, Any]
) -> None:
    obj = {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "TrustPolicy",
        "metadata": {"name": "odd"},
        "spec": {"repositories": ["**"], **spec},
    }
    path = path_of("ocistate.dev/v1alpha1", "TrustPolicy", "") + "?dryRun=All"
    assert installed.request("POST", path, obj).status in (400, 422)
