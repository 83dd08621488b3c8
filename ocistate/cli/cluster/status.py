"""``ocistate status``: one Stack, what matters most first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from ocistate.cli.cluster.stacks import find_stack, pointer_of, target_of
from ocistate.cli.common.cluster import ClusterOptions, cluster_options, state_option
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, output_option, result
from ocistate.errors import NoStack

_ORDER: Final = ("Stalled", "Verified", "Applied", "Healthy", "Ready")
_BAD: Final = {"Stalled": "True"}

_Seen = tuple[str, str, dict[str, Any], dict[str, Any]]
"""Namespace, target, status and spec."""


@click.command("status")
@click.argument("name")
@state_option
@cluster_options
@output_option("table", "json", "yaml")
def status_command(name: str, state: Path | None, where: ClusterOptions, output: str) -> int:
    """Show one Stack: whether it is ready, why not, what runs and since when.

    Exits with 1 when it is not ready.
    """
    namespace, target, status, spec = (
        _from_state(state, where.namespace, name)
        if state is not None
        else run_async(_from_cluster(where, name))
    )
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    causes = [
        conditions[type_]
        for type_ in _ORDER
        if type_ in conditions and conditions[type_]["status"] == _BAD.get(type_, "False")
    ]
    ready = conditions.get("Ready", {"status": "Unknown", "reason": "NotSeen", "message": ""})
    if output != "table":
        emit(
            {
                "namespace": namespace,
                "name": name,
                "targetName": target,
                "ready": ready["status"],
                "causes": causes,
                "suspended": bool(spec.get("suspend")),
                "source": spec.get("source"),
                **status,
            },
            output,
        )
    else:
        for line in _lines(namespace, name, target, ready, causes, status, spec):
            result(line)
    return 0 if ready["status"] == "True" else 1


def _lines(
    namespace: str,
    name: str,
    target: str,
    ready: dict[str, Any],
    causes: list[dict[str, Any]],
    status: dict[str, Any],
    spec: dict[str, Any],
) -> list[str]:
    state = {"True": "ready", "False": "not ready"}.get(ready["status"], "in progress")
    lines = [f"Stack {namespace}/{name} is {state}: {ready['reason']}"]
    if ready["status"] != "True" and not ready["reason"]:
        lines.append("  the agent has not reported on it: is it running?")
    shown = set()
    for cause in causes or ([ready] if ready["message"] else []):
        if cause["message"] not in shown:
            since = cause.get("lastTransitionTime", "")
            lines.append(f"  {cause.get('type', 'Ready')}: {cause['message']}")
            lines[-1] += f" (since {since})" if since else ""
        shown.add(cause["message"])
    if target:
        lines.append(f"Target:  {target}")
    current, source = status.get("current") or {}, spec.get("source") or {}
    if source:
        lines.append(f"Follows: {source.get('repository')} {pointer_of(source)}")
    if current:
        lines.append(f"Runs:    {current.get('digest')} {current.get('revision', '')}".rstrip())
        lines.append(f"Signed:  {', '.join(current.get('signedBy') or ()) or 'not verified'}")
        lines.append(f"Since:   {current.get('appliedAt', '')}")
    else:
        lines.append("Runs:    nothing yet")
    counts = {k: v for k, v in (status.get("resources") or {}).items() if v}
    if counts:
        total = counts.pop("total", 0)
        lines.append(f"Objects: {total}" + "".join(f", {v} {k}" for k, v in counts.items()))
    if status.get("contested"):
        from ocistate.api.status import status_from_dict

        lines.append("Contested:")
        lines += [f"  {contest}" for contest in status_from_dict(status).contested]
    attempt = status.get("lastAttempt") or {}
    if attempt.get("error"):
        lines.append(
            f"Failed:  {attempt.get('at')} {attempt.get('digest', '')}: {attempt['error']}"
        )
    if history := status.get("history") or []:
        lines.append("History:")
        lines += [
            f"  {h['at']} {h['digest'][:19]} {h['outcome']} {h['revision']}" for h in history[:5]
        ]
    return lines


def _from_state(state: Path, namespace: str, name: str) -> _Seen:
    from ocistate.agent.state.folder import StateFolder
    from ocistate.api.status import status_to_dict

    folder = StateFolder(state)
    for key in folder.known():
        if key[1] == name and namespace in ("", key[0]):
            return key[0], folder.target_name(key), status_to_dict(folder.load(key)), {}
    raise NoStack(
        f"the state folder {state} has no Stack {name}",
        hint=f"'ocistate get --state {state}' lists its Stacks",
    )


async def _from_cluster(where: ClusterOptions, name: str) -> _Seen:
    async with where.open() as (client, namespace):
        obj = await find_stack(client, namespace, name)
    return namespace, target_of(obj), obj.get("status") or {}, obj.get("spec") or {}
