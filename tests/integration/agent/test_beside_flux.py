"""Flux's own controllers: they take what we push, we take what they push, and objects move over."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.flux_controllers import Flux
from testbed.tools import ensure
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.command import ocistate, run
from tests.support.environments.agent import Tenant, World, path_of
from tests.support.factories.keys import Key
from tests.support.factories.stacks import config_map

SOURCES = "source.toolkit.fluxcd.io/v1"
KUSTOMIZATIONS = "kustomize.toolkit.fluxcd.io/v1"


@pytest.fixture(scope="module")
def flux(world: World) -> Iterator[Flux]:
    with Flux(world.cluster) as running:
        yield running


def test_flux_applies_what_we_push_and_verifies_our_signature(world: World, flux: Flux) -> None:
    team = world.tenant()
    digest = team.push(config_map("settings", team.namespace, key="1"))
    follow(team, world.key)
    seen = wait_ready(team)
    assert seen["lastAppliedRevision"].endswith(digest)
    assert team.data("settings") == {"key": "1"}
    source = status(team, "OCIRepository")
    assert condition(source, "SourceVerified")[0] == "True"
    assert source["artifact"]["metadata"]["org.opencontainers.image.revision"].startswith("main@")


def test_flux_refuses_what_another_key_signed(world: World, flux: Flux) -> None:
    team = world.tenant()
    team.push(config_map("settings", team.namespace, key="1"), sign=Key.make())
    follow(team, world.key)
    wait_for(
        "the source is refused",
        lambda: condition(status(team, "OCIRepository"), "SourceVerified")[0] == "False",
        seconds=120,
    )
    assert team.data("settings") == {}


def test_a_stack_applies_what_flux_pushes(world: World, flux: Flux, tmp_path: Path) -> None:
    team = world.tenant()
    folder = tmp_path / "deploy"
    folder.mkdir()
    (folder / "settings.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {key: '1'}\n"
    )
    reference = f"{team.repository.removeprefix('oci://')}:prod"
    name = run(
        ensure("flux-push")["flux-push"], reference, folder,
        "https://git.example.com/shop", "main@sha1:0123",
    ).line  # fmt: skip
    key = tmp_path / "release.key"
    key.write_bytes(world.key.private)
    ocistate("sign", name, "--key", key)
    team.create()
    team.wait_ready(name.partition("@")[2])
    assert team.data("settings") == {"key": "1"}
    assert team.status()["current"]["revision"] == "main@sha1:0123"


def test_objects_move_from_flux_to_a_stack_and_back(world: World, flux: Flux) -> None:
    team = world.tenant()
    team.push(config_map("settings", team.namespace, key="1", old="x"))
    follow(team, world.key)
    wait_ready(team)
    before = team.get("ConfigMap", "settings")
    assert before is not None
    assert "kustomize.toolkit.fluxcd.io/name" in before["metadata"]["labels"]

    # Flux lets go, what it made stays.
    edit(team, "Kustomization", {"suspend": True})
    digest = team.push(config_map("settings", team.namespace, key="1"))
    team.create(deletionPolicy="orphan")
    team.wait_ready(digest)
    delete(team, "Kustomization")
    delete(team, "OCIRepository")
    after = team.get("ConfigMap", "settings")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["data"] == {"key": "1"}  # what only Flux held is gone, as the artifact says
    assert not any("fluxcd" in label for label in after["metadata"]["labels"])
    assert {each["manager"] for each in after["metadata"]["managedFields"]} == {"ocistate"}

    # And back: the Stack leaves everything where it is.
    team.delete("Stack", "app", "ocistate.dev/v1alpha1")
    team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    follow(team, world.key)
    wait_ready(team)
    last = team.get("ConfigMap", "settings")
    assert last is not None
    assert last["metadata"]["uid"] == before["metadata"]["uid"]
    assert "ocistate.dev/stack" not in last["metadata"]["labels"]
    edit(team, "Kustomization", {"suspend": True})


def follow(team: Tenant, key: Key) -> None:
    """Have Flux follow the repository's tag ``prod``, trusting a key."""
    name = {"name": "app", "namespace": team.namespace}
    team.world.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cosign", "namespace": team.namespace},
            "data": {"cosign.pub": base64.b64encode(key.pem.encode()).decode()},
        },
        {
            "apiVersion": SOURCES,
            "kind": "OCIRepository",
            "metadata": name,
            "spec": {
                "url": team.repository,
                "ref": {"tag": "prod"},
                "interval": "1m",
                "insecure": True,
                "verify": {"provider": "cosign", "secretRef": {"name": "cosign"}},
            },
        },
        {
            "apiVersion": KUSTOMIZATIONS,
            "kind": "Kustomization",
            "metadata": name,
            "spec": {
                "sourceRef": {"kind": "OCIRepository", "name": "app"},
                "path": "./",
                "interval": "1m",
                "prune": True,
            },
        },
    )


def path(team: Tenant, kind: str) -> str:
    return path_of(VERSIONS[kind], kind, team.namespace, "app")


def status(team: Tenant, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = team.world.cluster.request("GET", path(team, kind)).body
    return found.get("status") or {}


def wait_ready(team: Tenant) -> dict[str, Any]:
    """The Kustomization's status once it is ready; Flux writes what it applied a moment later."""

    def look() -> dict[str, Any] | None:
        seen = status(team, "Kustomization")
        done = condition(seen, "Ready")[0] == "True" and "lastAppliedRevision" in seen
        return seen if done else None

    return wait_for("the Kustomization is ready", look, seconds=120)


def edit(team: Tenant, kind: str, spec: dict[str, Any]) -> None:
    team.world.merge(path(team, kind), {"spec": spec})


def delete(team: Tenant, kind: str) -> None:
    team.world.cluster.request("DELETE", path(team, kind))
    wait_for(
        f"{kind} gone",
        lambda: team.world.cluster.request("GET", path(team, kind)).status == 404,
    )


VERSIONS = {"OCIRepository": SOURCES, "Kustomization": KUSTOMIZATIONS}
