"""A world for each test, before a registry that all of them share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.registries import Distribution
from tests.support.environments.channel import World, no_fault
from tests.support.fakes.faulty_registry import Registry


@pytest.fixture
def world(
    distribution: Distribution, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[World]:
    server = Registry(no_fault, distribution.host)
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    world = World(tmp_path, server, name)
    yield world
    world.agent.kill()
    server.close()
