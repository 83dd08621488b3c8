"""``ocistate get``: the Stacks and how they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocistate.cli.cluster.stacks import target_of
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.errors import NoStack


@click.command("get")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("-n", "--namespace", default="", help="This namespace; the context's by default.")
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The kubeconfig to use.")
@click.option("--context", help="The kubeconfig's context to use.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Read the state folder of an agent that runs without a cluster.",
)
@output_option("table", "json", "yaml", "name")
def get_command(
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    kubeconfig: Path | None,
    context: str | None,
    state: Path | None,
    output: str,
) -> None:
    """Show Stacks: what runs, who signed it, whether it is ready, and why not.

    Fails when a Stack that is named is not there.
    """
    if state is not None:
        rows = _from_state(state)
    else:
        rows = run_async(_from_cluster(kubeconfig, context, namespace, all_namespaces))
    rows = [row for row in rows if not names or row["name"] in names]
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
        # Most agents look after their own cluster only.
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
    """The reason where there is one to know: NotEnforced and VerificationOff are no verdicts."""
    return condition["status"] if condition["status"] == "True" else condition["reason"]


def _from_state(state: Path) -> list[dict[str, Any]]:
    from ocistate.agent.state.folder import StateFolder
    from ocistate.api.status import status_to_dict

    folder = StateFolder(state)
    return [
        _row(key[0], key[1], folder.target_name(key), status_to_dict(folder.load(key)))
        for key in folder.known()
    ]


async def _from_cluster(
    kubeconfig: Path | None, context: str | None, namespace: str, all_namespaces: bool
) -> list[dict[str, Any]]:
    from ocistate.api.stack import GROUP
    from ocistate.api.status import status_from_dict, status_to_dict
    from ocistate.kube.client import KubeClient

    async with KubeClient.open(kubeconfig, context) as client:
        where = "" if all_namespaces else namespace or client.access.namespace
        listing = await client.list(await client.kind(GROUP, "Stack"), where)
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
