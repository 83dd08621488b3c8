"""What a Stack of a cluster may not name, for its author is not who runs the agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, structs

from ocistate.api.names import LocalPath, Repository
from ocistate.api.stack import Stack
from ocistate.errors import ConfigError


def named_files(stack: Stack) -> Iterator[str]:
    """The fields of a Stack's spec that name a file or folder of the agent's machine.

    They are found by their type, so that a field added later is looked at too.
    """
    return _files_in(stack.spec, "")


def _files_in(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, LocalPath):
        if value:
            yield path
    elif isinstance(value, Repository):
        if value.reference.scheme != "oci":
            yield path
    elif isinstance(value, tuple | list | frozenset | set):
        for item in value:
            yield from _files_in(item, f"{path}[]")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _files_in(item, f"{path}[]")
    elif isinstance(value, Struct):
        for part in structs.fields(value):
            inner = f"{path}.{part.encode_name}" if path else part.encode_name
            yield from _files_in(getattr(value, part.name), inner)


def check_reach(stack: Stack) -> None:
    """Files beside the agent are not its tenants' to read or write, in whatever field they name
    one. Raises ConfigError."""
    if stack.spec.target.context and not stack.spec.target.kubeconfig_secret:
        raise ConfigError(
            f"Stack {stack}: spec.target.context: the agent's own kubeconfig is not its Stacks' "
            "to choose from",
            hint="name a Secret with the kubeconfig in spec.target.kubeconfigSecretRef",
        )
    for name in named_files(stack):
        raise ConfigError(
            f"Stack {stack}: spec.{name}: a folder or file means nothing inside a cluster",
            hint="use a registry and a cluster, or run the agent with --stacks",
        )
