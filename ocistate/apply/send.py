"""Send one object, as server-side apply, the way that `kubectl apply` would have it accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ocistate.apply.desired.prepare import without
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.kube.transport import JSON

_ROUNDS: Final = 5
_KEY: Final = re.compile(r"\[([^\]\d][^\]]*)\]")


async def send(
    client: KubeClient, obj: dict[str, Any], *, force: bool = True, dry_run: bool = False
) -> tuple[dict[str, Any], bytes]:
    """What was sent in the end, and the API server's answer. Raises StatusError.

    A null where a custom resource's schema allows none is left out, as the API server itself does
    it for objects that come otherwise than by server-side apply.
    """
    for _ in range(_ROUNDS):
        try:
            return obj, await client.apply_raw(obj, force=force, dry_run=dry_run, accept=JSON)
        except StatusError as error:
            pointers = refused_nulls(obj, error)
            if not pointers:
                raise
            obj = without(obj, pointers)
    return obj, await client.apply_raw(obj, force=force, dry_run=dry_run, accept=JSON)


def refused_nulls(obj: Mapping[str, Any], error: StatusError) -> list[str]:
    """JSON pointers to the nulls of an object that the API server refuses."""
    fields = {
        _KEY.sub(r".\1", cause.field)
        for cause in error.causes
        if error.status == 422 and "null" in cause.message
    }
    return [pointer for path, pointer in _nulls(obj, "", "") if path in fields] if fields else []


def _nulls(value: Any, path: str, pointer: str) -> Iterator[tuple[str, str]]:
    """The path, as the API server writes it, and the JSON pointer of each null field."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            inner = f"{path}.{key}" if path else str(key)
            step = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if each is None:
                yield inner, step
            else:
                yield from _nulls(each, inner, step)
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from _nulls(each, f"{path}[{position}]", f"{pointer}/{position}")
