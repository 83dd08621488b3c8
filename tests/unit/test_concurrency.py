"""Bounded concurrency: order of results, the limit, and how errors and cancellations end it."""

from __future__ import annotations

import asyncio

import pytest

from ocistate.concurrency import Limiter, each, together
from ocistate.errors import NotFound, StoreError
from tests.support.loop import in_loop


class Gauge:
    """How many run at a time."""

    def __init__(self) -> None:
        self.running = self.most = self.ended = 0

    async def work(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
            self.ended += 1
        return item * 10


@in_loop
async def test_results_are_in_the_order_of_the_items() -> None:
    async def later_first(item: int) -> int:
        for _ in range(5 - item):
            await asyncio.sleep(0)
        return item

    assert await each(range(5), later_first) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (3, 3), (None, 20)])
@in_loop
async def test_no_more_than_the_limit_run_at_a_time(at_once: int | None, most: int) -> None:
    gauge = Gauge()
    assert await each(range(20), gauge.work, at_once=at_once) == [n * 10 for n in range(20)]
    assert gauge.most == most


@in_loop
async def test_the_first_error_cancels_the_others_and_is_raised_by_itself() -> None:
    gauge = Gauge()

    async def work(item: int) -> int:
        if item == 1:
            raise NotFound("the second is gone")
        return await gauge.work(item)

    with pytest.raises(StoreError, match="the second is gone"):
        await each(range(4), work)
    assert gauge.running == 0


@in_loop
async def test_an_error_of_nested_work_is_raised_by_itself() -> None:
    async def inner(item: int) -> int:
        raise NotFound(f"{item}")

    async def outer(item: int) -> list[int]:
        return await each([item], inner)

    with pytest.raises(NotFound, match="7"):
        await each([7], outer)


@in_loop
async def test_together_cancels_what_has_not_begun() -> None:
    begun = []

    async def fails() -> None:
        raise NotFound("gone")

    async def other() -> None:
        begun.append(True)
        await asyncio.Event().wait()

    with pytest.raises(NotFound):
        await together([fails(), other()])
    assert len(begun) <= 1


@in_loop
async def test_a_cancelled_caller_ends_all_its_work() -> None:
    gauge = Gauge()

    async def forever(item: int) -> None:
        gauge.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            gauge.running -= 1

    task = asyncio.create_task(each(range(3), forever))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gauge.running == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gauge.running == 0


@in_loop
async def test_callers_that_do_not_know_each_other_share_a_limiter() -> None:
    limiter, gauge = Limiter(2), Gauge()

    async def work(item: int) -> int:
        async with limiter:
            return await gauge.work(item)

    await together([each(range(4), work), each(range(4), work)])
    assert (gauge.most, gauge.ended) == (2, 8)


@in_loop
async def test_nothing_to_do_gives_an_empty_list() -> None:
    assert await each([], Gauge().work) == []
    assert await together([]) == []
