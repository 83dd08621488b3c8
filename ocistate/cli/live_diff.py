"""``ocistate diff REF --live``: what applying an artifact would change in a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ocistate.cli.options import required_target, run_async
from ocistate.cli.output import emit, note, result
from ocistate.cli.stacks import Where, find_stack
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.cluster.prepare import IgnoreRule
    from ocistate.oci.store import Store
    from ocistate.steps.live import LiveDiff

_SIGNS: Final = {"added": "+", "changed": "~", "removed": "-", "refused": "!"}


def show_live_diff(
    reference: Reference,
    connect: Callable[[Reference], Store],
    where: Where,
    stack_name: str,
    exit_code: bool,
    output: str,
) -> int:
    """Print it; the exit code."""
    digest, found = run_async(_compare(reference, connect, where, stack_name))
    rows = [_row(each) for each in found]
    if output in ("json", "yaml"):
        emit({"digest": digest, "resources": rows}, output)
    else:
        for each, row in zip(found, rows, strict=True):
            if output == "name":
                result(str(each.id))
                continue
            result(f"{_SIGNS[each.change]} {each.id}" + (f": {each.error}" if each.error else ""))
            for field in row["fields"]:
                before, after = _show(field["before"]), _show(field["after"])
                result(f"    {field['pointer']}: {before} → {after}")
    if not found:
        note("No difference.")
    return 1 if exit_code and found else 0


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


def _row(each: LiveDiff) -> dict[str, Any]:
    return {
        "change": each.change,
        "group": each.id.group,
        "kind": each.id.kind,
        "namespace": each.id.namespace,
        "name": each.id.name,
        "error": each.error,
        "fields": [
            {"pointer": field.pointer, "before": field.before, "after": field.after}
            for field in each.fields
        ],
    }


async def _compare(
    reference: Reference, connect: Callable[[Reference], Store], where: Where, stack_name: str
) -> tuple[str, tuple[LiveDiff, ...]]:
    from ocistate.steps.fetch import fetch_content, fetch_manifest
    from ocistate.steps.live import diff_live
    from ocistate.steps.rollout import owner_of

    async with connect(reference) as store:
        target = required_target(reference, "diff")
        content = await fetch_content(store, await fetch_manifest(store, target))
        repository = store.reference.name
    async with where.open() as (client, namespace):
        owner, into, force = owner_of(repository, namespace, ""), namespace, False
        ignore: list[IgnoreRule] = []
        chosen = list(content.resources().values())
        if stack_name:
            from ocistate.agent.api import parse_stack
            from ocistate.agent.target import ignore_rules, select_path

            stack = parse_stack(await find_stack(client, namespace, stack_name))
            owner, into = stack.uid, stack.target_namespace or stack.namespace
            force, ignore = stack.force_namespace, ignore_rules(stack)
            files = select_path(content, stack.source.path)
            chosen = [each for each in chosen if each.path in files]
        found = await diff_live(
            client, chosen, owner=owner, digest=content.digest, namespace=into,
            force_namespace=force, ignore=ignore,
        )  # fmt: skip
    return content.digest, found
