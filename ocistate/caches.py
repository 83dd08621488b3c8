"""Bounded caches of the whole process, whose sizes can be asked for.

@bounded_cache("cel_expressions", most=256)
def compile_expression(text: str) -> Program: ...

cache_sizes()  # {"cel_expressions": 3}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_CACHES: Final[dict[str, Any]] = {}


def bounded_cache(name: str, *, most: int) -> Callable[[F], F]:
    """Keep a pure function's last ``most`` results; ``name`` says in metrics what they are."""

    def wrap(function: F) -> F:
        cached: Any = lru_cache(maxsize=most)(function)
        _CACHES[name] = cached
        wrapped: F = cached
        return wrapped

    return wrap


def cache_sizes() -> dict[str, int]:
    """How many results each cache holds, of those whose modules have been imported."""
    return {name: cached.cache_info().currsize for name, cached in sorted(_CACHES.items())}
