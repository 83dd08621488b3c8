"""``ocistate orphans list|give|release``: objects whose Stack is gone, or that apply left."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.cli.cluster.stacks import find_stack
from ocistate.cli.common.cluster import ClusterOptions, cluster_options
from ocistate.cli.common.consent import Consent, consent_options
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.errors import ApplyFailed, ClusterError, NoStack, OwnershipConflict, UsageError

if TYPE_CHECKING:
    from ocistate.apply.ownership import Marked, MarkedObjects
    from ocistate.kube.client import KubeClient

_ONE_SHOT: Final = "cli-"
"""What the owners of `ocistate apply` begin with: no Stack's UID does."""

_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A Stack's in a cluster; those that an agent reads from files have other ones."""


@click.group("orphans")
def orphans_command() -> None:
    """Find objects whose Stack is gone without removing them, and give them to another Stack.

    Also for objects that 'ocistate apply' created. Your own permissions are used. An owner is
    orphaned when the cluster has no Stack with that UID. When the agent runs in another cluster,
    its Stacks are there: name that cluster with --stacks-context. For owners of the kind "files",
    check yourself whether an agent still reads that Stack from its files.
    """


def _stacks_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--stacks-context", help="The context of the cluster that has the Stacks, if not this one."
    )(command)


@orphans_command.command("list")
@_stacks_option
@cluster_options
@output_option("table", "json", "yaml")
def list_command(where: ClusterOptions, stacks_context: str | None, output: str) -> None:
    """Show owners that no Stack has, and how many objects they own.

    In all namespaces, or in one with -n.
    """
    found, living = run_async(_read(where, stacks_context))
    rows = [_row(owner, objects) for owner, objects in _orphaned(found, living).items()]
    if output != "table":
        emit(rows, output)
    elif not rows:
        note("No orphans found.")
    else:
        table(
            ("owner", "kind", "objects", "namespaces", "first"),
            [
                (
                    row["owner"],
                    row["kind"],
                    str(len(row["objects"])),
                    ", ".join(row["namespaces"]),
                    row["objects"][0],
                )
                for row in rows
            ],
        )
    _note_unseen(found)


@orphans_command.command("give")
@click.argument("owner")
@click.argument("stack", metavar="[NAMESPACE/]STACK")
@consent_options
@_stacks_option
@cluster_options
@output_option("table", "json", "yaml")
def give_command(
    owner: str,
    stack: str,
    where: ClusterOptions,
    stacks_context: str | None,
    consent: Consent,
    output: str,
) -> None:
    """Give an owner's objects to a Stack.

    The Stack then applies those that its artifact has, and prunes the others as its spec says.
    With -n, only objects in that namespace.
    """
    facts = run_async(_change(where, stacks_context, owner, stack, consent))
    _print_facts(facts, output)


@orphans_command.command("release")
@click.argument("owner")
@consent_options
@_stacks_option
@cluster_options
@output_option("table", "json", "yaml")
def release_command(
    owner: str, where: ClusterOptions, stacks_context: str | None, consent: Consent, output: str
) -> None:
    """Remove the owner from its objects: the next one to apply them owns them.

    With -n, only objects in that namespace.
    """
    facts = run_async(_change(where, stacks_context, owner, "", consent))
    _print_facts(facts, output)


async def _read(
    where: ClusterOptions, stacks_context: str | None
) -> tuple[MarkedObjects, Mapping[str, str]]:
    from ocistate.apply.ownership import find_marked

    async with where.open() as (client, _):
        living = await _living(client, where, stacks_context)
        return await find_marked(client, namespace=where.namespace), living


async def _change(
    where: ClusterOptions, stacks_context: str | None, owner: str, stack: str, consent: Consent
) -> dict[str, Any]:
    from ocistate.apply.ownership import find_marked, mark_all
    from ocistate.labels import check_owner

    try:
        check_owner(owner)
    except ValueError as error:
        raise UsageError(str(error), hint="'ocistate orphans list' shows owners") from None
    async with where.open() as (client, namespace):
        if _UID.fullmatch(owner):
            living = await _living(client, where, stacks_context)
            if owner in living:
                raise OwnershipConflict(
                    f"{owner} is the Stack {living[owner]}, which exists",
                    hint="let it hand the objects over: spec.handOverTo there, spec.adoptFrom here",
                )
        to = await _uid_of(client, where, stacks_context, namespace, stack) if stack else ""
        found = await find_marked(client, namespace=where.namespace, owner=owner)
        if not found.objects:
            raise NoStack(
                f"no object belongs to the owner {owner}",
                hint="'ocistate orphans list' shows owners",
            )
        facts: dict[str, Any] = {"owner": owner, "stack": stack, "dryRun": consent.dry_run}
        if consent.dry_run:
            return {**facts, "objects": [_as_fact(each, "") for each in found.objects]}
        if consent.must_ask:
            _confirm(owner, stack, found, consent)
        done = await mark_all(client, found.objects, to=to)
        return {**facts, "objects": [_as_fact(each, str(error or "")) for each, error in done]}


def _confirm(owner: str, stack: str, found: MarkedObjects, consent: Consent) -> None:
    for each in found.objects[:20]:
        note(f"  {each.id}")
    if (more := len(found.objects) - 20) > 0:
        note(f"  and {more} more")
    _note_unseen(found)
    count = len(found.objects)
    what = f"Give {count} objects to the Stack {stack}" if stack else f"Release {count} objects"
    consent.confirm(f"{what}? No agent may reconcile {owner} any more.")


async def _living(
    client: KubeClient, where: ClusterOptions, stacks_context: str | None
) -> Mapping[str, str]:
    """The existing Stacks, by UID. Raises ClusterError when they cannot all be listed."""
    from ocistate.api.stack import GROUP
    from ocistate.kube.errors import UNKNOWN_KIND, StatusError

    if stacks_context:
        async with ClusterOptions(where.kubeconfig, stacks_context, "").open() as (other, _):
            return await _living(other, where, None)
    try:
        stacks = await client.list(await client.kind(GROUP, "Stack"), metadata_only=True)
    except StatusError as error:
        if error.status == 403:
            why = "you may not list Stacks in all namespaces"
            hint = "ask someone who may list them"
        elif error.code == UNKNOWN_KIND:
            why = "this cluster has no Stacks"
            hint = "name the cluster that has them with --stacks-context"
        else:
            raise
        raise ClusterError(f"cannot find out which owners are gone: {why}", hint=hint) from None
    metadata = [obj["metadata"] for obj in stacks.items]
    return {each["uid"]: f"{each['namespace']}/{each['name']}" for each in metadata}


async def _uid_of(
    client: KubeClient,
    where: ClusterOptions,
    stacks_context: str | None,
    namespace: str,
    stack: str,
) -> str:
    """The UID of the Stack that gets them. Raises NoStack."""
    if stacks_context:
        async with ClusterOptions(where.kubeconfig, stacks_context, "").open() as (other, default):
            return await _uid_of(other, where, None, where.namespace or default, stack)
    space, slash, name = stack.rpartition("/")
    metadata = (await find_stack(client, space if slash else namespace, name))["metadata"]
    if metadata.get("deletionTimestamp"):
        raise NoStack(f"the Stack {stack} is being deleted", hint="give them to another one")
    return str(metadata["uid"])


def _orphaned(found: MarkedObjects, living: Mapping[str, str]) -> dict[str, list[Marked]]:
    return {
        owner: objects for owner, objects in sorted(found.by_owner().items()) if owner not in living
    }


def _row(owner: str, objects: Sequence[Marked]) -> dict[str, Any]:
    return {
        "owner": owner,
        "kind": _kind(owner),
        "namespaces": sorted({each.id.namespace for each in objects} - {""}),
        "objects": [str(each.id) for each in objects],
    }


def _kind(owner: str) -> str:
    if owner.startswith(_ONE_SHOT):
        return "apply"
    return "stack" if _UID.fullmatch(owner) else "files"


def _as_fact(marked: Marked, error: str) -> dict[str, str]:
    return {"object": str(marked.id), "error": error}


def _print_facts(facts: dict[str, Any], output: str) -> None:
    failed = [each for each in facts["objects"] if each["error"]]
    if output != "table":
        emit(facts, output)
    else:
        done = "would change" if facts["dryRun"] else "given" if facts["stack"] else "released"
        for each in facts["objects"]:
            result(f"{each['object']} " + (f"failed: {each['error']}" if each["error"] else done))
    if failed:
        raise ApplyFailed(
            f"{len(failed)} of {len(facts['objects'])} objects stayed as they were",
            hint="fix what the errors say, and run it again",
        )


def _note_unseen(found: MarkedObjects) -> None:
    if found.unseen:
        note(f"Not searched, since you may not list them: {', '.join(found.unseen)}")
