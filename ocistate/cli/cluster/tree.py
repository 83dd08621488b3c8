"""``ocistate tree|events|trace``: a Stack's objects, its Events, and whose an object is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.cli.cluster.stacks import condition, find_stack, pointer_of
from ocistate.cli.common.cluster import ClusterOptions, cluster_options
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.errors import NoStack, UsageError

if TYPE_CHECKING:
    from ocistate.kube.client import KubeClient
    from ocistate.kube.discovery import ApiResource

_PARENTS: Final = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "CronJob", "Job"}
_CHILDREN: Final = (("apps", "ReplicaSet"), ("batch", "Job"), ("", "Pod"))


@click.command("tree")
@click.argument("name")
@cluster_options
@output_option("table", "json", "yaml")
def tree_command(name: str, where: ClusterOptions, output: str) -> None:
    """Show a Stack's live objects and what they made: Deployment, ReplicaSet, Pod, with health."""
    roots = run_async(_tree(where, name))
    if output != "table":
        emit({"name": name, "objects": roots}, output)
        return
    result(f"Stack/{name}")
    for line in _draw(roots, ""):
        result(line)


def _draw(nodes: list[dict[str, Any]], indent: str) -> list[str]:
    lines = []
    for place, node in enumerate(nodes):
        last = place == len(nodes) - 1
        where = f" -n {node['namespace']}" if node["namespace"] else ""
        said = f": {node['message']}" if node["message"] and node["health"] != "Healthy" else ""
        lines.append(
            f"{indent}{'└─' if last else '├─'} {node['kind']}/{node['name']}{where}  "
            f"{node['health']}{said}"
        )
        lines += _draw(node["owns"], indent + ("   " if last else "│  "))
    return lines


async def _tree(where: ClusterOptions, name: str) -> list[dict[str, Any]]:
    import asyncio

    from ocistate.kube.discovery import kind_of
    from ocistate.labels import STACK_LABEL

    async with where.open() as (client, namespace):
        stack = await find_stack(client, namespace, name)
        uid = stack["metadata"]["uid"]
        served = await client.kinds()
        known = (stack.get("status") or {}).get("kinds") or ()
        resources = [r for text in known if (r := served.find(*kind_of(text))) is not None]
        selector = f"{STACK_LABEL}={uid}"
        lists = await asyncio.gather(*(_list(client, r, "", selector) for r in resources))
        pairs = [
            (r, obj)
            for r, objects in zip(resources, lists, strict=True)
            for obj in objects
            if _applied(obj)
        ]
        spaces = {o["metadata"].get("namespace", "") for r, o in pairs if r.kind in _PARENTS} - {""}
        made: dict[str, list[tuple[ApiResource, dict[str, Any]]]] = {}
        for key in _CHILDREN:
            child = served.find(*key)
            if child is None:
                continue
            for objects in await asyncio.gather(*(_list(client, child, s) for s in sorted(spaces))):
                for obj in objects:
                    for owner in obj["metadata"].get("ownerReferences") or ():
                        made.setdefault(owner["uid"], []).append((child, obj))
    pairs.sort(key=lambda p: (p[1]["metadata"].get("namespace", ""), p[0].kind, _name(p[1])))
    return [_node(resource, obj, made) for resource, obj in pairs]


def _applied(obj: dict[str, Any]) -> bool:
    """Controllers copy labels to what they derive: we must have written it."""
    from ocistate.labels import FIELD_MANAGER

    entries = obj["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == FIELD_MANAGER for entry in entries)


def _name(obj: dict[str, Any]) -> str:
    return str(obj["metadata"]["name"])


def _node(
    resource: ApiResource,
    obj: dict[str, Any],
    made: dict[str, list[tuple[ApiResource, dict[str, Any]]]],
) -> dict[str, Any]:
    from ocistate.health.evaluate import health_of

    health = health_of(obj, has_status="status" in resource.subresources)
    children = sorted(made.get(obj["metadata"]["uid"], ()), key=lambda pair: _name(pair[1]))
    # Old ReplicaSets that are kept for a rollback and have no pods are of no interest.
    children = [
        (r, o)
        for r, o in children
        if r.kind != "ReplicaSet" or o["spec"].get("replicas") or (o["metadata"]["uid"] in made)
    ]
    return {
        "group": resource.group,
        "kind": resource.kind,
        "namespace": obj["metadata"].get("namespace", ""),
        "name": _name(obj),
        "health": health.status.value,
        "message": health.message,
        "owns": [_node(r, o, made) for r, o in children],
    }


async def _list(
    client: KubeClient, resource: ApiResource, namespace: str, selector: str = ""
) -> list[dict[str, Any]]:
    """Objects of a kind; none, and a note, where the user may not list them."""
    from ocistate.kube.errors import StatusError

    try:
        return (await client.list(resource, namespace, label_selector=selector)).items
    except StatusError as error:
        if error.status != 403:
            raise
        note(f"{resource} cannot be listed: {error.message}")
        return []


@click.command("events")
@click.argument("name")
@cluster_options
@output_option("table", "json", "yaml")
def events_command(name: str, where: ClusterOptions, output: str) -> None:
    """Show the Events of a Stack, the newest last."""
    rows = run_async(_events(where, name))
    if output != "table":
        emit(rows, output)
    elif not rows:
        note("No Events; Kubernetes keeps them for an hour.")
    else:
        table(
            ("last seen", "type", "reason", "count", "message"),
            [(r["at"], r["type"], r["reason"], str(r["count"]), r["message"]) for r in rows],
        )


async def _events(where: ClusterOptions, name: str) -> list[dict[str, Any]]:
    async with where.open() as (client, namespace):
        stack = await find_stack(client, namespace, name)
        selector = f"involvedObject.kind=Stack,involvedObject.uid={stack['metadata']['uid']}"
        listing = await client.list(
            await client.kind("", "Event"), namespace, field_selector=selector
        )
    rows = [
        {
            "at": e.get("lastTimestamp") or e.get("eventTime") or "",
            "type": e.get("type", ""),
            "reason": e.get("reason", ""),
            "count": e.get("count") or 1,
            "message": e.get("message", ""),
        }
        for e in listing.items
    ]
    return sorted(rows, key=lambda row: str(row["at"]))


@click.command("trace")
@click.argument("target", metavar="KIND/NAME")
@cluster_options
@output_option("table", "json", "yaml")
def trace_command(target: str, where: ClusterOptions, output: str) -> None:
    """Show which Stack, artifact, signer and channel record produced a live object."""
    kind, slash, name = target.partition("/")
    if not slash or not kind or not name:
        raise UsageError(f"{target!r} is not KIND/NAME", hint="write deployment/web")
    facts = run_async(_trace(where, kind, name))
    if output != "table":
        emit(facts, output)
        return
    for key in ("object", "stack", "repository", "pointer", "channel", "digest", "revision",
                "signedBy", "appliedAt", "ready", "contested"):  # fmt: skip
        value = facts[key]
        if key in ("channel", "contested") and not value:
            continue  # it follows none, or what runs did not come by it; no one contests it
        if key == "channel":
            value = f"{value}@{facts['sequence']} (epoch {facts['epoch']}) {facts['record']}"
        result(f"{key + ':':<12}{', '.join(value) if isinstance(value, list) else value}")


async def _trace(where: ClusterOptions, kind: str, name: str) -> dict[str, Any]:
    from ocistate.api.stack import GROUP
    from ocistate.api.status import status_from_dict
    from ocistate.labels import STACK_LABEL
    from ocistate.objects import ObjectId

    async with where.open() as (client, namespace):
        resource = _resource(list(await client.kinds()), kind)
        space = namespace if resource.namespaced else ""
        id = ObjectId(resource.group, resource.kind, space, name)
        obj = await client.get(id)
        if obj is None:
            raise NoStack(f"there is no {id}", hint="-n names another namespace")
        uid = (obj["metadata"].get("labels") or {}).get(STACK_LABEL, "")
        if not uid or not _applied(obj):
            owners = [
                f"{o['kind']}/{o['name']}" for o in obj["metadata"].get("ownerReferences") or ()
            ]
            raise NoStack(
                f"{id} was not applied by ocistate",
                hint=f"it belongs to {', '.join(owners)}: trace that" if owners else "",
            )
        stacks = (await client.list(await client.kind(GROUP, "Stack"))).items
    stack = next((s for s in stacks if s["metadata"]["uid"] == uid), None)
    if stack is None:
        raise NoStack(
            f"{id} carries the mark {uid}, and no Stack has it",
            hint="'ocistate apply' put it there, or its Stack is gone: see 'ocistate orphans'",
        )
    source, status = stack["spec"]["source"], stack.get("status") or {}
    current = status.get("current") or {}
    return {
        "object": str(id),
        "stack": f"{stack['metadata']['namespace']}/{stack['metadata']['name']}",
        "repository": source["repository"],
        "pointer": pointer_of(source),
        "channel": current.get("channel", ""),
        "epoch": current.get("epoch", 0),
        "sequence": current.get("sequence", 0),
        "record": _record_of(status),
        "digest": current.get("digest", ""),
        "revision": current.get("revision", ""),
        "signedBy": current.get("signedBy") or [],
        "appliedAt": current.get("appliedAt", ""),
        "ready": condition(stack, "Ready")["status"],
        "contested": [str(each) for each in status_from_dict(status).contested if each.id == id],
    }


def _record_of(status: dict[str, Any]) -> str:
    """The digest of the channel's record that named what runs, if it is the newest accepted."""
    current = status.get("current") or {}
    number = [current.get(key) for key in ("channel", "epoch", "sequence")]
    for followed in status.get("channels") or ():
        if [followed.get(key) for key in ("channel", "epoch", "sequence")] == number:
            return str(followed.get("record", ""))
    return ""


def _resource(served: list[ApiResource], text: str) -> ApiResource:
    """The kind a person means: ``deployment``, ``deployments``, ``Deployment.apps``."""
    kind, _, group = text.lower().partition(".")
    for resource in served:
        if kind in (resource.kind.lower(), resource.plural) and group in ("", resource.group):
            return resource
    raise UsageError(f"the cluster serves no kind {text!r}")
