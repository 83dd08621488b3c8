"""What an account may do, as the API server says it of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from ocistate.concurrency import each
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId

_SECONDS: Final = 60.0
_AT_ONCE: Final = 8

Place = tuple[str, str, str]
"""Group, kind and namespace."""


@dataclass(slots=True)
class DeleteRights:
    """Whether an account may delete the objects of a kind in a namespace; asked once a minute."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[Place, tuple[bool, float]] = field(default_factory=dict)

    async def over(self, client: KubeClient, ids: Collection[ObjectId]) -> set[ObjectId]:
        """Those that the client's account may delete, or of which that cannot be told.

        Raises ClusterUnavailable.
        """
        now = self.clock()
        self._known = {place: known for place, known in self._known.items() if now < known[1]}
        asked = {_place(id) for id in ids} - self._known.keys()

        async def ask(place: Place) -> None:
            self._known[place] = (await _may_delete(client, place), now + _SECONDS)

        await each(asked, ask, at_once=_AT_ONCE)
        return {id for id in ids if self._known[_place(id)][0]}


def _place(id: ObjectId) -> Place:
    return (id.group, id.kind, id.namespace)


async def _may_delete(client: KubeClient, place: Place) -> bool:
    group, kind, namespace = place
    try:
        resource = await client.kind(group, kind)
        answer = await client.create(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "metadata": {"name": ""},
                "spec": {
                    "resourceAttributes": {
                        "verb": "delete",
                        "group": group,
                        "resource": resource.plural,
                        "namespace": namespace,
                    }
                },
            }
        )
    except StatusError:
        return True
    status = answer.get("status")
    return not isinstance(status, dict) or bool(status.get("allowed"))
