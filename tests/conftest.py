"""Real parts for the tests: registries, other people's tools, a Docker engine.

Each is started when the first test asks for it, and shared by all that a worker runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from testbed.docker import Engine, ensure_docker
from testbed.home import own_home
from testbed.registries import Distribution, ReferrersRegistry, Registry
from testbed.tools import ensure, missing
from tests.support.progress import Progress

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """Begin in a home of our own, so that no test rests on what this machine has configured."""
    home = ExitStack()
    home.enter_context(own_home())
    config.add_cleanup(home.close)
    # Every worker must have the same order, whatever is built meanwhile.
    os.environ.setdefault(_COLD, "yes" if missing() else "")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", type=int, default=1, help="How many times as many random faults are made."
    )


_COLD = "OCISTATE_TEST_COLD"

# What needs a control plane comes first, so that each worker starts one and once; then the files
# that take longest, and the many short ones last, so that no worker is left alone with a long one.
_ORDER = (
    "integration/agent",
    "integration/cluster",
    "integration/test_",
    "interop",
    "integration",
    "fuzz",
    "unit",
)

# While tools are being built (`testbed.tools` has them in this order), what needs none comes first.
_COLD_ORDER = (
    "unit",
    "fuzz",
    "integration/store",
    "integration/channel",
    "integration/cluster",
    "integration/agent",
    "integration",
    "interop",
)
_LAST = "integration/agent/test_beside_flux"
_COLD_TIMEOUT = 1800
"""Seconds for a test that may have to wait for a tool."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in the order in which workers get their files."""
    cold = bool(os.environ[_COLD])
    order = _COLD_ORDER if cold else _ORDER

    def place(item: pytest.Item) -> int:
        where = item.path.relative_to(Path(__file__).parent).as_posix()
        if cold and where.startswith(_LAST):
            return len(order)
        places = (at for at, folder in enumerate(order) if where.startswith(folder))
        return next(places, len(order))

    items.sort(key=place)
    if cold:
        for item in items:
            item.add_marker(pytest.mark.timeout(_COLD_TIMEOUT))


@pytest.fixture(scope="session")
def faults(request: pytest.FixtureRequest) -> int:
    """How many times as many random faults are asked for as an ordinary run makes."""
    chosen: int = request.config.getoption("--faults")
    return chosen


@pytest.fixture(scope="session")
def distribution() -> Iterator[Distribution]:
    """CNCF distribution: no referrers API, so the fallback tag is used."""
    with Distribution() as running:
        yield running


@pytest.fixture(scope="session")
def referrers_registry() -> Iterator[ReferrersRegistry]:
    """A registry with the referrers API."""
    with ReferrersRegistry() as running:
        yield running


@pytest.fixture(params=["distribution", "referrers"])
def any_registry(request: pytest.FixtureRequest) -> Registry:
    """Each of the two registries in turn."""
    name = "distribution" if request.param == "distribution" else "referrers_registry"
    registry: Registry = request.getfixturevalue(name)
    return registry


@pytest.fixture(scope="session")
def cosign() -> Path:
    return ensure("cosign")["cosign"]


@pytest.fixture(scope="session")
def oras() -> Path:
    return ensure("oras")["oras"]


@pytest.fixture(scope="session")
def crane() -> Path:
    return ensure("crane")["crane"]


@pytest.fixture(scope="session")
def flux_push() -> Path:
    return ensure("flux-push")["flux-push"]


@pytest.fixture(scope="session")
def argocd_pull() -> Path:
    return ensure("argocd-pull")["argocd-pull"]


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A real Docker engine: the one that answers already, else one started here."""
    with ensure_docker() as engine:
        yield engine
