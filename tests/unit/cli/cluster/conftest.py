"""Commands on a cluster whose objects are in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocistate.kube.client import KubeClient
from tests.support.fakes.kube_objects import KubeObjects

Cluster = Callable[..., KubeObjects]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Makes a cluster of the given objects; every command of the test then opens it."""

    def make(*objects: dict[str, Any], **options: Any) -> KubeObjects:
        found = KubeObjects(*objects, **options)
        monkeypatch.setattr(KubeClient, "open", lambda *_: found)
        return found

    return make
