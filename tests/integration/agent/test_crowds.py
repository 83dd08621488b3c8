"""What one Stack asks for, however much it is, keeps neither the others nor the API server busy."""

from __future__ import annotations

import time
import urllib.request

from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World, side_by_side
from tests.support.factories.objects import crd, obj
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import may_be_seen

GROUP = "crowd.example.com"
KINDS = 140
"""More than are watched for one Stack."""
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBJECTS = 300


def metric(world: World, start: str) -> float:
    """The sum of the agent's series that begin so."""
    with urllib.request.urlopen(f"http://127.0.0.1:{world.port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def test_a_stack_of_hundreds_of_kinds_keeps_no_other_waiting(world: World, faults: int) -> None:
    count = KINDS * min(faults, 3)  # with 420 there are more than watches in all
    kinds = [f"Crowd{number:03}" for number in range(count)]
    world.apply(may_be_seen("see-crowd", GROUP, "*"))
    small, crowd = world.tenant(), world.tenant()
    small_digest = small.push(config_map("app", v="1"))
    small.create(source={"interval": "1s"})
    side_by_side(world, [crd(kind, GROUP) for kind in kinds], lambda c, o: c.create(o))

    def served() -> bool:
        answer = world.cluster.request("GET", f"/apis/{GROUP}/v1")
        return len(answer.body.get("resources", ())) == count

    wait_for("all kinds are served", served)
    small.wait_ready(small_digest)
    digest = crowd.push(*(obj(kind, "one", f"{GROUP}/v1") for kind in kinds))
    crowd.create()

    for version in ("2", "3"):  # while the crowd comes, and once it is there
        small.change("app", {"data": {"v": "9"}})
        small.wait_data("app", v="1" if version == "2" else "2", seconds=15)
        small.wait_ready(small.push(config_map("app", v=version)), seconds=15)
        # Kinds beyond those watched are listed every 60 s: so late may the last of them be seen.
        crowd.wait_ready(digest, seconds=150)
    assert metric(world, 'ocistate_held{what="kinds_watched"}') <= 300
    assert metric(world, 'ocistate_held{what="kinds_listed"}') >= count - 100

    crowd.delete("Stack", "app", "ocistate.dev/v1alpha1")
    crowd.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    left = world.cluster.request("GET", f"/apis/{GROUP}/v1/crowd{count - 1:03}s")
    assert left.body["items"] == []
    for kind in kinds:
        world.cluster.request("DELETE", f"{DEFINITIONS}/{kind.lower()}s.{GROUP}")


def test_a_namespace_that_hangs_in_its_end_costs_few_requests(world: World) -> None:
    team = world.tenant(everywhere=True)
    space = f"{team.namespace}-ends"
    objects = [config_map(f"app-{number}", space, v="1") for number in range(OBJECTS)]
    digest = team.push(obj("Namespace", space), *objects)
    team.create(source={"interval": "1s"})
    team.wait_ready(digest)
    hook = config_map("hook", space)
    hook["metadata"]["finalizers"] = ["example.com/hangs"]
    world.apply(hook)

    world.cluster.request("DELETE", f"/api/v1/namespaces/{space}")
    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert "being" in message or "terminat" in message.lower()
    time.sleep(3)
    before = metric(world, "ocistate_kube_requests_total")
    time.sleep(12)
    spent = metric(world, "ocistate_kube_requests_total") - before
    assert spent < 60, f"{spent:.0f} requests in 12 s: fewer than one for each object a minute"

    path = f"/api/v1/namespaces/{space}/configmaps/hook"
    world.cluster.request(
        "PATCH", f"{path}?fieldManager=test&force=true", config_map("hook", space)
    )
    team.wait_ready(digest)
    wait_for(
        "all are back",
        lambda: len(world.cluster.request("GET", f"/api/v1/namespaces/{space}/configmaps")
                    .body["items"]) >= OBJECTS,
    )  # fmt: skip
