"""``ocistate orphans list|give|release``: objects whose owner is gone, or was a one-shot apply."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ocistate.cli.cluster.stacks import Where, cluster_options, find_stack
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
    """Find objects whose Stack is gone without removing them, and give them to another one.

    Also for what 'ocistate apply' put there. Everything is done with your own rights. An owner is
    gone when the cluster has no Stack with that UID; an agent that looks after this cluster from
    another one has its Stacks there: name it with --stacks-context. Whether an agent still reads
    a Stack from its files ("files"), only you can know.
    """


def _stacks_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--stacks-context", help="The context of the cluster that has the Stacks, if another."
    )(command)


def _change_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)
    return click.option("--dry-run", is_flag=True, help="Show the objects, change nothing.")(
        command
    )


@orphans_command.command("list")
@_stacks_option
@cluster_options
@output_option("table", "json", "yaml")
def list_command(where: Where, stacks_context: str | None, output: str) -> None:
    """Show the owners that are no Stacks, and how many objects carry their mark.

    Everywhere, or in one namespace with -n.
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
@_change_options
@_stacks_option
@cluster_options
@output_option("table", "json", "yaml")
def give_command(
    owner: str,
    stack: str,
    where: Where,
    stacks_context: str | None,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Make an owner's objects a Stack's.

    The Stack then applies those that its artifact has, and prunes the others as its spec says.
    With -n only those in one namespace.
    """
    facts = run_async(_change(where, stacks_context, owner, stack, dry_run=dry_run, yes=yes))
    _print_facts(facts, output)


@orphans_command.command("release")
@click.argument("owner")
@_change_options
@_stacks_option
@cluster_options
@output_option("table", "json", "yaml")
def release_command(
    owner: str, where: Where, stacks_context: str | None, dry_run: bool, yes: bool, output: str
) -> None:
    """Make an owner's objects no one's: whoever applies them next has them.

    With -n only those in one namespace.
    """
    facts = run_async(_change(where, stacks_context, owner, "", dry_run=dry_run, yes=yes))
    _print_facts(facts, output)


async def _read(
    where: Where, stacks_context: str | None
) -> tuple[MarkedObjects, Mapping[str, str]]:
    from ocistate.apply.ownership import find_marked

    async with where.open() as (client, _):
        living = await _living(client, where, stacks_context)
        return await find_marked(client, namespace=where.namespace), living


async def _change(
    where: Where, stacks_context: str | None, owner: str, stack: str, *, dry_run: bool, yes: bool
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
                    f"{owner} is the Stack {living[owner]}, which is there",
                    hint="it hands objects over itself: spec.handOverTo there, adoptFrom here",
                )
        to = await _uid_of(client, where, stacks_context, namespace, stack) if stack else ""
        found = await find_marked(client, namespace=where.namespace, owner=owner)
        if not found.objects:
            raise NoStack(
                f"no object carries the mark {owner}", hint="'ocistate orphans list' shows owners"
            )
        facts: dict[str, Any] = {"owner": owner, "stack": stack, "dryRun": dry_run}
        if dry_run:
            return {**facts, "objects": [_as_fact(each, "") for each in found.objects]}
        if not yes:
            _confirm(owner, stack, found)
        done = await mark_all(client, found.objects, to=to)
        return {**facts, "objects": [_as_fact(each, str(error or "")) for each, error in done]}


def _confirm(owner: str, stack: str, found: MarkedObjects) -> None:
    for each in found.objects[:20]:
        note(f"  {each.id}")
    if (more := len(found.objects) - 20) > 0:
        note(f"  and {more} more")
    _note_unseen(found)
    if not sys.stdin.isatty():
        raise UsageError("no one can be asked here", hint="add --yes, or --dry-run to look")
    count = len(found.objects)
    what = f"Make {count} objects the Stack {stack}'s" if stack else f"Release {count} objects"
    click.confirm(f"{what}? No agent must look after {owner} any more.", abort=True, err=True)


async def _living(
    client: KubeClient, where: Where, stacks_context: str | None
) -> Mapping[str, str]:
    """The Stacks there are, by UID. Raises ClusterError when that can't be told for sure."""
    from ocistate.api.stack import GROUP
    from ocistate.kube.errors import UNKNOWN_KIND, StatusError

    if stacks_context:
        async with Where(where.kubeconfig, stacks_context, "").open() as (other, _):
            return await _living(other, where, None)
    try:
        stacks = await client.list(await client.kind(GROUP, "Stack"), metadata_only=True)
    except StatusError as error:
        if error.status == 403:
            why = "you may not list Stacks in all namespaces"
            hint = "ask somebody who may"
        elif error.code == UNKNOWN_KIND:
            why = "this cluster has no Stacks"
            hint = "name the cluster that has them with --stacks-context"
        else:
            raise
        raise ClusterError(f"whether an owner is gone cannot be told: {why}", hint=hint) from None
    metadata = [obj["metadata"] for obj in stacks.items]
    return {each["uid"]: f"{each['namespace']}/{each['name']}" for each in metadata}


async def _uid_of(
    client: KubeClient, where: Where, stacks_context: str | None, namespace: str, stack: str
) -> str:
    """The UID of the Stack that shall have them. Raises NoStack."""
    if stacks_context:
        async with Where(where.kubeconfig, stacks_context, "").open() as (other, default):
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
        word = "would change" if facts["dryRun"] else "given" if facts["stack"] else "released"
        for each in facts["objects"]:
            result(f"{each['object']} " + (f"failed: {each['error']}" if each["error"] else word))
    if failed:
        raise ApplyFailed(
            f"{len(failed)} of {len(facts['objects'])} objects stayed as they were",
            hint="fix what the errors say, and run it again",
        )


def _note_unseen(found: MarkedObjects) -> None:
    if found.unseen:
        note(f"May not be listed, and not looked at: {', '.join(found.unseen)}")
