"""Bounded caches: how many results they hold is known by name."""

from __future__ import annotations

from ocistate import caches


def test_a_cache_holds_its_bound_and_tells_how_much() -> None:
    calls = []

    @caches.bounded_cache("test_squares", most=2)
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    try:
        assert [square(n) for n in (1, 2, 2, 3, 1)] == [1, 4, 4, 9, 1]
        assert calls == [1, 2, 3, 1]
        assert caches.cache_sizes()["test_squares"] == 2
    finally:
        del caches._CACHES["test_squares"]
