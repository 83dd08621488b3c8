"""``ocistate agent``: reconcile Stacks in a cluster, from outside of one, or without any."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.cluster import ClusterOptions, cluster_options_with
from ocistate.cli.common.output import emit, note, output_option, table
from ocistate.cli.setup.options import (
    ReachOptions,
    cluster_name_options,
    reach_options,
    shards_option,
)
from ocistate.errors import UsageError

if TYPE_CHECKING:
    from ocistate.agent.factory import Reporting
    from ocistate.agent.runtime import Agent
    from ocistate.agent.sharding.shards import Shards
    from ocistate.channel.rings import Cluster
    from ocistate.reach import Reach


@click.command("agent")
@click.option(
    "--stacks",
    type=click.Path(path_type=Path),
    help="Read Stacks and TrustPolicies from this file or folder instead of a cluster.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the agent's state and the last verified content.",
)
@click.option("--once", is_flag=True, help="Reconcile each Stack of --stacks once, then exit.")
@cluster_options_with(
    "Only this namespace: its Stacks, and objects in it.",
    "The kubeconfig context to use for Stacks that name none.",
)
@click.option(
    "--policies",
    type=click.Path(path_type=Path),
    help="Read TrustPolicies from this file or folder instead of the cluster.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Stacks reconciled concurrently in each cluster.",
)
@click.option(
    "--listen", default="", metavar="HOST:PORT", help="Serve health, metrics and webhooks here."
)
@shards_option(
    "Share Stacks with other agents by this many Leases; 1 is leader election.",
    default=0,
    least=0,
)
@click.option(
    "--lease-seconds",
    type=click.IntRange(3, 600),
    default=10,
    show_default=True,
    help="Seconds until a Lease that is not renewed expires.",
)
@cluster_name_options("The name of this cluster in reports and rings.")
@click.option(
    "--report-key",
    default="",
    metavar="KEY",
    help="The private key that signs reports: a file, env://NAME or exec:COMMAND.",
)
@click.option(
    "--report-every",
    type=click.IntRange(10, 86400),
    default=300,
    show_default=True,
    help="Seconds after which an unchanged report is sent again.",
)
@reach_options
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default=None,
    help="Log format; default: text on a terminal, json elsewhere.",
)
@output_option("table", "json", "yaml")
def agent_command(
    stacks: Path | None,
    once: bool,
    where: ClusterOptions,
    cluster: Cluster | None,
    report_key: str,
    report_every: int,
    reach: ReachOptions,
    log_format: str | None,
    output: str,
    **options: Any,
) -> int:
    """Reconcile Stacks continuously: resolve, verify, fetch, apply, prune, watch.

    In a cluster it needs no option. With --stacks each Stack names its target: a folder, or the
    cluster of a kubeconfig context. It stops cleanly on SIGTERM and SIGINT.
    """
    from ocistate.agent.memory import limit_arenas
    from ocistate.agent.telemetry.log import set_up

    limit_arenas()
    run = _AgentRun(where=where, reporting=_reporting(cluster, report_key, report_every), **options)
    set_up(log_format or ("text" if sys.stderr.isatty() else "json"))
    if once and stacks is None:
        raise UsageError("--once requires --stacks", hint="use 'ocistate apply' for one artifact")
    if stacks is None:
        return asyncio.run(run.in_cluster(reach.reach()))
    if run.shards:
        raise UsageError("--shards requires an agent in a cluster", hint="leave --stacks out")
    if reach.is_given:
        raise UsageError(
            "--allow-hosts and --deny-private require an agent in a cluster",
            hint="with --stacks, the files themselves name the hosts",
        )
    if run.policies is not None or where.namespace:
        raise UsageError(
            "--policies and --namespace require an agent in a cluster",
            hint="with --stacks, put the TrustPolicies into its files",
        )
    return asyncio.run(run.embedded(stacks, once=once, output=output))


def _reporting(cluster: Cluster | None, key: str, every: int) -> Reporting:
    """The agent's cluster, and the key of its reports, if there is one, which is loaded now."""
    from ocistate.agent.factory import Reporting

    if cluster is None:
        if key:
            raise UsageError(
                "--report-key requires --cluster",
                hint="a TrustPolicy's reporters list the cluster's name and its key",
            )
        return Reporting()
    from ocistate.cli.trust.keys import load_signer_for

    signer = load_signer_for(key) if key else None
    return Reporting(cluster=cluster, signer=signer, every=every)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AgentRun:
    """How an agent runs, as given by the options."""

    where: ClusterOptions
    reporting: Reporting
    state: Path | None
    policies: Path | None
    workers: int
    listen: str
    shards: int
    lease_seconds: int

    async def embedded(self, stacks: Path, *, once: bool, output: str) -> int:
        """Reconcile the Stacks of files, without a cluster of their own."""
        from ocistate.agent.factory import embedded_agent

        stop = _stop_on_signals()
        async with embedded_agent(
            stacks,
            state=self.state,
            kubeconfig=self.where.kubeconfig,
            context=self.where.context,
            workers=self.workers,
            reporting=self.reporting,
        ) as (agent, source):
            source.load()
            if once:
                return await _once(agent, output)
            note(f"Following {stacks}; stop with Ctrl-C")
            async with _serving(self.listen, agent):
                follower = asyncio.create_task(source.follow(stop))
                await agent.run(stop)
                await follower
        return 0

    async def in_cluster(self, reach: Reach) -> int:
        """Reconcile the Stacks of a cluster, together with other agents when it has shards."""
        from ocistate.agent.factory import cluster_agent

        stop, done = _stop_on_signals(), asyncio.Event()
        async with (
            cluster_agent(
                state=self.state,
                kubeconfig=self.where.kubeconfig,
                context=self.where.context,
                workers=self.workers,
                namespace=self.where.namespace,
                policies=self.policies,
                shards=self.shards,
                lease_seconds=self.lease_seconds,
                reach=reach,
                reporting=self.reporting,
            ) as (agent, source, leases),
            _serving(self.listen, agent, leases),
        ):
            follower = asyncio.create_task(source.follow(stop))
            holder = None
            if leases is not None:
                holder = asyncio.create_task(leases.run(stop, done, source))
            await agent.run(stop)
            done.set()
            if holder is not None:
                await holder
            await follower
        return 0


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _once(agent: Agent, output: str) -> int:
    """Reconcile each Stack in the order of dependencies, until it is healthy or has failed."""
    from ocistate.agent.once import run_once
    from ocistate.api.status import status_to_dict

    await run_once(agent)
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


def _serving(listen: str, agent: Agent, leases: Shards | None = None) -> Any:
    from ocistate.agent.http.server import serving

    secret = os.environ.get("OCISTATE_WEBHOOK_SECRET", "")
    return serving(listen, agent, secret=secret, leases=leases)
