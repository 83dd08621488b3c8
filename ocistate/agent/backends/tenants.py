"""What a Stack of a cluster may not name, for its author is not who runs the agent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from ocistate.api.stack import Stack
from ocistate.errors import ConfigError
from ocistate.reference import Reference

_SAID: Final = {
    "directory": "target.directory",
    "kubeconfig": "target.kubeconfig",
    "source.mirrors[].reference": "source.mirrors[].repository",
}
"""Where the spec has a field that is elsewhere in a Stack."""


def named_files(stack: Stack) -> Iterator[str]:
    """The fields of a Stack's spec that name a file or folder of the agent's machine.

    They are found by their type, so that a field added later is looked at too.
    """
    yield from (_SAID.get(path, path) for path in _files_in(stack, ""))


def _files_in(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Path) or (isinstance(value, Reference) and value.scheme != "oci"):
        yield path
    elif isinstance(value, tuple | list | frozenset | set):
        for item in value:
            yield from _files_in(item, f"{path}[]")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _files_in(item, f"{path}[]")
    elif is_dataclass(value) and not isinstance(value, type | Reference):
        for part in fields(value):
            name = re.sub(r"_(.)", lambda match: match[1].upper(), part.name)
            yield from _files_in(getattr(value, part.name), f"{path}.{name}" if path else name)


def check_reach(stack: Stack) -> None:
    """Files beside the agent are not its tenants' to read or write, in whatever field they name
    one. Raises ConfigError."""
    if stack.context and not stack.kubeconfig_secret:
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
