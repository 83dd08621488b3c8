"""``ocistate get``: Stacks and their state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocistate.cli.cluster.stacks import target_of
from ocistate.cli.common.cluster import ClusterOptions, cluster_options, state_option
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.errors import NoStack


@click.command("get")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@cluster_options
@state_option
@output_option("table", "json", "yaml", "name")
def get_command(
    names: tuple[str, ...],
    all_namespaces: bool,
    where: ClusterOptions,
    state: Path | None,
    output: str,
) -> None:
    """Show Stacks: what runs, who signed it, whether it is ready, and why not.

    It is an error when a Stack named on the command line does not exist.
    """
    if state is not None:
        rows = _from_state(state)
    else:
        rows = run_async(_from_cluster(where, all_namespaces))
    rows = [row for row in rows if not names or row["name"] in names]
    namespace = where.namespace
    if state is not None and namespace:
        rows = [row for row in rows if row["namespace"] == namespace]
    missing = [name for name in names if name not in {row["name"] for row in rows}]
    if rows or not missing:
        _print(rows, output)
    if missing:
        raise NoStack(
            f"there is no Stack {', '.join(missing)}" + (f" in {namespace}" if namespace else ""),
            hint="'ocistate get -A' lists all; -n names another namespace",
        )


def _print(rows: list[dict[str, Any]], output: str) -> None:
    if output in ("json", "yaml"):
        emit(rows, output)
    elif output == "name":
        for row in rows:
            result(f"stack/{row['name']}")
    elif not rows:
        note("No Stacks found.")
    else:
        # Most agents reconcile their own cluster only.
        elsewhere = ("target",) if any(row["targetName"] for row in rows) else ()
        table(
            (
                "namespace",
                "name",
                *elsewhere,
                "digest",
                "revision",
                "trusted",
                "ready",
                "verified",
                "healthy",
                "contested",
                "reason",
            ),
            [
                (
                    row["namespace"],
                    row["name"],
                    *(row["targetName"] for _ in elsewhere),
                    row["digest"][:19],
                    row["revision"],
                    row["running"]["verified"],
                    row["ready"]["status"],
                    _verified(row["verified"]),
                    row["healthy"]["status"],
                    str(len(row["contested"]) or ""),
                    row["ready"]["reason"],
                )
                for row in rows
            ],
        )


def _verified(condition: dict[str, str]) -> str:
    """True, or the reason why not: NotEnforced and VerificationOff are not verdicts."""
    return condition["status"] if condition["status"] == "True" else condition["reason"]


def _from_state(state: Path) -> list[dict[str, Any]]:
    from ocistate.agent.state.folder import StateFolder
    from ocistate.api.status import status_to_dict

    folder = StateFolder(state)
    return [
        _row(key[0], key[1], folder.target_name(key), status_to_dict(folder.load(key)))
        for key in folder.known()
    ]


async def _from_cluster(where: ClusterOptions, all_namespaces: bool) -> list[dict[str, Any]]:
    from ocistate.api.stack import GROUP
    from ocistate.api.status import status_from_dict, status_to_dict

    async with where.open() as (client, namespace):
        listing = await client.list(
            await client.kind(GROUP, "Stack"), "" if all_namespaces else namespace
        )
    return [
        _row(
            obj["metadata"]["namespace"],
            obj["metadata"]["name"],
            target_of(obj),
            status_to_dict(status_from_dict(obj.get("status"))),
        )
        for obj in listing.items
    ]


def _row(namespace: str, name: str, target: str, status: dict[str, Any]) -> dict[str, Any]:
    conditions = {c["type"]: c for c in status["conditions"]}
    current = status.get("current") or {}

    def condition(type_: str) -> dict[str, str]:
        found = conditions.get(type_, {})
        return {key: found.get(key, "") for key in ("status", "reason", "message")}

    return {
        "namespace": namespace,
        "name": name,
        "targetName": target,
        "digest": current.get("digest", ""),
        "tag": current.get("tag", ""),
        "channel": current.get("channel", ""),
        "epoch": current.get("epoch", 0),
        "sequence": current.get("sequence", 0),
        "revision": current.get("revision", ""),
        "signedBy": current.get("signedBy", []),
        "appliedAt": current.get("appliedAt", ""),
        "running": {key: current.get(key, "") for key in ("verified", "verification")},
        "ready": condition("Ready"),
        "verified": condition("Verified"),
        "healthy": condition("Healthy"),
        "contested": status.get("contested", []),
        "resources": status["resources"],
        "history": status["history"],
        "lastAttempt": status.get("lastAttempt"),
    }
