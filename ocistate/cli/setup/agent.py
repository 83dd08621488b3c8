"""``ocistate agent``: the puller, in a cluster, beside one, or without any."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.output import emit, note, output_option, table
from ocistate.cli.setup.options import cluster_of, cluster_options
from ocistate.errors import UsageError
from ocistate.reach import Reach, parse_allowed

if TYPE_CHECKING:
    from ocistate.agent.runtime import Agent
    from ocistate.agent.sharding.shards import Shards


@click.command("agent")
@click.option(
    "--stacks",
    type=click.Path(path_type=Path),
    help="Read Stacks and TrustPolicies from this file or folder instead of a cluster.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for what must be remembered and for the last good content.",
)
@click.option("--once", is_flag=True, help="Reconcile each Stack of --stacks once, then exit.")
@click.option(
    "-n", "--namespace", default="", help="Only this namespace: its Stacks, and objects in it."
)
@click.option(
    "--policies",
    type=click.Path(path_type=Path),
    help="Read TrustPolicies from this file or folder instead of the cluster.",
)
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The kubeconfig to use.")
@click.option("--context", help="The kubeconfig's context to use, where a Stack names none.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Stacks reconciled side by side in each cluster.",
)
@click.option(
    "--listen", default="", metavar="HOST:PORT", help="Serve health, metrics and webhooks here."
)
@click.option(
    "--shards",
    type=click.IntRange(0, 1024),
    default=0,
    help="Share Stacks with other agents, by so many Leases; 1 is leader election.",
)
@click.option(
    "--lease-seconds",
    type=click.IntRange(3, 600),
    default=10,
    show_default=True,
    help="How long a Lease holds that is not renewed.",
)
@cluster_options("This cluster, as it is known in reports and rings.")
@click.option(
    "--report-key",
    default="",
    metavar="KEY",
    help="A private key of its own to sign reports with: a file, env://NAME or exec:COMMAND.",
)
@click.option(
    "--report-every",
    type=click.IntRange(10, 86400),
    default=300,
    show_default=True,
    help="Seconds after which a report is repeated.",
)
@click.option(
    "--allow-hosts",
    multiple=True,
    metavar="HOST|NETWORK",
    help="Let Stacks reach this host (with stars), address or network, whatever else is denied; "
    "repeatable. This machine, its link and clouds' metadata services are denied.",
)
@click.option("--deny-private", is_flag=True, help="Deny Stacks all private networks, too.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default=None,
    help="How to log; text on a terminal, else json.",
)
@output_option("table", "json", "yaml")
def agent_command(
    stacks: Path | None, once: bool, log_format: str | None, output: str, **options: Any
) -> int:
    """Reconcile Stacks continuously: resolve, verify, fetch, apply, prune, watch.

    In a cluster it needs no option. With --stacks it needs none: each Stack says whether it belongs
    in a folder or in the cluster of a kubeconfig's context. It stops cleanly on SIGTERM and SIGINT.
    """
    from ocistate.agent.telemetry.log import set_up

    names = ("cluster", "cluster_labels", "report_key", "report_every")
    reporting = _reporting(*(options.pop(name) for name in names))
    set_up(log_format or ("text" if sys.stderr.isatty() else "json"))
    allow, deny_private = options.pop("allow_hosts"), options.pop("deny_private")
    if once and stacks is None:
        raise UsageError("--once needs --stacks", hint="use 'ocistate apply' for one artifact")
    if stacks is not None:
        if options.pop("shards"):
            raise UsageError("--shards needs a cluster to keep its Leases in")
        options.pop("lease_seconds")
        if allow or deny_private:
            raise UsageError(
                "--allow-hosts and --deny-private are for an agent in a cluster",
                hint="who writes the files of --stacks says where the agent goes",
            )
        return asyncio.run(_embedded(stacks, reporting, once=once, output=output, **options))
    reach = Reach(allow=parse_allowed(allow), deny_private=deny_private)
    return asyncio.run(_in_cluster(reporting, reach, **options))


def _reporting(name: str, labels: tuple[str, ...], key: str, every: int) -> Callable[[Agent], None]:
    """Tells an agent its cluster, and gives it its reporter, where there is a key for it; the key
    is loaded now."""
    if key and not name:
        raise UsageError(
            "--report-key needs --cluster",
            hint="the cluster's name and its key are what a TrustPolicy's reporters have",
        )
    cluster = cluster_of(name, labels)
    if cluster is None:
        return lambda agent: None
    from ocistate.agent.telemetry.reporting import Reporter
    from ocistate.cli.trust.keys import load_signer_for

    signer = load_signer_for(key) if key else None

    def give(agent: Agent) -> None:
        agent.cluster = cluster
        if signer is not None:
            agent.reporter = Reporter(cluster, signer, agent.connect_store, every=every)

    return give


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _embedded(
    stacks: Path,
    reporting: Callable[[Agent], None],
    *,
    once: bool,
    output: str,
    state: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    namespace: str,
    policies: Path | None,
    listen: str,
) -> int:
    from ocistate.agent.factory import embedded_agent

    if policies is not None or namespace:
        raise UsageError(
            "--policies and --namespace are for an agent in a cluster",
            hint="the files of --stacks hold the TrustPolicies, too",
        )

    stop = _stop_on_signals()
    async with embedded_agent(
        stacks, state=state, kubeconfig=kubeconfig, context=context, workers=workers
    ) as (agent, source):
        reporting(agent)
        source.load()
        if once:
            return await _once(agent, output)
        note(f"Following {stacks}; stop with Ctrl-C")
        async with _serving(listen, agent):
            follower = asyncio.create_task(source.follow(stop))
            await agent.run(stop)
            await follower
    return 0


async def _once(agent: Agent, output: str) -> int:
    """Each Stack in the order of its dependencies, until it is healthy or has failed."""
    from ocistate.api.status import status_to_dict

    await agent.run_once()
    rows = [
        {
            "namespace": key[0],
            "name": key[1],
            "targetName": entry.stack.target_name,
            **status_to_dict(entry.status),
        }
        for key, entry in agent.stacks.items()
    ]
    if output == "table":
        table(
            ("namespace", "name", "target", "digest", "ready", "reason"),
            [
                (
                    str(row["namespace"]),
                    str(row["name"]),
                    str(row["targetName"]),
                    _short(row),
                    *_ready(row),
                )
                for row in rows
            ],
        )
    else:
        emit(rows, output)
    return 0 if all(_ready(row)[0] == "True" for row in rows) else 1


def _short(row: dict[str, Any]) -> str:
    return str((row.get("current") or {}).get("digest", ""))[:19]


def _ready(row: dict[str, Any]) -> tuple[str, str]:
    for condition in row.get("conditions", ()):
        if condition["type"] == "Ready":
            return condition["status"], condition["reason"]
    return "Unknown", ""


async def _in_cluster(
    reporting: Callable[[Agent], None],
    reach: Reach,
    *,
    state: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    namespace: str,
    policies: Path | None,
    listen: str,
    shards: int,
    lease_seconds: int,
) -> int:
    from ocistate.agent.factory import cluster_agent

    stop, done = _stop_on_signals(), asyncio.Event()
    async with (
        cluster_agent(
            state=state,
            kubeconfig=kubeconfig,
            context=context,
            workers=workers,
            namespace=namespace,
            policies=policies,
            shards=shards,
            lease_seconds=lease_seconds,
            reach=reach,
        ) as (agent, source, leases),
        _serving(listen, agent, leases),
    ):
        reporting(agent)
        follower = asyncio.create_task(source.follow(stop))
        holder = asyncio.create_task(leases.run(stop, done)) if leases is not None else None
        await agent.run(stop)
        done.set()
        if holder is not None:
            await holder
        await follower
    return 0


def _serving(listen: str, agent: Agent, leases: Shards | None = None) -> Any:
    from ocistate.agent.http.server import serving

    secret = os.environ.get("OCISTATE_WEBHOOK_SECRET", "")
    return serving(listen, agent, secret=secret, leases=leases)
