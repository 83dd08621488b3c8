"""What the commands about Stacks share: their options, and finding a Stack in a cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.errors import NoStack

if TYPE_CHECKING:
    from ocistate.kube.client import KubeClient


@dataclass(frozen=True, slots=True)
class Where:
    """A cluster and a namespace, as the options say."""

    kubeconfig: Path | None
    context: str | None
    namespace: str

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[KubeClient, str]]:
        """A client, and the namespace: the context's if none is given."""
        from ocistate.kube.client import KubeClient

        async with KubeClient.open(self.kubeconfig, self.context) as client:
            yield client, self.namespace or client.access.namespace


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which cluster and namespace; the command gets ``where``."""

    @click.option("-n", "--namespace", default="", help="The context's by default.")
    @click.option("--kubeconfig", type=click.Path(path_type=Path), help="The kubeconfig to use.")
    @click.option("--context", help="The kubeconfig's context to use.")
    @functools.wraps(command)
    def wrapper(
        *args: Any, namespace: str, kubeconfig: Path | None, context: str | None, **kwargs: Any
    ) -> Any:
        return command(*args, where=Where(kubeconfig, context, namespace), **kwargs)

    return wrapper


async def find_stack(client: KubeClient, namespace: str, name: str) -> dict[str, Any]:
    """The Stack object. Raises NoStack."""
    from ocistate.api.stack import GROUP
    from ocistate.objects import ObjectId

    obj = await client.get(ObjectId(GROUP, "Stack", namespace, name))
    if obj is None:
        raise NoStack(
            f"there is no Stack {name} in the namespace {namespace}",
            hint="'ocistate get -A' lists all; -n names another namespace",
        )
    return obj


async def patch_stack(
    client: KubeClient, stack: dict[str, Any], patch: dict[str, Any]
) -> dict[str, Any]:
    """A merge patch on the very Stack that was read."""
    from ocistate.api.stack import GROUP
    from ocistate.objects import ObjectId

    metadata = stack["metadata"]
    uid = {"metadata": {"uid": metadata["uid"], **patch.get("metadata", {})}}
    return await client.patch(
        ObjectId(GROUP, "Stack", metadata["namespace"], metadata["name"]),
        {**patch, **uid},
        manager="ocistate-cli",
    )


def pointer_of(source: Mapping[str, Any]) -> str:
    """The pointer that a Stack's source follows."""
    for key in ("channel", "semver", "tag", "digest"):
        if key in source:
            return str(source[key])
    return ""


def target_of(obj: Mapping[str, Any]) -> str:
    """Where a Stack object belongs; empty: in its own cluster, or no one can tell."""
    from ocistate.api.stack import parse_stack
    from ocistate.errors import ConfigError

    try:
        return parse_stack(obj).target_name
    except ConfigError:
        return ""


def condition(obj: dict[str, Any], type_: str) -> dict[str, str]:
    """A condition of a Stack object; empty if it has none."""
    for each in (obj.get("status") or {}).get("conditions") or ():
        if each.get("type") == type_:
            return {key: str(each.get(key, "")) for key in ("status", "reason", "message")}
    return {"status": "", "reason": "", "message": ""}
