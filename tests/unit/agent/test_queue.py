"""The queue, on a loop whose clock moves only when everybody waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from ocistate.agent.queue import Controller
from ocistate.objects import StackKey

A, B, C = StackKey("ns", "a"), StackKey("ns", "b"), StackKey("ns", "c")


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Instead of waiting, moves the clock on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which hours pass in no time."""

    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        runner.run(main)


async def do_nothing(key: StackKey) -> float | None:
    return None


class Recorder:
    """Passes and when they were."""

    def __init__(
        self, work: Callable[[StackKey], Awaitable[float | None]], workers: int = 8
    ) -> None:
        self.seen: list[tuple[StackKey, float]] = []
        self.bugs: list[tuple[StackKey, Exception]] = []
        self.stop = asyncio.Event()
        self.work = work
        self.controller = Controller(
            reconcile=self._one, on_bug=lambda k, e: self.bugs.append((k, e)), workers=workers
        )

    async def _one(self, key: StackKey) -> float | None:
        self.seen.append((key, asyncio.get_running_loop().time()))
        return await self.work(key)

    async def run_for(self, seconds: float) -> None:
        async def end() -> None:
            await asyncio.sleep(seconds)
            self.stop.set()

        await asyncio.gather(self.controller.run(self.stop), end())


def test_a_key_comes_back_after_what_its_pass_says() -> None:
    async def main() -> None:
        async def work(key: StackKey) -> float | None:
            return 60.0 if key == A else None

        it = Recorder(work)
        it.controller.wake(A)
        it.controller.wake(B, after=5)
        await it.run_for(150)
        assert it.seen == [(A, 0), (B, 5), (A, 60), (A, 120)]

    run(main())


def test_a_wake_brings_a_pass_forward_and_never_back() -> None:
    async def main() -> None:
        it = Recorder(do_nothing)
        it.controller.wake(A, after=100)
        it.controller.wake(A, after=10)
        it.controller.wake(A, after=50)
        await it.run_for(200)
        assert it.seen == [(A, 10)]

    run(main())


def test_one_pass_at_a_time_and_a_wake_in_between_is_not_lost() -> None:
    async def main() -> None:
        running = 0

        async def work(key: StackKey) -> float | None:
            nonlocal running
            running += 1
            assert running == 1
            if len(it.seen) == 1:
                it.controller.wake(A)
            await asyncio.sleep(10)
            running -= 1
            return None

        it = Recorder(work)
        it.controller.wake(A)
        await it.run_for(100)
        assert it.seen == [(A, 0), (A, 10)]

    run(main())


def test_no_more_passes_side_by_side_than_workers() -> None:
    async def main() -> None:
        async def work(key: StackKey) -> float | None:
            await asyncio.sleep(10)
            return None

        it = Recorder(work, workers=2)
        for key in (A, B, C):
            it.controller.wake(key)
        await it.run_for(100)
        assert [at for _, at in it.seen] == [0, 0, 10]

    run(main())


def test_who_waits_longest_for_a_worker_is_next() -> None:
    async def main() -> None:
        async def work(key: StackKey) -> float | None:
            await asyncio.sleep(10)
            return None

        it = Recorder(work, workers=1)
        it.controller.wake(C)
        it.controller.wake(A, after=2)
        it.controller.wake(B, after=1)
        await it.run_for(100)
        assert it.seen == [(C, 0), (B, 10), (A, 20)]

    run(main())


def test_a_key_that_is_forgotten_and_woken_again_has_one_pass() -> None:
    async def main() -> None:
        it = Recorder(do_nothing)
        it.controller.wake(A, after=10)
        it.controller.forget(A)
        it.controller.wake(A, after=10)
        await it.run_for(100)
        assert it.seen == [(A, 10)]

    run(main())


def test_wakes_without_end_take_no_memory() -> None:
    async def main() -> None:
        async def work(key: StackKey) -> float | None:
            return 3600.0

        it = Recorder(work)
        for key in (A, B):
            it.controller.wake(key)

        async def disturb() -> None:
            for _ in range(1000):
                it.controller.wake(A)
                await asyncio.sleep(0.1)

        await asyncio.gather(it.run_for(200), disturb())
        assert len(it.seen) > 1000
        assert len(it.controller._queue) < 100

    run(main())


def test_what_waits_in_one_lane_keeps_no_other_lane_waiting() -> None:
    async def main() -> None:
        async def work(key: StackKey) -> float | None:
            await asyncio.sleep(0 if key == C else 50)
            return None

        it = Recorder(work, workers=1)
        it.controller.lane = lambda key: "well" if key == C else "down"
        for key in (A, B, C):
            it.controller.wake(key)
        await it.run_for(200)
        assert it.seen == [(A, 0), (C, 0), (B, 50)]

    run(main())


def test_a_pass_cancelled_before_it_begins_leaves_its_place_to_others() -> None:
    async def main() -> None:
        it = Recorder(do_nothing, workers=1)

        async def cancel() -> None:
            while not it.controller.running:  # noqa: ASYNC110 - at the very next step
                await asyncio.sleep(0)
            it.controller.cancel(A)
            it.controller.wake(B)

        it.controller.wake(A)
        await asyncio.gather(it.run_for(100), cancel())
        assert it.seen == [(B, 0)]
        assert it.controller.running == 0

    run(main())


def test_a_bug_in_one_pass_is_reported_and_tried_again_later() -> None:
    async def main() -> None:
        async def work(key: StackKey) -> float | None:
            if key == A and len(it.bugs) == 0:
                raise ZeroDivisionError
            return None

        it = Recorder(work)
        it.controller.wake(A)
        it.controller.wake(B)
        await it.run_for(100)
        assert it.seen == [(A, 0), (B, 0), (A, 60)]
        assert [(key, type(error)) for key, error in it.bugs] == [(A, ZeroDivisionError)]

    run(main())


@pytest.mark.parametrize(StackKey("duration", "ended"), [(5.0, True), (60.0, False)])
def test_a_stop_lets_passes_end_but_not_for_ever(duration: float, ended: bool) -> None:
    async def main() -> None:
        finished = []

        async def work(key: StackKey) -> float | None:
            await asyncio.sleep(duration)
            finished.append(key)
            return None

        it = Recorder(work)
        it.controller.wake(A)
        await it.run_for(1)
        assert bool(finished) is ended
        assert asyncio.get_running_loop().time() == min(duration, 21.0)

    run(main())


def test_what_is_forgotten_does_not_come_back() -> None:
    async def main() -> None:
        it = Recorder(do_nothing)
        it.controller.wake(A, after=10)
        it.controller.forget(A)
        await it.run_for(100)
        assert it.seen == []

    run(main())


def test_a_queue_that_stands_still_is_stuck_and_one_that_only_waits_is_not() -> None:
    async def main() -> None:
        queue = Recorder(do_nothing).controller
        assert not queue.stuck(), "has not begun"
        stop = asyncio.Event()
        task = asyncio.create_task(queue.run(stop))
        await asyncio.sleep(7200)
        assert not queue.stuck(), "two hours without anything to do"
        # Time goes by, and no one gets a turn.
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FakeTimeLoop)
        loop.jump.now += 300
        assert "stood still for 3" in queue.stuck()
        await asyncio.sleep(0.1)
        assert not queue.stuck(), "it goes on"
        stop.set()
        await task
        loop.jump.now += 300
        assert not queue.stuck(), "ended in good order"

    run(main())


def test_a_pass_that_never_ends_is_named_and_one_that_was_long_is_forgotten() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def work(key: StackKey) -> None:
            if key == A:
                await gate.wait()

        queue = Recorder(work).controller
        stop = asyncio.Event()
        task = asyncio.create_task(queue.run(stop))
        queue.wake(A)
        queue.wake(B)
        await asyncio.sleep(1700)
        assert not queue.stuck()
        await asyncio.sleep(200)
        assert queue.stuck() == "the pass for ns/a has taken 1900 s"
        gate.set()
        await asyncio.sleep(1)
        assert not queue.stuck()
        stop.set()
        await task

    run(main())
