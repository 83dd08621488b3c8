"""One layout with releases and channels for all tests of operations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.environments.shop import Shop, shared_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    yield from shared_shop(tmp_path_factory.mktemp("shop"))
