"""How a cluster is named on the command line: for its reports, and for its rings of rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ocistate.errors import UsageError

if TYPE_CHECKING:
    from ocistate.channel.rings import Cluster


def cluster_options(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--cluster``, whose help is given, and ``--cluster-label``."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        name = click.option("--cluster", default="", metavar="NAME", help=text)
        labels = click.option(
            "--cluster-label",
            "cluster_labels",
            multiple=True,
            metavar="KEY=VALUE",
            help="What the cluster is, for rings by labels; repeatable.",
        )
        return name(labels(command))

    return add


def cluster_of(name: str, texts: tuple[str, ...]) -> Cluster | None:
    """The cluster that the options name, None when they name none.

    Raises UsageError, InvalidReport for what is no cluster's name.
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
