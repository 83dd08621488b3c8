"""``ocistate install``: which objects are printed for which options."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.environments.shop import run


def install(*options: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(run("install", *options).out))


def named(objects: list[dict[str, Any]], kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in objects if each["kind"] == kind]


def test_yaml_and_json_have_the_same_objects() -> None:
    listed = run("install", "-o", "json").json
    assert (listed["kind"], listed["items"]) == ("List", install())
    assert {"CustomResourceDefinition", "Deployment", "ClusterRole"} <= {
        each["kind"] for each in listed["items"]
    }


def test_options_reach_the_deployment() -> None:
    objects = install(
        "--image", "reg.io/agent:1", "--replicas", "3", "--shards", "5", "-n", "ops",
        "--allow-hosts", "*.example.com", "--deny-private",
    )  # fmt: skip
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    assert (deployment["metadata"]["namespace"], deployment["spec"]["replicas"]) == ("ops", 3)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "reg.io/agent:1"
    assert {"--allow-hosts=*.example.com", "--deny-private"} <= set(container["args"])
    assert any("5" in argument for argument in container["args"])


def test_an_agent_for_one_namespace_has_no_cluster_role() -> None:
    assert named(install("--namespaced", "-n", "team"), "ClusterRole") == []
    beforehand = install("--crds-only")
    assert named(beforehand, "Deployment") == []
    assert named(beforehand, "CustomResourceDefinition")


def test_an_applier_with_admin_may_change_the_namespace() -> None:
    bound = [each for each in install("--applier", "admin") if each["kind"] == "RoleBinding"]
    assert any(each["roleRef"]["name"] == "admin" for each in bound)
    assert not any(
        each["roleRef"]["name"] == "admin" for each in install() if each["kind"] == "RoleBinding"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--namespaced", "--applier", "cluster-admin"), "--applier cluster-admin"),
        (("--namespaced", "--policy-secret", "keys"), "--policy-secret"),
        (("--cluster-label", "a=b"), "--cluster"),
        (("--replicas", "0"), "--replicas"),
        (("--shards", "0"), "--shards"),
        (("--applier", "root"), "--applier"),
    ],
)
def test_wrong_options_print_nothing(options: tuple[str, ...], said: str) -> None:
    ran = run("install", *options, code=2)
    assert said in ran.err
    assert ran.out == ""


def test_what_is_no_host_is_refused() -> None:
    ran = run("install", "--allow-hosts", "a b", code=4)
    assert ran.out == ""
