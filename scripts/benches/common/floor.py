"""What the API server can take from one client: bare loops of lightkube, 16 requests at a time."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

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
