"""``ocistate reconcile|suspend|resume``: trigger, pause and continue reconciliation."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from ocistate.cli.cluster.stacks import condition, find_stack, patch_stack
from ocistate.cli.common.cluster import ClusterOptions, cluster_options
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.errors import HealthTimeout
from ocistate.times import format_micros

_POLL_SECONDS = 0.25


@click.command("reconcile")
@click.argument("name")
@click.option("--wait/--no-wait", default=True, help="Wait for the result.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait for it.")
@cluster_options
@output_option("table", "json", "yaml", "name")
def reconcile_command(
    name: str, wait: bool, timeout: float, where: ClusterOptions, output: str
) -> int:
    """Trigger a reconciliation and wait for the result.

    Exits with 1 when the Stack is not ready afterwards, or still runs its old content because the
    registry could not be reached.
    """
    obj = run_async(_reconcile(name, wait, timeout, where))
    ready = condition(obj, "Ready")
    facts = {
        "namespace": obj["metadata"]["namespace"],
        "name": name,
        "handled": wait,
        "digest": ((obj.get("status") or {}).get("current") or {}).get("digest", ""),
        "ready": ready,
    }
    if output in ("json", "yaml"):
        emit(facts, output)
    elif output == "name" or not wait:
        result(f"stack/{name}" if output == "name" else f"stack/{name} asked")
    else:
        result(f"stack/{name} {ready['reason']}: {ready['message']}")
    # True for another reason than Ready: what runs is healthy, but new content could not be read.
    failed = ready["status"] == "False" or (
        ready["status"] == "True" and ready["reason"] != "Ready"
    )
    return 1 if wait and failed else 0


async def _reconcile(
    name: str, wait: bool, timeout: float, where: ClusterOptions
) -> dict[str, Any]:
    from datetime import UTC, datetime

    from ocistate.api.stack import GROUP

    asked = format_micros(datetime.now(UTC))
    async with where.open() as (client, namespace):
        obj = await find_stack(client, namespace, name)
        obj = await patch_stack(
            client, obj, {"metadata": {"annotations": {f"{GROUP}/reconcile": asked}}}
        )
        if not wait:
            return obj
        note(f"Waiting for Stack {name}, up to {timeout:g} s")
        try:
            async with asyncio.timeout(timeout):
                while True:
                    obj = await find_stack(client, namespace, name)
                    status = obj.get("status") or {}
                    under_way = condition(obj, "Ready")["reason"] == "Progressing"
                    if status.get("lastHandledReconcileAt") == asked and not under_way:
                        return obj
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise HealthTimeout(
                f"Stack {name} was not reconciled within {timeout:g} s",
                hint=f"is the agent running? 'ocistate status {name}' shows more",
            ) from None


@click.command("suspend")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@cluster_options
def suspend_command(names: tuple[str, ...], where: ClusterOptions) -> None:
    """Suspend reconciliation: nothing is applied, repaired or pruned until 'resume'."""
    run_async(_set_suspend(names, where, True))


@click.command("resume")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@cluster_options
def resume_command(names: tuple[str, ...], where: ClusterOptions) -> None:
    """Resume reconciliation immediately."""
    run_async(_set_suspend(names, where, False))


async def _set_suspend(names: tuple[str, ...], where: ClusterOptions, suspend: bool) -> None:
    async with where.open() as (client, namespace):
        # All must exist before the first one is changed.
        stacks = [await find_stack(client, namespace, name) for name in names]
        for obj in stacks:
            await patch_stack(client, obj, {"spec": {"suspend": suspend}})
            done = "suspended" if suspend else "resumed"
            result(f"stack/{obj['metadata']['name']} {done}")
