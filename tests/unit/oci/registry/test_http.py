"""Requests to one registry: retries, redirects, limits, and where credentials go."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest

from ocistate.errors import (
    ConfigError,
    LimitExceeded,
    NotFound,
    ProtocolError,
    StoreError,
    Unauthorized,
    Unavailable,
)
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.credentials import Credentials
from ocistate.oci.registry.http import Http, is_loopback
from tests.support.loop import in_loop
from tests.unit.oci.registry.served import Served

PULL: dict[str, Any] = {"scope": "repository:shop:pull", "doing": "reading"}


def answers(*responses: httpx.Response) -> Served:
    """A registry that gives these answers in turn."""
    left = list(responses)
    return Served(lambda request: left.pop(0))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.2:80", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("registry.example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_known_by_its_name(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "insecure", "base"),
    [
        ("127.0.0.1:5000", False, "http://127.0.0.1:5000"),
        ("registry.example.com", False, "https://registry.example.com"),
        ("registry.example.com", True, "http://registry.example.com"),
        ("docker.io", False, "https://registry-1.docker.io"),
    ],
)
def test_the_endpoint_of_a_registry(host: str, insecure: bool, base: str) -> None:
    assert Http(host, StoreOptions(insecure=insecure)).base == base


def test_the_default_port_of_plain_http_is_refused_as_a_second_name() -> None:
    with pytest.raises(ConfigError, match="names the port that plain HTTP has anyway"):
        Http("registry.example.com:80", StoreOptions(insecure=True))


@in_loop
async def test_a_busy_registry_is_asked_again_after_growing_pauses() -> None:
    served = answers(*(httpx.Response(503) for _ in range(4)), httpx.Response(200, content=b"ok"))
    assert (await served.http().send("GET", "/v2/", **PULL)).body == b"ok"
    assert served.slept == [0.25, 1.0, 4.0, 16.0]


@in_loop
async def test_a_registry_names_the_pause_itself() -> None:
    served = answers(httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200))
    await served.http().send("GET", "/v2/", **PULL)
    assert served.slept == [7.0]


@in_loop
async def test_a_registry_that_stays_busy_is_unavailable() -> None:
    served = answers(*(httpx.Response(500) for _ in range(2)))
    with pytest.raises(Unavailable, match="answered 500"):
        await served.http(attempts=2).send("GET", "/v2/", **PULL)
    assert len(served.requests) == 2


@in_loop
async def test_what_must_not_be_repeated_is_sent_once() -> None:
    served = answers(httpx.Response(503))
    with pytest.raises(Unavailable):
        await served.http().send("PUT", "/v2/", **PULL, repeat=False)
    assert served.slept == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (401, Unauthorized), (403, Unauthorized), (400, StoreError)],
)
@in_loop
async def test_statuses_have_errors_of_their_own(status: int, error: type[StoreError]) -> None:
    with pytest.raises(error):
        await answers(httpx.Response(status)).http().send("GET", "/v2/", **PULL)


@in_loop
async def test_an_answer_is_bounded_before_it_is_kept() -> None:
    with pytest.raises(LimitExceeded, match="more than 3"):
        await (
            answers(httpx.Response(200, content=b"four"))
            .http()
            .send("GET", "/v2/", **PULL, limit=3)
        )


@in_loop
async def test_credentials_go_to_the_registry_and_not_where_it_redirects_to() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "storage.example.com":
            return httpx.Response(200, content=b"blob")
        if "authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return httpx.Response(307, headers={"Location": "http://storage.example.com/blob"})

    served = Served(answer)
    http = Http(
        "127.0.0.1:1",
        StoreOptions(clients=served),
        credentials=Credentials(username="user", password="secret"),
    )
    assert (await http.send("GET", "/v2/shop/blobs/x", **PULL)).body == b"blob"
    assert [(r.url.host, "authorization" in r.headers) for r in served.requests] == [
        ("127.0.0.1", False),
        ("127.0.0.1", True),
        ("storage.example.com", False),
    ]


@in_loop
async def test_endless_redirects_are_refused() -> None:
    served = Served(lambda request: httpx.Response(302, headers={"Location": "/again"}))
    with pytest.raises(ProtocolError, match="redirects more than 5 times"):
        await served.http().send("GET", "/v2/", **PULL)


@in_loop
async def test_warnings_and_answers_are_passed_on_once() -> None:
    warnings: list[str] = []
    seen: list[tuple[str, int]] = []
    headers = {"Warning": '299 - "moving soon\x1b[31m"'.replace("\x1b", "")}
    served = Served(lambda request: httpx.Response(200, headers=headers))
    http = served.http(
        on_warning=warnings.append, on_answer=lambda method, status: seen.append((method, status))
    )
    await http.send("GET", "/v2/", **PULL)
    await http.send("HEAD", "/v2/", **PULL)
    assert warnings == ["127.0.0.1:1: moving soon[31m"]
    assert seen == [("GET", 200), ("HEAD", 200)]
