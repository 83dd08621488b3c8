"""Wait until the API server serves the kinds of CRDs that were just applied."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any, Final

from ocistate.backoff import Backoff
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import Kinds
from ocistate.objects import ObjectId

_TIMEOUT: Final = 60.0
_POLL: Final = Backoff(first=0.02, longest=0.5, spread=0.0)


async def established(
    client: KubeClient,
    ids: Collection[ObjectId],
    *,
    sleep: Callable[[float], Awaitable[None]],
    clock: Callable[[], float],
) -> AsyncGenerator[tuple[ObjectId, str], None]:
    """Each CRD as soon as its kind is served (an empty text), or why it will not be.

    Raises ClusterUnavailable.
    """
    waiting = list(ids)
    deadline = clock() + _TIMEOUT
    polls = 0
    while waiting:
        crds = {id: await client.get(id) for id in waiting}
        # Discovery follows some moments after a CRD says Established.
        kinds = await client.kinds(max_age=0.0)
        for id, crd in crds.items():
            trouble = definition_trouble(id, crd, kinds)
            if trouble is None and clock() > deadline:
                trouble = f"{id}: not established within {_TIMEOUT:.0f} s"
            if trouble is not None:
                waiting.remove(id)
                yield id, trouble
        if waiting:
            polls += 1
            await sleep(_POLL.delay(polls))


def definition_trouble(id: ObjectId, crd: dict[str, Any] | None, kinds: Kinds) -> str | None:
    """None: a CRD's kind is not served yet. Empty: it is. Else: why it will not be."""
    if crd is None:
        return f"{id} was deleted while it was being applied"
    conditions = {each["type"]: each for each in (crd.get("status") or {}).get("conditions") or ()}
    if conditions.get("NamesAccepted", {}).get("status") == "False":
        return f"{id}: its names are not accepted: {conditions['NamesAccepted'].get('message')}"
    if conditions.get("Established", {}).get("status") != "True":
        return None
    spec = crd["spec"]
    served = set(kinds.versions(spec["group"], spec["names"]["kind"]))
    return (
        "" if {each["name"] for each in spec["versions"] if each.get("served")} <= served else None
    )
