"""A phase: which part of which pass the code is in, for log lines, durations and errors."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Concatenate, ParamSpec, TypeVar

from ocistate.agent.contain import unexpected
from ocistate.agent.reconcile.context import Inputs
from ocistate.agent.reconcile.outcome import Failed
from ocistate.agent.reconcile.state import ReconcileState
from ocistate.agent.telemetry.instruments import STEPS
from ocistate.agent.telemetry.log import CONTEXT
from ocistate.errors import OcistateError

P = ParamSpec("P")
T = TypeVar("T")

Phase = Callable[Concatenate[Inputs, ReconcileState, P], Awaitable[tuple[T, ReconcileState]]]
"""A function from what a pass works with, and what is remembered, to an outcome and the latter."""


@contextmanager
def step(name: str, **context: str) -> Iterator[None]:
    """A step: log lines inside name it, and its duration is measured."""
    token = CONTEXT.set({**CONTEXT.get(), **context, "step": name})
    begun = time.perf_counter()
    try:
        yield
    finally:
        STEPS.labels(name).observe(time.perf_counter() - begun)
        CONTEXT.reset(token)


def log_digest(digest: str) -> None:
    """From here on, log lines of this pass name the digest."""
    CONTEXT.set({**CONTEXT.get(), "digest": digest})


def phase(name: str, *, measured: bool = True) -> Callable[[Phase[P, T]], Phase[P, T | Failed]]:
    """Make a function a phase: what it raises is returned as Failed, with the state unchanged.

    A phase whose failure is worth remembering returns Failed with another state itself. What is not
    ``measured`` is only a part of other phases.
    """

    def wrap(function: Phase[P, T]) -> Phase[P, T | Failed]:
        @functools.wraps(function)
        async def contained(
            inputs: Inputs, state: ReconcileState, /, *args: P.args, **kwargs: P.kwargs
        ) -> tuple[T | Failed, ReconcileState]:
            with step(name) if measured else nullcontext():
                try:
                    return await function(inputs, state, *args, **kwargs)
                except OcistateError as error:
                    return Failed(error=error), state
                except Exception as error:
                    shown = unexpected(f"the step {name} of the Stack {inputs.stack}", error)
                    return Failed(error=shown), state

        return contained

    return wrap
