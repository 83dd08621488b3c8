"""A kind that cannot be served, somewhere in the cluster, keeps no one else from anything."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.process import patience
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World
from tests.support.environments.unlisted import MARK, STACK, delete, event_message, labels
from tests.support.factories.objects import obj
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import may_be_seen

GROUP = "bc.example.com"
DEFINITION = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/brokens.{GROUP}"
KEEP = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(conversion: dict[str, Any], storage: str) -> dict[str, Any]:
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == storage,
            "schema": {"openAPIV3Schema": KEEP},
        }
        for name in ("v1", "v2")
    ]
    return obj(
        "CustomResourceDefinition",
        f"brokens.{GROUP}",
        "apiextensions.k8s.io/v1",
        spec={
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": "Broken", "plural": "brokens", "singular": "broken"},
            "conversion": conversion,
            "versions": versions,
        },
    )


def webhook(**config: Any) -> dict[str, Any]:
    how = {"conversionReviewVersions": ["v1"], "clientConfig": config}
    return {"strategy": "Webhook", "webhook": how}


@contextmanager
def silent_port() -> Iterator[int]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["absent", "hangs"])
def broken(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """A kind with one object, of which every list needs a webhook that does not answer."""
    with silent_port() as port:
        config: dict[str, Any] = {"url": f"https://127.0.0.1:{port}/"}
        if request.param == "absent":
            config = {"service": {"name": "nope", "namespace": "default"}}
        world.apply(definition({"strategy": "None"}, "v1"))
        world.apply(obj("Broken", "one", f"{GROUP}/v1", namespace="default"))
        world.apply(definition(webhook(**config), "v1"))
        path = f"/apis/{GROUP}/v2/brokens"
        if request.param == "absent":
            # Also before the version is served there is a 404.
            wait_for(
                "it breaks",
                lambda: "conversion webhook" in str(world.cluster.request("GET", path).body),
            )
        else:
            time.sleep(2)
        yield request.param
        world.apply(definition({"strategy": "None"}, "v1"))
        wait_for("it is fixed", lambda: world.cluster.request("GET", path).status == 200)
        world.cluster.request("DELETE", DEFINITION)
        wait_for("it is gone", lambda: world.cluster.request("GET", DEFINITION).status == 404)


Done = subprocess.CompletedProcess[str]


def run(world: World, team: Tenant, *arguments: str) -> tuple[Done, float]:
    begun = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ocistate", *arguments),
            *("--kubeconfig", str(world.cluster.kubeconfig), "-n", team.namespace),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    return done, time.monotonic() - begun


def test_commands_skip_and_name_a_kind_that_cannot_be_served(
    world: World, broken: str, tmp_path: Path
) -> None:
    team = world.tenant()
    public = tmp_path / "key.pub"
    public.write_text(world.key.pem)
    team.push(config_map("app", v="1"))
    reference = f"{team.repository}:prod"
    before, _ = run(world, team, "diff", reference, "--live")
    assert before.returncode == 0, before.stderr

    apply = ("apply", reference, "--key", str(public), "-o", "json")
    for more in (["--dry-run"], []):
        done, seconds = run(world, team, *apply, *more)
        assert done.returncode == 0, done.stderr
        assert f"Broken.{GROUP} cannot be listed" in done.stderr
        assert json.loads(done.stdout)["unlisted"] == [f"Broken.{GROUP}"]
        assert seconds < patience(15)
    assert team.data("app") == {"v": "1"}
    after, seconds = run(world, team, "diff", reference, "--live", "--exit-code")
    assert after.returncode == 0, after.stderr
    assert f"Broken.{GROUP} cannot be listed" in after.stderr
    assert seconds < patience(15)


def test_deletion_reports_why_a_namespace_is_kept(world: World, broken: str) -> None:
    team = world.tenant(everywhere=True)
    space = f"{team.namespace}-space"
    digest = team.push(obj("Namespace", space), config_map("app", space, v="1"))
    team.create()
    team.wait_ready(digest)

    delete(team)

    path = f"/api/v1/namespaces/{space}"
    assert MARK not in labels(world, path)
    message = event_message(team, "Kept")
    assert f"Namespace/{space}" in message
    assert "Broken" in message
    assert world.cluster.request("GET", f"{path}/configmaps/app").status == 404


def test_other_objects_are_applied_beside_an_unserved_kind(world: World, broken: str) -> None:
    if broken == "hangs":
        pytest.skip("as when it is absent, but each list takes half a minute")
    world.apply(may_be_seen("see-broken", GROUP, "*"))
    team = world.tenant(everywhere=True)
    digest = team.push(obj("Broken", "mine", f"{GROUP}/v2"), config_map("app", v="1"))
    team.create()
    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert "cannot be listed" in message
    assert team.data("app") == {"v": "1"}

    team.push(config_map("app", v="2"))
    team.wait_data("app", v="2")
    assert f"Broken.{GROUP} cannot be listed" in team.wait_condition("Healthy", "True")
    team.delete("Stack", "app", STACK)
    wait_for("its objects go", lambda: team.data("app") == {})
    assert f"Broken.{GROUP}" in team.wait_condition("Ready", "False", "ClusterError")
    assert digest

    world.apply(definition({"strategy": "None"}, "v1"))
    team.wait_gone("Stack", "app", STACK)
