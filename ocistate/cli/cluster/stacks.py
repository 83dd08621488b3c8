"""What the commands on Stacks share: finding, patching and reading a Stack object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocistate.errors import NoStack

if TYPE_CHECKING:
    from ocistate.kube.client import KubeClient


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
    """The target that a Stack object names; empty for its own cluster, or when it is not valid."""
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
