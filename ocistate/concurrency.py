"""Several things at once, within a limit, ending together.

    manifests = await each(digests, fetch, at_once=8)     # results in the order of the digests

The first error cancels what is still running, and is raised as it is, not in a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Limiter(asyncio.Semaphore):
    """A limit that separate callers share: ``async with limiter`` waits for a free place.

    For one set of things to work on, `each` has a limit of its own.
    """

    def __init__(self, at_once: int) -> None:
        super().__init__(at_once)


async def each(
    items: Iterable[S], work: Callable[[S], Awaitable[T]], *, at_once: int | None = 16
) -> list[T]:
    """The results in the order of the items, ``at_once`` of them worked on at a time."""
    limiter = Limiter(at_once) if at_once else None

    async def one(item: S) -> T:
        if limiter is None:
            return await work(item)
        async with limiter:
            return await work(item)

    return await together(one(item) for item in items)


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of coroutines that all run at once, in their order."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
