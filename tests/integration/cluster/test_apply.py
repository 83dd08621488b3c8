"""Plans carried out on a real API server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ocistate.apply.desired.prepare import IgnoredFields
from ocistate.apply.options import Options
from ocistate.apply.plan import Verb, plan_deletion
from ocistate.apply.prune import Prune
from ocistate.apply.result import ObjectState
from ocistate.errors import ApplyFailed, OwnershipConflict
from ocistate.kube.client import KubeClient, service_account
from ocistate.kube.errors import StatusError
from ocistate.labels import STACK_LABEL
from ocistate.objects import ObjectId
from tests.support.environments.cluster import World, eventually, ok, results
from tests.support.factories.objects import config_map, crd, deployment, obj

QUIET = {"ocistate.dev/apply": "ifnotpresent"}


def hook(name: str) -> dict[str, Any]:
    """A webhook for objects that no one makes."""
    return obj(
        "ValidatingWebhookConfiguration",
        name,
        "admissionregistration.k8s.io/v1",
        webhooks=[
            {
                "name": "x.ex.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"url": "https://127.0.0.1:1/x"},
                "rules": [
                    {
                        "apiGroups": ["ex.io"],
                        "apiVersions": ["v9"],
                        "operations": ["CREATE"],
                        "resources": ["x"],
                    }
                ],
            }
        ],
    )


def mixed(group: str) -> list[dict[str, Any]]:
    """About a hundred objects of all sorts."""
    return [
        hook(f"hook.{group}"),
        *(obj("Widget", f"widget-{n}", f"{group}/v1", spec={"size": n}) for n in range(10)),
        crd("Widget", group),
        *(deployment(f"web-{n}") for n in range(5)),
        *(
            obj("Service", f"svc-{n}", spec={"selector": {"app": "x"}, "ports": [{"port": 80}]})
            for n in range(10)
        ),
        obj("ServiceAccount", "robot"),
        obj("Role", "reader", "rbac.authorization.k8s.io/v1", rules=[]),
        obj("Secret", "s", stringData={"a": "b"}),
        *(config_map(f"cm-{n:02}") for n in range(70)),
    ]


def test_a_second_pass_over_a_hundred_applied_objects_only_reads(world: World) -> None:
    objects = mixed("mixed.ex.io")

    async def scenario(client: KubeClient) -> None:
        first = ok(await world.sync(client, *objects))
        assert first.counts()[ObjectState.APPLIED] == len(objects) + 1
        world.requests.clear()
        second = await world.sync(client, *objects)
        assert second.results == ()
        assert all(each.startswith("GET") for each in world.requests)
        assert not any(each.endswith("/cm-01") for each in world.requests)
        gone = ok(await world.sync(client, *objects[:-70]))
        assert gone.counts()[ObjectState.DELETED] == 70
        last = ok(await world.sync(client))
        assert last.counts()[ObjectState.DELETED] == len(objects) - 70
        names = [each.id.kind for each in last.results]
        assert names[0] == "ValidatingWebhookConfiguration"
        assert names[-1] == "CustomResourceDefinition"

    world.run(scenario)


def test_one_bad_object_hides_no_other_and_stops_pruning(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, config_map("old")))
        outcome = await world.sync(
            client,
            *(config_map(f"cm-{n}") for n in range(30)),
            obj("ConfigMap", "bad", data={"a": 1}),
            obj("Thing", "unknown", "nope.ex.io/v1"),
            config_map("homeless", namespace="no-such-namespace"),
        )
        found = results(outcome)
        assert {each.id.name for each in outcome.failed} == {"bad", "unknown", "homeless"}
        assert outcome.counts()[ObjectState.APPLIED] == 30
        assert ".data.a: expected string" in str(found["bad"].error)
        assert "add the Namespace" in str(found["homeless"].error)
        assert found["old"].state is ObjectState.SKIPPED
        assert await client.get(world.id("ConfigMap", "old")) is not None
        error = outcome.error()
        assert isinstance(error, ApplyFailed)
        assert "3 objects failed" in error.message

    world.run(scenario)


def test_objects_that_depend_on_a_failed_object_are_not_applied(world: World) -> None:
    broken = crd("Gadget", "broken.ex.io")
    broken["spec"]["names"]["plural"] = "Not Legal"

    async def scenario(client: KubeClient) -> None:
        outcome = await world.sync(client, broken, obj("Gadget", "g", "broken.ex.io/v1"))
        found = results(outcome)
        assert found["g"].state is ObjectState.SKIPPED
        assert "CustomResourceDefinition" in found["g"].reason

    world.run(scenario)


def test_another_stacks_object_is_refused_until_it_is_handed_over(world: World) -> None:
    shared = config_map("shared")
    other = World(world.cluster, f"{world.name}-other")

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, shared))
        theirs = config_map("shared", "theirs", namespace=world.name)
        outcome = await other.sync(client, theirs, config_map("own"))
        found = results(outcome)
        assert isinstance(found["shared"].error, OwnershipConflict)
        assert found["own"].state is ObjectState.APPLIED
        live = await client.get(world.id("ConfigMap", "shared"))
        assert live is not None
        assert live["data"] == {"key": "1"}
        ok(await other.sync(client, theirs, config_map("own"), adopt_from=(world.name,)))
        live = await client.get(world.id("ConfigMap", "shared"))
        assert live is not None
        assert live["metadata"]["labels"][STACK_LABEL] == other.name
        # The former owner wants it no longer: it must not delete what is not its own any more.
        ok(await world.sync(client))
        assert await client.get(world.id("ConfigMap", "shared")) is not None

    world.run(scenario)


def test_ifnotpresent_and_ignore_leave_what_is_there(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client))
        world.kubectl("create", "configmap", "mine", "--from-literal=key=person")
        objects = [
            config_map("mine", annotations=QUIET),
            config_map("fresh", annotations=QUIET),
            config_map("never", annotations={"ocistate.dev/apply": "ignore"}),
        ]
        found = results(ok(await world.sync(client, *objects)))
        assert found["mine"].state is ObjectState.SKIPPED
        assert found["fresh"].state is ObjectState.APPLIED
        assert await client.get(world.id("ConfigMap", "never")) is None
        world.kubectl("patch", "configmap", "fresh", "-p", '{"data": {"key": "person"}}')
        ok(await world.sync(client, *objects))
        for name in ("mine", "fresh"):
            live = await client.get(world.id("ConfigMap", name))
            assert live is not None
            assert live["data"]["key"] == "person"

    world.run(scenario)


def test_an_immutable_field_is_an_error_with_advice_or_recreates(world: World) -> None:
    def job(image: str, **annotations: str) -> dict[str, Any]:
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}
        spec = {"suspend": True, "template": {"spec": pod}}
        return obj("Job", "job", "batch/v1", spec=spec, annotations=annotations)

    async def scenario(client: KubeClient) -> None:
        id = world.id("Job", "job", "batch")
        ok(await world.sync(client, job("a")))
        before = await client.get(id)
        outcome = await world.sync(client, job("b"))
        assert "ocistate.dev/apply: recreate" in str(outcome.failed[0].error)
        again = job("b", **{"ocistate.dev/apply": "recreate"})
        found = results(ok(await world.sync(client, again)))
        assert found["job"].reason == "deleted and created again"
        after = await client.get(id)
        assert before is not None
        assert after is not None
        assert before["metadata"]["uid"] != after["metadata"]["uid"]
        assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "b"
        # A broken change that is not about immutability must not cost the live object.
        odd = job("b", **{"ocistate.dev/apply": "recreate"})
        odd["spec"]["parallelism"] = -1
        assert not (await world.sync(client, odd)).ok
        still = await client.get(id)
        assert still is not None
        assert still["metadata"]["uid"] == after["metadata"]["uid"]

    world.run(scenario)


FORMER: dict[str, tuple[list[str], dict[str, str], dict[str, str]]] = {
    "kubectl": ([], {}, {}),
    "flux": (
        ["--server-side", "--field-manager=kustomize-controller"],
        {"kustomize.toolkit.fluxcd.io/name": "shop"},
        {},
    ),
    "argo, client-side": (
        ["--field-manager=argocd-controller"],
        {"app.kubernetes.io/instance": "shop"},
        {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/cm"},
    ),
    "argo, server-side": (
        ["--server-side", "--field-manager=argocd-controller"],
        {},
        {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/cm"},
    ),
}
"""How each tool applies, and the labels and annotations that it knows its objects by."""


@pytest.mark.parametrize("former", FORMER)
def test_fields_of_a_former_tool_are_taken_over_and_can_be_removed(
    world: World, former: str
) -> None:
    how, labels, annotations = FORMER[former]
    given = config_map("cm", namespace=world.name, labels=labels, annotations=annotations)
    given["data"] |= {"gone": "x"}
    beside = config_map("beside", namespace=world.name, labels=labels)

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client))
        for each in (given, beside):
            world.kubectl("apply", *how, "-f", "-", stdin=json.dumps(each))
        world.kubectl("annotate", "configmap", "cm", "by-hand=stays")
        before = await client.get(world.id("ConfigMap", "cm"))
        wanted = config_map("cm", labels={"app": "shop"})
        outcome = ok(await world.sync(client, wanted))
        assert outcome.counts()[ObjectState.DELETED] == 0
        live = await client.get(world.id("ConfigMap", "cm"))
        assert live is not None
        assert before is not None
        assert live["metadata"]["uid"] == before["metadata"]["uid"]
        assert live["data"] == {"key": "1"}
        managers = {each["manager"] for each in live["metadata"]["managedFields"]}
        assert managers == {"ocistate", "kubectl-annotate"}
        # By these the former tool knew it: no longer its own, it is not pruned by it either.
        assert live["metadata"]["labels"] == {"app": "shop", STACK_LABEL: world.name}
        assert set(live["metadata"]["annotations"]) == {"by-hand", "ocistate.dev/digest"}
        assert (await world.sync(client, wanted)).results == ()
        # What the tool applied beside it is not ours to remove, whatever the artifact says.
        assert (await world.sync(client)).counts()[ObjectState.DELETED] == 1
        assert await client.get(world.id("ConfigMap", "beside")) is not None

    world.run(scenario)


def test_a_tenants_rights_are_the_limit(world: World) -> None:
    objects = [
        obj("ServiceAccount", "tenant"),
        obj(
            "Role",
            "tenant",
            "rbac.authorization.k8s.io/v1",
            rules=[
                {
                    "apiGroups": [""],
                    "resources": ["configmaps"],
                    "verbs": ["get", "list", "watch", "create", "patch", "delete"],
                }
            ],
        ),
        obj(
            "RoleBinding",
            "tenant",
            "rbac.authorization.k8s.io/v1",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
            subjects=[{"kind": "ServiceAccount", "name": "tenant", "namespace": world.name}],
        ),
    ]
    tenant = World(world.cluster, world.name)

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, *objects))
        acting = client.impersonating(service_account(world.name, "tenant"))
        desired = await tenant.desired(
            client,
            config_map("mine"),
            obj("Secret", "s", stringData={"a": "b"}),
            config_map("theirs", namespace="kube-system"),
            owner=f"{world.name}-tenant",
        )
        # Looked at with our eyes, written with the tenant's hands.
        from ocistate.apply.executor import apply

        outcome = await apply(acting, await tenant.plan(client, desired))
        found = results(outcome)
        assert found["mine"].state is ObjectState.APPLIED
        assert {each.id.name for each in outcome.failed} >= {"s", "theirs"}
        assert f"system:serviceaccount:{world.name}:tenant" in str(found["s"].error)

    world.run(scenario)


def test_a_tenant_with_rights_in_one_namespace_can_diff_and_apply_there(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client))
        world.kubectl("create", "serviceaccount", "small")
        world.kubectl(
            "create",
            "rolebinding",
            "small",
            "--clusterrole=admin",
            f"--serviceaccount={world.name}:small",
        )
        acting = client.impersonating(service_account(world.name, "small"))
        desired = await world.desired(client, config_map("a"), owner="small")
        only = type(desired)(
            owner="small",
            wanted=tuple(each for each in desired.wanted if each.id.kind == "ConfigMap"),
            by_id={id: each for id, each in desired.by_id.items() if id.kind == "ConfigMap"},
            unknown=frozenset(),
        )
        from ocistate.apply.executor import apply

        ok(await apply(acting, await world.plan(acting, only)))
        plan = await world.plan(acting, only)
        assert plan.empty
        assert len(plan.keep) == 1

    world.run(scenario)


def test_a_namespace_with_others_objects_in_it_stays(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, config_map("a")))
        world.kubectl("create", "configmap", "foreign")
        desired = await world.desired(client, config_map("a"))

        async def delete(options: Options | None = None) -> dict[str, Any]:
            from ocistate.apply.executor import apply
            from ocistate.apply.observe import observe

            mine, _ = await observe(client, desired)
            return results(ok(await apply(client, plan_deletion(world.name, mine), options)))

        found = await delete()
        assert found["a"].state is ObjectState.DELETED
        assert found[world.name].state is ObjectState.SKIPPED
        assert "ConfigMap/" in found[world.name].reason
        found = await delete(Options(prune=Prune(filled="delete", gone=30)))
        assert found[world.name].state is ObjectState.DELETED
        assert await client.get(ObjectId("", "Namespace", "", world.name)) is None

    world.run(scenario)


def test_a_namespace_marked_prune_force_is_deleted_with_others_objects(world: World) -> None:
    home = obj("Namespace", world.name, annotations={"ocistate.dev/prune": "force"})

    async def scenario(client: KubeClient) -> None:
        from ocistate.apply.executor import apply
        from ocistate.apply.observe import observe

        desired = await world.desired(client, config_map("a"), home=home)
        ok(await apply(client, await world.plan(client, desired)))
        world.kubectl("create", "configmap", "foreign")
        mine, _ = await observe(client, desired)
        options = Options(prune=Prune(gone=30))
        found = results(ok(await apply(client, plan_deletion(world.name, mine), options)))
        assert found[world.name].state is ObjectState.DELETED
        assert await client.get(ObjectId("", "Namespace", "", world.name)) is None

    world.run(scenario)


def test_a_namespace_that_was_there_before_is_adopted_and_never_deleted(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        await client.apply(obj("Namespace", world.name), manager="somebody")
        ok(await world.sync(client, config_map("a")))
        assert (await world.sync(client, config_map("a"))).results == ()
        desired = await world.desired(client)
        nothing = type(desired)(owner=world.name, wanted=(), by_id={}, unknown=frozenset())
        plan = await world.plan(client, nothing)
        assert [action.id.name for action in plan.prune] == ["a"]
        assert "before" in plan.skip[0].reason

    world.run(scenario)


def test_objects_with_a_new_owner_or_uid_are_not_pruned(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        from ocistate.apply.executor import apply

        names = ("relabelled", "replaced", "protected", "touched")
        ok(await world.sync(client, *map(config_map, names)))
        plan = await world.plan(client, await world.desired(client))
        assert len(plan.prune) == 4
        world.kubectl("label", "configmap", "relabelled", "--overwrite", f"{STACK_LABEL}=other")
        world.kubectl("delete", "configmap", "replaced")
        world.kubectl("create", "configmap", "replaced")
        world.kubectl("annotate", "configmap", "protected", "ocistate.dev/prune=disabled")
        world.kubectl("annotate", "configmap", "touched", "a=b")
        found = results(ok(await apply(client, plan)))
        assert {name: found[name].state for name in names} == {
            "relabelled": ObjectState.SKIPPED,
            "replaced": ObjectState.SKIPPED,
            "protected": ObjectState.SKIPPED,
            "touched": ObjectState.DELETED,
        }

    world.run(scenario)


def test_objects_that_controllers_derive_with_our_label_are_not_owned(world: World) -> None:
    service = obj("Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, service))
        slices = await client.kind("discovery.k8s.io", "EndpointSlice")
        copied: list[Any] = []

        for _ in range(200):
            listing = await client.list(slices, world.name, label_selector=STACK_LABEL)
            copied = listing.items
            if copied:
                break
        assert copied, "the endpoint controller no longer copies labels: this test is moot"
        plan = await world.plan(client, await world.desired(client, service))
        assert plan.empty

    world.run(scenario)


def test_waves_wait_for_their_gate_and_stop_at_a_failure(world: World) -> None:
    def wave(name: str, number: int) -> dict[str, Any]:
        return config_map(name, annotations={"ocistate.dev/wave": str(number)})

    passed: list[list[str]] = []

    async def gate(ids: Sequence[ObjectId]) -> None:
        passed.append([id.name for id in ids])
        if "two" in passed[-1]:
            raise ApplyFailed("two is not healthy")

    async def scenario(client: KubeClient) -> None:
        objects = [wave("one", 1), wave("two", 2), wave("three", 3)]
        found = results(await world.sync(client, *objects, options=Options(gate=gate)))
        assert passed == [[world.name], ["one"], ["two"]]
        assert found["two"].state is ObjectState.APPLIED
        assert found["three"].state is ObjectState.SKIPPED
        assert "two is not healthy" in found["three"].reason

    world.run(scenario)


def test_ignored_fields_keep_their_live_value_from_the_moment_they_are_ignored(
    world: World,
) -> None:
    rule = IgnoredFields(kind="Deployment", pointers=("/spec/replicas",))
    id = world.id("Deployment", "web", "apps")

    async def replicas(client: KubeClient) -> int:
        live = await client.get(id)
        assert live is not None
        return int(live["spec"]["replicas"])

    async def scenario(client: KubeClient) -> None:
        web = deployment("web")
        web["spec"]["replicas"] = 2
        ok(await world.sync(client, web))
        ok(await world.sync(client, web, ignore=[rule]))
        assert await replicas(client) == 2
        world.kubectl("scale", "deployment", "web", "--replicas=5")
        assert (await world.sync(client, web, ignore=[rule])).results == ()
        assert await replicas(client) == 5
        ok(await world.sync(client, web))
        assert await replicas(client) == 2

    world.run(scenario)


def test_without_force_conflicts_are_reported_per_field(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, config_map("a")))
        world.kubectl("patch", "configmap", "a", "-p", '{"data": {"key": "person"}}')
        outcome = await world.sync(client, config_map("a"), options=Options(force=False))
        assert ".data.key" in str(outcome.failed[0].error)
        assert "kubectl-patch" in str(outcome.failed[0].error)
        ok(await world.sync(client, config_map("a")))

    world.run(scenario)


def test_a_dry_run_shows_every_change_and_changes_nothing(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, config_map("a"), config_map("old")))
        outcome = await world.sync(
            client,
            config_map("a", "2"),
            obj("ConfigMap", "bad", data={"a": 1}),
            crd("Novelty", "dry.ex.io"),
            obj("Novelty", "n", "dry.ex.io/v1"),
            options=Options(dry_run=True),
        )
        assert [each.id.name for each in outcome.failed] == ["bad"]
        assert "not checked" in results(outcome)["n"].reason
        live = await client.get(world.id("ConfigMap", "a"))
        assert live is not None
        assert live["data"] == {"key": "1"}
        assert await client.get(world.id("ConfigMap", "old")) is not None
        with pytest.raises(StatusError):
            await client.kind("dry.ex.io", "Novelty")

    world.run(scenario)


EDITS = {
    "a value": ("patch", "deployment", "web", "-p", '{"spec": {"replicas": 3}}'),
    "a scale": ("scale", "deployment", "web", "--replicas=3"),
    "an image": ("set", "image", "deployment/web", "web=other"),
    "a variable removed": ("set", "env", "deployment/web", "A-"),
    "a label changed": ("label", "deployment", "web", "team=red", "--overwrite"),
    "a label removed": ("label", "deployment", "web", "team-"),
    "our label": ("label", "deployment", "web", f"{STACK_LABEL}-"),
    "our annotation": ("annotate", "deployment", "web", "ocistate.dev/digest-"),
    "managed fields": (
        *("patch", "deployment", "web", "--type=json"),
        *("-p", '[{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]'),
    ),
    "the object": ("delete", "deployment", "web"),
    "another applier": (
        *("apply", "--server-side", "--force-conflicts", "--field-manager=rival", "-f", "-"),
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_drift_during_a_restart_is_found_and_repaired(world: World, edit: str) -> None:
    web = deployment("web", labels={"team": "blue"})
    rival = deployment("web", namespace=world.name)
    rival["spec"]["template"]["spec"]["containers"][0]["image"] = "rival"

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, web, config_map("other")))
        world.kubectl(*EDITS[edit], stdin=json.dumps(rival))
        plan = await world.plan(client, await world.desired(client, web, config_map("other")))
        assert [action.id.name for action in plan.write] == ["web"]
        assert plan.counts()[Verb.KEEP] == 2
        ok(await world.sync(client, web, config_map("other")))
        live = await client.get(world.id("Deployment", "web", "apps"))
        assert live is not None
        assert live["metadata"]["labels"] == {"team": "blue", STACK_LABEL: world.name}
        assert live["spec"]["replicas"] == 1
        container = live["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "registry.example.com/web:1"
        assert container["env"] == [{"name": "A", "value": "1"}]
        assert (await world.sync(client, web, config_map("other"))).results == ()

    world.run(scenario)


def test_fields_added_by_other_managers_are_no_drift(world: World) -> None:
    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, deployment("web")))
        world.kubectl("label", "deployment", "web", "theirs=yes")
        world.kubectl("set", "env", "deployment/web", "B=2")
        assert (await world.sync(client, deployment("web"))).results == ()

    world.run(scenario)


def test_custom_resources_are_restored_with_their_crd(world: World) -> None:
    objects = [crd("Relic", "relic.ex.io"), obj("Relic", "r", "relic.ex.io/v1", spec={"a": 1})]

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, *objects))
        world.kubectl("delete", "crd", "relics.relic.ex.io")
        outcome = ok(await world.sync(client, *objects))
        assert outcome.counts()[ObjectState.APPLIED] == 2
        await eventually(lambda: True)
        ok(await world.sync(client))

    world.run(scenario)
