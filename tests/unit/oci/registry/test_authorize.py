"""Tokens: asked for once a scope, with the credentials there are, and never too large."""

from __future__ import annotations

import json

import httpx2 as httpx
import pytest

from ocistate.errors import LimitExceeded, ProtocolError, Unauthorized, Unavailable
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.credentials import Credentials
from ocistate.oci.registry.http import Http
from tests.support.loop import in_loop
from tests.unit.oci.registry.served import Answer, Served

CHALLENGE = 'Bearer realm="http://127.0.0.1:1/token",service="registry"'
SCOPE = "repository:shop:pull"


def registry(token: Answer) -> Served:
    """A registry that wants a token from its own token server."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return token(request)
        if request.headers.get("authorization") == "Bearer good":
            return httpx.Response(200, content=b"ok")
        return httpx.Response(401, headers={"WWW-Authenticate": CHALLENGE})

    return Served(answer)


def good(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"token": "good", "expires_in": 300})


async def read(served: Served, credentials: Credentials | None = None) -> bytes:
    options = StoreOptions(clients=served, docker_config=b"{}")
    http = Http("127.0.0.1:1", options, credentials=credentials)
    body = (await http.send("GET", "/v2/", scope=SCOPE, doing="reading")).body
    assert (await http.send("GET", "/v2/", scope=SCOPE, doing="reading")).body == body
    return body


@in_loop
async def test_a_token_is_asked_for_once_a_scope() -> None:
    served = registry(good)
    assert await read(served) == b"ok"
    tokens = [request for request in served.requests if request.url.path == "/token"]
    assert [dict(request.url.params) for request in tokens] == [
        {"service": "registry", "client_id": "ocistate", "scope": SCOPE}
    ]
    assert "authorization" not in tokens[0].headers


@in_loop
async def test_a_password_goes_to_the_token_server() -> None:
    served = registry(good)
    user = Credentials(username="ann", password="secret")
    await read(served, user)
    (token,) = [request for request in served.requests if request.url.path == "/token"]
    assert (token.method, token.headers["authorization"]) == ("GET", user.basic)


@in_loop
async def test_an_identity_token_is_exchanged_by_post() -> None:
    served = registry(good)
    await read(served, Credentials(identity_token="refresh"))
    (token,) = [request for request in served.requests if request.url.path == "/token"]
    assert token.method == "POST"
    assert b"grant_type=refresh_token&refresh_token=refresh" in token.content


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (httpx.Response(401), Unauthorized),
        (httpx.Response(400), Unauthorized),
        (httpx.Response(500), Unavailable),
        (httpx.Response(200, content=b"no json"), ProtocolError),
        (httpx.Response(200, content=json.dumps({}).encode()), ProtocolError),
        (httpx.Response(200, content=b"x" * 300_000), LimitExceeded),
    ],
)
@in_loop
async def test_a_token_server_that_gives_no_token(
    token: httpx.Response, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await read(registry(lambda request: token))


@in_loop
async def test_a_scheme_that_is_not_known_is_a_refusal() -> None:
    served = Served(lambda request: httpx.Response(401, headers={"WWW-Authenticate": "Negotiate"}))
    with pytest.raises(Unauthorized):
        await read(served)
    assert len(served.requests) == 1
