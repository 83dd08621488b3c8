"""Stacks: what is read, and how each wrong field is named."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.api.stack import parse_stack
from ocistate.errors import ConfigError

SOURCE = {"repository": "oci://h.io/shop", "tag": "v1"}
DIGEST = "sha256:" + "0a" * 32


def stack(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "shop", **(metadata or {})}, "spec": {"source": SOURCE, **spec}}


def source(**changes: Any) -> dict[str, Any]:
    value = {**SOURCE, **changes}
    return stack(source={key: item for key, item in value.items() if item is not None})


CHECK = {"apiVersion": "ex.io/v1", "kind": "Thing", "healthy": "status.phase == 'Up'"}


def checks(*items: dict[str, Any]) -> dict[str, Any]:
    return stack(wait={"checks": list(items)})


def test_defaults() -> None:
    found = parse_stack(stack())
    assert (found.namespace, found.name) == ("default", "shop")
    assert found.spec.source.interval == 60.0
    assert found.spec.prune
    assert found.spec.drift == "correct"
    assert found.spec.wait.timeout == 300.0
    assert found.spec.deletion_policy == "delete"
    assert not found.spec.suspend
    assert found.directory is None


def test_every_field_is_read() -> None:
    found = parse_stack(
        stack(
            {"namespace": "team", "uid": "u", "generation": 3},
            source={
                "repository": "oci://h.io/shop",
                "digest": DIGEST,
                "path": "./overlays/prod/",
                "interval": "10s",
                "insecure": True,
                "pullSecretRef": {"name": "regcred"},
                "caSecretRef": {"name": "ca"},
                "certSecretRef": {"name": "client"},
                "mirrors": [
                    {"repository": "oci://near.io/shop", "insecure": True},
                    {"repository": "far.io/shop"},
                ],
            },
            trust={"policy": "default"},
            namespace="shop",
            forceNamespace=True,
            serviceAccountName="deployer",
            prune=False,
            drift="report",
            ignore=[{"kind": "Deployment", "jsonPointers": ["/spec/replicas"]}],
            dependsOn=[{"name": "infra"}, {"name": "x", "namespace": "y"}],
            wait={"timeout": "1m", "checks": [CHECK]},
            adoptFrom=[{"name": "old"}],
            handOverTo=[{"name": "heir", "namespace": "y"}],
            onFailure="rollback",
            suspend=True,
            deletionPolicy="orphan",
        )
    )
    assert found.spec.source.digest == DIGEST
    assert found.spec.source.path == "overlays/prod"
    secrets = (
        found.spec.source.pull_secret,
        found.spec.source.ca_secret,
        found.spec.source.cert_secret,
    )
    assert secrets == ("regcred", "ca", "client")
    assert [(str(m.repository.reference), m.insecure) for m in found.spec.source.mirrors] == [
        ("near.io/shop", True),
        ("far.io/shop", False),
    ]
    assert [(rule.kind, rule.json_pointers) for rule in found.spec.ignore] == [
        ("Deployment", ("/spec/replicas",))
    ]
    assert found.depends_on == (("team", "infra"), ("y", "x"))
    assert (found.spec.wait.timeout, found.generation) == (60.0, 3)
    assert found.spec.trust.policy == "default"
    assert found.spec.on_failure == "rollback"
    assert (found.adopt_from, found.hand_over_to) == ((("team", "old"),), (("y", "heir"),))
    (check,) = found.spec.wait.checks
    assert (check.group_kind, check.healthy) == (("ex.io", "Thing"), "status.phase == 'Up'")
    assert parse_stack(source(tag=None, semver="^1.2")).spec.source.semver == "^1.2"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ({}, ""),
        ({"directory": "/srv/a"}, "/srv/a"),
        ({"context": "edge"}, "edge"),
        ({"kubeconfig": "/k/edge"}, "/k/edge"),
        ({"kubeconfig": "/k/all", "context": "edge"}, "edge@/k/all"),
        ({"kubeconfigSecretRef": {"name": "edge"}}, "team/edge"),
        ({"kubeconfigSecretRef": {"name": "all", "key": "k"}, "context": "e"}, "e@team/all:k"),
    ],
)
def test_a_target_has_a_name_for_people(target: dict[str, Any], name: str) -> None:
    assert parse_stack(stack({"namespace": "team"}, target=target)).target_name == name


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"spec": {"source": SOURCE}}, "metadata.name"),
        (stack({"name": "Not_A_Name"}), "metadata.name"),
        (stack({"namespace": "a.b"}), "metadata.namespace"),
        ({"metadata": {"name": "x"}}, "spec"),
        (source(repository=None), "spec.source.repository"),
        (source(repository="h.io"), "spec.source.repository"),
        (source(repository="h.io/shop:v1"), "spec.source.repository"),
        (source(repository="https://h.io/shop"), "spec.source.repository"),
        (source(tag=None), "spec.source"),
        (source(digest=DIGEST), "spec.source"),
        (source(tag="-bad"), "spec.source.tag"),
        (source(semver="1.x"), "spec.source"),
        (source(tag=None, semver="newest"), "spec.source.semver"),
        (stack(onFailure="retry"), "spec.onFailure"),
        (checks({}), "spec.wait.checks[0].apiVersion"),
        (checks({**CHECK, "healthy": None}), "spec.wait.checks[0].healthy"),
        (checks({**CHECK, "healthy": "status.phase =="}), "spec.wait.checks[0].healthy"),
        (checks({**CHECK, "failed": "x" * 1001}), "spec.wait.checks[0].failed"),
        (checks({**CHECK, "inProgress": "true"}), "spec.wait.checks[0].inProgress"),
        (checks(CHECK, {**CHECK, "apiVersion": "ex.io/v2"}), "spec.wait.checks[1].kind"),
        (checks({**CHECK, "apiVersion": "v1", "kind": "Secret"}), "spec.wait.checks[0].kind"),
        (source(tag=None, digest="sha256:0"), "spec.source.digest"),
        (source(path="../x"), "spec.source.path"),
        (source(interval="often"), "spec.source.interval"),
        (source(interval="0s"), "spec.source.interval"),
        (source(pullSecretRef="regcred"), "spec.source.pullSecretRef"),
        (source(pullSecretRef={}), "spec.source.pullSecretRef.name"),
        (source(pullSecretRef={"name": "a", "namespace": "b"}), "pullSecretRef.namespace"),
        (source(certSecretRef={}), "spec.source.certSecretRef.name"),
        (source(mirrors=["h.io/x"]), "spec.source.mirrors[0]"),
        (source(mirrors=[{"repository": "h.io/x:v1"}]), "spec.source.mirrors[0].repository"),
        (source(mirrors=[{"repository": "h.io/x", "tag": "v1"}]), "spec.source.mirrors[0].tag"),
        (source(channel="prod"), "spec.source"),
        (source(tag=None, channel="prod-1"), "spec.source.channel"),
        (source(channelRepository="h.io/all"), "spec.source.channelRepository"),
        (source(tag=None, channel="a", channelRepository="all"), "spec.source.channelRepository"),
        (stack(target={"directory": "a", "context": "b"}), "spec.target.context"),
        (stack(target={"directory": "a", "kubeconfig": "b"}), "spec.target.kubeconfig"),
        (
            stack(target={"kubeconfigSecretRef": {"name": "a"}, "kubeconfig": "b"}),
            "spec.target.kubeconfig",
        ),
        (stack(target={"context": 1}), "spec.target.context"),
        (stack(drift="sometimes"), "spec.drift"),
        (stack(prune="yes"), "spec.prune"),
        (stack(ignore=[{"kind": "X", "jsonPointers": ["spec"]}]), "spec.ignore[0].jsonPointers[0]"),
        (stack(ignore=[{"jsonPointers": []}]), "spec.ignore[0].kind"),
        (stack(dependsOn=["infra"]), "spec.dependsOn[0]"),
        (stack(dependsOn=[{"name": "shop"}]), "spec.dependsOn[0].name"),
        (stack(dependsOn=[{"name": "a", "uid": "b"}]), "spec.dependsOn[0].uid"),
        (stack(adoptFrom=[{"namespace": "a"}]), "spec.adoptFrom[0].name"),
        (stack(handOverTo=[{"name": "shop"}]), "spec.handOverTo[0].name"),
        (stack(wait={"timeout": 5}), "spec.wait.timeout"),
        (stack(target={"folder": "x"}), "spec.target.folder"),
        (stack(deletionPolicy="keep"), "spec.deletionPolicy"),
        (stack(pruned=True), "spec.pruned"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(value: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_stack(value, origin="f.yaml:1")
    assert path in str(caught.value)
    assert str(caught.value).startswith("f.yaml:1: ")
