"""Do the same for many things at once, within a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def each(
    items: Iterable[S], work: Callable[[S], Awaitable[T]], *, at_once: int | None = 16
) -> list[T]:
    """The results in the order of the items, ``at_once`` of them worked on at a time.

    The first error ends the others, and is raised by itself.
    """
    gate = asyncio.Semaphore(at_once) if at_once else None

    async def one(item: S) -> T:
        if gate is None:
            return await work(item)
        async with gate:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
