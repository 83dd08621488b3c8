"""What the API server can take from one client: bare loops of lightkube, 16 requests at a time."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from benches.common.measure import measure
from benches.common.objects import mixed


async def apply_and_delete(kubeconfig: Path, count: int, namespace: str) -> tuple[float, float]:
    """Server-side apply mixed objects, then delete them; the seconds each took."""
    from lightkube import AsyncClient, KubeConfig
    from lightkube.codecs import from_dict

    client = AsyncClient(config=KubeConfig.from_file(kubeconfig), field_manager="floor")
    home = from_dict({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await client.apply(home, force=True)
    objects = [from_dict(obj) for obj in mixed(count, namespace)]
    applied = await sixteen(objects, lambda obj: client.apply(obj, force=True))
    deleted = await sixteen(
        objects, lambda obj: client.delete(type(obj), obj.metadata.name, namespace=namespace)
    )
    await client.close()
    return applied, deleted


async def sixteen(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]]) -> float:
    """Work on all, 16 at a time; the seconds it took."""
    queue = iter(list(items))

    async def worker() -> None:
        for item in queue:
            await work(item)

    gc.collect()
    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(16)))
    return time.perf_counter() - begun


async def repairs(kubeconfig: Path, tries: int, namespace: str) -> list[float]:
    """Edit a ConfigMap as somebody else and apply it again; the seconds each turn took, sorted."""
    from lightkube import AsyncClient, KubeConfig
    from lightkube.codecs import from_dict
    from lightkube.resources.core_v1 import ConfigMap
    from lightkube.types import PatchType

    client = AsyncClient(config=KubeConfig.from_file(kubeconfig), field_manager="floor")
    home = from_dict({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await client.apply(home, force=True)
    (obj,) = mixed(1, namespace)
    name, kept = obj["metadata"]["name"], from_dict(obj)
    await client.apply(kept, force=True)
    taken = []
    for number in range(tries):
        edit = {"data": {"key-0": f"edited {number}"}}
        begun = time.perf_counter()
        await client.patch(
            ConfigMap, name, edit, namespace=namespace,
            patch_type=PatchType.MERGE, field_manager="somebody",
        )  # fmt: skip
        await client.apply(kept, force=True)
        taken.append(time.perf_counter() - begun)
    await client.close()
    return sorted(taken)


_LISTS = """
import asyncio, sys
from lightkube import AsyncClient, KubeConfig
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Service

async def main():
    client = AsyncClient(config=KubeConfig.from_file(sys.argv[1]))
    for kind in (ConfigMap, Service, Deployment):
        async for _ in client.list(kind, namespace=sys.argv[2], chunk_size=500):
            pass
    await client.close()

asyncio.run(main())
"""


def lists(kubeconfig: Path, namespace: str) -> float:
    """The seconds of a process that lists the objects of a namespace."""
    return measure([sys.executable, "-c", _LISTS, str(kubeconfig), namespace]).wall
