"""Which step of which pass the code is in: for log lines and for the durations by step."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from ocistate.agent.telemetry.instruments import STEPS
from ocistate.agent.telemetry.log import CONTEXT

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def step(name: str, **context: str) -> Iterator[None]:
    """A step: what is logged inside names it, and how long it took is counted."""
    token = CONTEXT.set({**CONTEXT.get(), **context, "step": name})
    begun = time.perf_counter()
    try:
        yield
    finally:
        STEPS.labels(name).observe(time.perf_counter() - begun)
        CONTEXT.reset(token)


def as_step(name: str) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Make a coroutine function a step."""

    def wrap(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(function)
        async def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            with step(name):
                return await function(*args, **kwargs)

        return timed

    return wrap


def now_at(digest: str) -> None:
    """From here on, log lines of this pass name the digest."""
    CONTEXT.set({**CONTEXT.get(), "digest": digest})
