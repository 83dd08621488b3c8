"""Find out from a kind's schema whether it ever reports a status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ocistate.backoff import Backoff
from ocistate.errors import OcistateError
from ocistate.health.declared import has_status_fields
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.watch.store import OwnedObjects

_BACKOFF: Final = Backoff(first=0.1, longest=30.0, spread=0.0)


async def learn_status(
    client: KubeClient,
    owned: OwnedObjects,
    resource: ApiResource,
    *,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Have the store wait for a status of this kind, or not; its schema may come after the kind."""
    tries = 0
    while True:
        try:
            document = codec.decode(await client.open_api(resource.group, resource.version))
            declared = has_status_fields(document, resource)
        except OcistateError:
            declared = None  # then it is waited for, as the subresource promises
        if declared is not None:
            owned.silence(resource.group, resource.kind, not declared)
            return
        tries += 1
        await sleep(_BACKOFF.delay(tries))
