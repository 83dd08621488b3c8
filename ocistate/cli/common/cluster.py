"""Which cluster and namespace a command works on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ocistate.kube.client import KubeClient

NAMESPACE_HELP: Final = "The namespace; the context's by default."


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """A cluster and a namespace, as given by the options; empty ones are the context's."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = ""

    @property
    def is_given(self) -> bool:
        """Whether any of the options is given."""
        return bool(self.kubeconfig or self.context or self.namespace)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[KubeClient, str]]:
        """A client, and the namespace: the context's if none is given."""
        from ocistate.kube.client import KubeClient

        async with KubeClient.open(self.kubeconfig, self.context) as client:
            yield client, self.namespace or client.access.namespace


def cluster_options_with(
    namespace: str, context: str = "The kubeconfig context to use."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``cluster_options`` with help of its own for ``--namespace`` and ``--context``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("-n", "--namespace", default="", help=namespace)
        @click.option(
            "--kubeconfig", type=click.Path(path_type=Path), help="The kubeconfig to use."
        )
        @click.option("--context", help=context)
        @functools.wraps(command)
        def wrapper(
            *args: Any, namespace: str, kubeconfig: Path | None, context: str | None, **rest: Any
        ) -> Any:
            return command(*args, where=ClusterOptions(kubeconfig, context, namespace), **rest)

        return wrapper

    return decorate


cluster_options = cluster_options_with(NAMESPACE_HELP)
"""Which cluster and namespace; the command gets ``where``."""


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--state``: read an agent's state folder in place of a cluster."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Read the state folder of an agent that runs without a cluster.",
    )(command)
