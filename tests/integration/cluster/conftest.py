"""One control plane for the tests of this folder; those that break it start their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from testbed.controlplane import ControlPlane
from tests.support.environments.cluster import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as cluster:
        yield cluster


@pytest.fixture
def world(control_plane: ControlPlane) -> World:
    """A namespace and an owner of this test's own."""
    return World(control_plane, f"test-{next(_numbers)}")
