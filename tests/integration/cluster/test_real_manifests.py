"""Likenesses of real manifests, through all that happens to an object in its life."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ocistate.apply.desired.filled import filled_in
from ocistate.apply.desired.prepare import without
from ocistate.apply.executor import apply
from ocistate.apply.observe import observe
from ocistate.apply.options import Options
from ocistate.apply.plan import plan_deletion
from ocistate.apply.preview import bare
from ocistate.apply.result import ApplyOutcome, ObjectState
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId
from tests.support.environments.cluster import World, ok
from tests.support.factories.real_manifests import likenesses

Objects = dict[ObjectId, dict[str, Any]]
Path = tuple[str | int, ...]
Hits = dict[ObjectId, tuple[Path, str]]
THEIRS = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")
HARMLESS = {"shortNames", "metadata/labels"}
"""Of a definition no more is changed: its custom resources would go, or be others."""
AT_ONCE = 16


async def everything(client: KubeClient, ids: Iterable[ObjectId]) -> Objects:
    """These live objects, without what the API server and controllers keep for themselves."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(id: ObjectId) -> tuple[ObjectId, dict[str, Any] | None]:
        async with limit:
            return id, await client.get(id)

    found = await asyncio.gather(*map(one, ids))
    return {id: settled(live) for id, live in found if live is not None}


def settled(live: Mapping[str, Any]) -> dict[str, Any]:
    left = bare(live)
    notes = left["metadata"].pop("annotations", {})
    if kept := {key: value for key, value in notes.items() if key not in THEIRS}:
        left["metadata"]["annotations"] = kept
    for port in left.get("spec", {}).get("ports", ()) if left["kind"] == "Service" else ():
        port.pop("nodePort", None)  # given out again
    if left["kind"] == "Service" and left["spec"].get("clusterIP") != "None":
        for name in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
            left["spec"].pop(name, None)
    return left


def said(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says of the object, by its top-level fields."""
    parts = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    metadata = parts.pop("metadata")
    for key in ("labels", "annotations"):
        if metadata.get(key):
            parts[f"metadata/{key}"] = metadata[key]
    return parts


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every field of a manifest, and every item of its lists."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from leaves(each, (*path, place))


def is_part(small: Any, big: Any) -> bool:
    if isinstance(small, dict):
        return isinstance(big, dict) and all(
            value is None or is_part(value, big.get(key)) for key, value in small.items()
        )
    if isinstance(small, list) and isinstance(big, list):
        return all(any(is_part(each, other) for other in big) for each in small)
    return bool(small == big) or small in ({}, [], "")


def holds(big: Any, small: Any) -> bool:
    """Whether all that is in one is in the other."""
    if isinstance(small, dict) and isinstance(big, dict):
        return all(key in big and holds(big[key], each) for key, each in small.items())
    if isinstance(small, list) and isinstance(big, list):
        return all(any(holds(other, each) for other in big) for each in small)
    return bool(small == big)


def drifted(live: dict[str, Any], manifest: dict[str, Any], path: Path, way: str) -> Any:
    """The live top-level field with the field at ``path`` removed or changed; None if it cannot
    be."""
    top = str(path[0])
    wanted: Any = said(manifest)[top]
    node: Any = copy.deepcopy(said(live).get(top) or wanted)
    whole = {top: node}
    parent: Any = whole
    key: Any = top
    for part in path[1:]:
        parent = node
        if isinstance(part, int):
            wanted = wanted[part]
            if not isinstance(node, list):
                return None
            key = next((at for at, each in enumerate(node) if is_part(wanted, each)), None)
        else:
            wanted = wanted[part]
            key = part if isinstance(node, dict) and part in node else None
            if key is None and wanted in ([], {}, "") and isinstance(node, dict):
                key, node = part, {**node, part: wanted}
                parent[part] = wanted
        if key is None:
            return None
        node = parent[key]
    if wanted is None or (way == "remove" and (parent is whole or wanted == [])):
        return None  # a list that is gone is as empty
    if way == "remove":
        del parent[key]
    else:
        other = changed(node, str(key), manifest["kind"])
        if other is None:
            return None
        parent[key] = other
    return whole[top]


def changed(value: Any, key: str, kind: str) -> Any:
    """Another value of that type; None where it takes more than that."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return {"data": "b3RoZXI="}.get(key, "b3RoZXI=" if kind == "Secret" else "other")
        case []:
            return {
                "ingress": [{}],
                "egress": [{}],
                "tolerations": [{"operator": "Exists"}],
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
                "subjects": [
                    {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}
                ],
                "none": ["x"],
            }.get(key)
        case dict() if not value and key == "podSelector":
            return {"matchLabels": {"a": "b"}}
    return None


async def meddle(client: KubeClient, id: ObjectId, top: str, value: Any) -> bool:
    """Change a live object as somebody else; False where the API server does not let anybody."""
    patch = [{"op": "add", "path": f"/{top}", "value": value}]
    try:
        await client.patch(id, patch, type="json", manager="somebody")
    except StatusError as error:
        if error.status in (400, 403, 422, 500):
            return False
        raise
    return True


def promised(outcome: ApplyOutcome) -> Objects:
    """What a dry run says that the objects will be."""
    return {
        each.id: settled(each.preview.after) for each in outcome.results if each.preview is not None
    }


def release(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The next release: each object has another label, and some have more."""
    after = copy.deepcopy(objects)
    for each in after:
        each["metadata"].setdefault("labels", {})["release"] = "2"
        if each["kind"] in ("Deployment", "DaemonSet", "StatefulSet"):
            container = each["spec"]["template"]["spec"]["containers"][0]
            container |= {"image": "example.com/c:2", "livenessProbe": {"exec": {"command": ["a"]}}}
            container["env"][0] = {
                "name": "A",
                "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
            }
            del container["ports"][0], container["args"]
        if each["kind"] == "Deployment":
            each["spec"]["strategy"] = {"type": "Recreate"}
        if each["kind"] == "ConfigMap":
            each["data"] = {"a": "2"}
        if each["kind"] == "Service" and len(each["spec"].get("ports", ())) == 2:
            del each["spec"]["ports"][0]
    return after


def equal(one: Objects, other: Objects) -> None:
    for id, each in one.items():
        assert (str(id), other[id]) == (str(id), each)


def test_every_field_of_every_kind_is_put_back(world: World) -> None:
    objects = likenesses(world.name)
    kinds = {each["kind"] for each in objects}
    assert len(kinds) >= 30

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, *objects))
        desired = await world.desired(client, *objects)
        live = await everything(client, desired.by_id)
        manifests = {
            id: without(obj, filled_in(id, obj))
            for id, wanted in desired.by_id.items()
            for obj in (wanted.resource.object,)
        }
        todo = {
            id: [
                (path, way)
                for way in ("change", "remove")
                for path in leaves(said(manifest))
                if id.kind != "CustomResourceDefinition" or HARMLESS & {*path}
            ]
            for id, manifest in manifests.items()
        }
        count, never = 0, set(todo)
        while any(todo.values()):
            hit: Hits = {}

            async def one(id: ObjectId, hit: Hits = hit, live: Objects = live) -> None:
                while todo[id]:
                    path, way = todo[id].pop()
                    value = drifted(live[id], manifests[id], path, way)
                    top = str(path[0])
                    if value is None or value == said(live[id]).get(top):
                        continue
                    if await meddle(client, id, top, value):
                        hit[id] = (path, way)
                        return

            await asyncio.gather(*map(one, todo))
            if not hit:
                break
            now = await everything(client, hit)
            really = {id for id in hit if now[id] != live[id]}
            plan = await world.plan(client, desired, kinds=())
            seen = {action.id for action in plan.write}
            assert not {str(id): hit[id] for id in really - seen}, "not seen"
            assert not {str(id) for id in seen - hit.keys()}, "no one did anything to it"
            outcome = ok(await apply(client, plan))
            assert {each.id for each in outcome.results} == seen
            after = await everything(client, hit)
            for id in really:
                # What was given another key is an item of theirs now, and ours is beside it.
                assert holds(after[id], live[id]), (str(id), hit[id], after[id], live[id])
            live |= after
            count += len(really)
            never -= really
        print(f"{count} drifts")
        assert count > 400
        # Of these there is nothing that others may not add to.
        assert {id.name for id in never} <= {world.name, "empty"}

    world.run(scenario)


def test_kinds_of_all_sorts_live_through_releases_and_go(world: World) -> None:
    first = likenesses(world.name)
    second = release(first)

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, *first))
        assert (await world.sync(client, *first)).results == ()
        assert world.requests[-1].startswith("GET "), "an idle pass only lists"
        dry = promised(ok(await world.sync(client, *second, options=Options(dry_run=True))))
        ok(await world.sync(client, *second))
        desired = await world.desired(client, *second)
        live = await everything(client, desired.by_id)
        equal({id: each for id, each in dry.items() if id.kind != "ReplicaSet"}, live)
        assert (await world.sync(client, *second)).results == ()
        # Pruned: all but a few.
        few = [each for each in second if each["kind"] in ("ConfigMap", "ServiceAccount")]
        outcome = ok(await world.sync(client, *few))
        assert outcome.counts()[ObjectState.DELETED] == len(second) - len(few)
        mine, _ = await observe(client, await world.desired(client, *few))
        ok(await apply(client, plan_deletion(world.name, mine)))

    world.run(scenario)


def test_kinds_of_all_sorts_are_taken_over_from_kubectl(world: World) -> None:
    first = likenesses(world.name)
    second = release(first)
    listed = {"apiVersion": "v1", "kind": "List"}

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client))
        early = [each for each in first if each["kind"] == "CustomResourceDefinition"]
        late = [each for each in first if each not in early]
        world.kubectl("apply", "-f", "-", stdin=json.dumps({**listed, "items": early}))
        world.kubectl("wait", "--for=condition=Established", "crd", early[0]["metadata"]["name"])
        world.kubectl("apply", "-f", "-", stdin=json.dumps({**listed, "items": late}))
        dry = promised(ok(await world.sync(client, *second, options=Options(dry_run=True))))
        ok(await world.sync(client, *second))
        live = await everything(client, (await world.desired(client, *second)).by_id)
        equal(dry, live)
        configured = live[world.id("ConfigMap", "m")]
        assert configured["data"] == {"a": "2"}
        assert (await world.sync(client, *second)).results == ()
        ok(await world.sync(client))

    world.run(scenario)
