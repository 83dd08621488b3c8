"""Options that ``install`` and ``agent`` share: the cluster's name, shards, and allowed hosts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ocistate.errors import UsageError
from ocistate.reach import Reach, parse_allowed

if TYPE_CHECKING:
    from ocistate.channel.rings import Cluster


def cluster_name_options(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--cluster``, with the given help, and ``--cluster-label``: the command gets ``cluster``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--cluster", "cluster_name", default="", metavar="NAME", help=text)
        @click.option(
            "--cluster-label",
            "cluster_labels",
            multiple=True,
            metavar="KEY=VALUE",
            help="A label of the cluster, for rings that select by labels; repeatable.",
        )
        @functools.wraps(command)
        def wrapper(
            *args: Any, cluster_name: str, cluster_labels: tuple[str, ...], **kwargs: Any
        ) -> Any:
            return command(*args, cluster=cluster_of(cluster_name, cluster_labels), **kwargs)

        return wrapper

    return decorate


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachOptions:
    """Which hosts Stacks may reach, as given by ``--allow-hosts`` and ``--deny-private``."""

    allow: tuple[str, ...]
    deny_private: bool

    @property
    def is_given(self) -> bool:
        """Whether any of the options is given."""
        return bool(self.allow or self.deny_private)

    def reach(self) -> Reach:
        """What an agent enforces. Raises ConfigError for what is no host or network."""
        return Reach(allow=parse_allowed(self.allow), deny_private=self.deny_private)

    def arguments(self) -> list[str]:
        """The same options for an agent's command line."""
        return [
            *(f"--allow-hosts={host}" for host in self.allow),
            *(["--deny-private"] if self.deny_private else []),
        ]


def reach_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--allow-hosts`` and ``--deny-private``: the command gets ``reach``."""

    @click.option(
        "--allow-hosts",
        multiple=True,
        metavar="HOST|NETWORK",
        help="Let Stacks reach this host (with stars), address or network, even when it is denied "
        "otherwise; repeatable. Loopback, link-local and cloud metadata addresses are denied.",
    )
    @click.option("--deny-private", is_flag=True, help="Deny Stacks all private networks too.")
    @functools.wraps(command)
    def wrapper(*args: Any, allow_hosts: tuple[str, ...], deny_private: bool, **kwargs: Any) -> Any:
        reach = ReachOptions(allow=allow_hosts, deny_private=deny_private)
        return command(*args, reach=reach, **kwargs)

    return wrapper


def shards_option(
    text: str, *, default: int, least: int
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--shards``, with the given help."""
    return click.option(
        "--shards",
        type=click.IntRange(least, 1024),
        default=default,
        show_default=bool(default),
        help=text,
    )


def cluster_of(name: str, texts: tuple[str, ...]) -> Cluster | None:
    """The cluster that the options name, None when they name none.

    Raises UsageError, and InvalidReport for a name that is not valid.
    """
    from ocistate.channel.report import check_cluster
    from ocistate.channel.rings import Cluster, labels_problem

    if not name:
        if texts:
            raise UsageError("--cluster-label needs --cluster")
        return None
    parts = [text.partition("=") for text in texts]
    labels = {key: value for key, _, value in parts}
    problem = labels_problem(labels) if all(equals for _, equals, _ in parts) else "no '=' in it"
    if problem or len(labels) < len(texts):
        raise UsageError(
            f"--cluster-label: {problem or 'a key is given twice'}", hint="write KEY=VALUE"
        )
    return Cluster(name=check_cluster(name), labels=labels)
