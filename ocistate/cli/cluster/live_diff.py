"""``ocistate diff REF --live``: what applying an artifact would change in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ocistate.cli.cluster.stacks import find_stack
from ocistate.cli.common.cluster import ClusterOptions
from ocistate.cli.common.differences import field_rows, print_change, print_fields
from ocistate.cli.common.options import required_target, run_async
from ocistate.cli.common.output import emit, note, note_unlisted, result
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import NoStack
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.api.stack import Stack
    from ocistate.apply.desired.prepare import IgnoredFields
    from ocistate.ops.cluster.live import LiveDiff


def show_live_diff(
    reference: Reference | None,
    connect: OpenRepository,
    where: ClusterOptions,
    stack_name: str,
    exit_code: bool,
    output: str,
) -> int:
    """Print it; the exit code. Without a reference, what the Stack has applied is compared."""
    digest, found = run_async(_compare(reference, connect, where, stack_name))
    rows = [_row(each) for each in found]
    if output in ("json", "yaml"):
        emit({"digest": digest, "resources": rows}, output)
    else:
        for each, row in zip(found, rows, strict=True):
            if output == "name":
                result(str(each.id))
                continue
            print_change(each.change, f"{each.id}" + (f": {each.error}" if each.error else ""))
            print_fields(row["fields"])
    if not found:
        note("No difference.")
    return 1 if exit_code and found else 0


def _row(each: LiveDiff) -> dict[str, Any]:
    return {
        "change": each.change,
        "group": each.id.group,
        "kind": each.id.kind,
        "namespace": each.id.namespace,
        "name": each.id.name,
        "error": each.error,
        "fields": field_rows(each.fields),
    }


async def _compare(
    reference: Reference | None, connect: OpenRepository, where: ClusterOptions, stack_name: str
) -> tuple[str, tuple[LiveDiff, ...]]:
    from ocistate.agent.targets.base import ignore_rules, select_path
    from ocistate.api.stack import parse_stack
    from ocistate.api.status import status_from_dict
    from ocistate.ops.artifact.fetch import fetch_content, fetch_manifest
    from ocistate.ops.cluster.apply import owner_of
    from ocistate.ops.cluster.live import diff_live

    async with where.open() as (client, namespace):
        obj = await find_stack(client, namespace, stack_name) if stack_name else {}
        stack = parse_stack(obj) if stack_name else None
        if reference is None:
            assert stack is not None
            reference = _running(stack, obj)
        async with connect(reference) as store:
            target = required_target(reference, "diff")
            content = await fetch_content(store, await fetch_manifest(store, target))
            repository = store.reference.name
        owner, into, force = owner_of(repository, namespace, ""), namespace, False
        adoptable_owners: list[str] = []
        ignore: list[IgnoredFields] = []
        chosen = list(content.resources().values())
        if stack is not None:
            owner, into = stack.uid, stack.spec.namespace or stack.namespace
            force, ignore = stack.spec.force_namespace, ignore_rules(stack)
            for home, name in stack.adopt_from:
                with suppress(NoStack):
                    adoptable_owners.append(parse_stack(await find_stack(client, home, name)).uid)
            files = select_path(content, stack.spec.source.path)
            chosen = [each for each in chosen if each.path in files]
        found = await diff_live(
            client, chosen, owner=owner, digest=content.digest, namespace=into,
            force_namespace=force, ignore=ignore, adopt_from=adoptable_owners,
            on_unlisted=lambda kind, error: note_unlisted({kind: error}),
        )  # fmt: skip
        status = status_from_dict(obj.get("status"))
        if status.current is not None and status.current.digest == content.digest:
            done = {run.id for run in status.runs}
            found = tuple(e for e in found if e.change != "added" or e.id not in done)
    return content.digest, found


def _running(stack: Stack, obj: Mapping[str, Any]) -> Reference:
    """The artifact that a Stack has applied. Raises NoStack when there is none."""
    from ocistate.api.status import status_from_dict

    current = status_from_dict(obj.get("status")).current
    if current is None or not current.digest:
        raise NoStack(
            f"Stack {stack} has not applied anything yet",
            hint="name an artifact: 'ocistate diff REF --live --stack NAME'",
        )
    return stack.spec.source.repository.reference.with_digest(current.digest)
