"""Requests repeated where that is safe, and errors that say what happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

import httpx2
import pytest

from ocistate.errors import ClusterError, ClusterUnavailable, LeaseLost
from ocistate.kube.client import KubeClient, service_account
from ocistate.kube.discovery_cache import DiscoveryCache
from ocistate.kube.errors import UNKNOWN_KIND, StatusError
from ocistate.kube.kubeconfig import ClusterAccess, access_from_text
from ocistate.kube.session import Session
from ocistate.kube.transport import Transport
from ocistate.objects import ObjectId
from tests.support.factories.objects import config_map

Answer = httpx2.Response | Exception
ACCESS = ClusterAccess(context="c", server="https://k", namespace="default", config=cast(Any, None))
DISCOVERY = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {
                            "resource": "configmaps",
                            "responseKind": {"group": "", "kind": "ConfigMap"},
                            "scope": "Namespaced",
                            "verbs": ["get", "list", "watch", "patch", "create", "delete"],
                        }
                    ],
                }
            ],
        }
    ],
}


def answer(status: int, body: Any = None, **headers: str) -> httpx2.Response:
    return raw(status, json.dumps(body).encode(), **headers)


def raw(status: int, body: bytes, **headers: str) -> httpx2.Response:
    """As it comes over a connection: not read yet."""
    return httpx2.Response(status, stream=httpx2.ByteStream(body), headers=headers)


def refusal(status: int, message: str = "no", **parts: Any) -> httpx2.Response:
    return answer(status, {"kind": "Status", "message": message, **parts})


class Server:
    """Answers in the order given, and writes down what it was asked."""

    def __init__(self, *answers: Answer, discovery: bool = True) -> None:
        self.answers = list(answers)
        self.asked: list[Mapping[str, Any]] = []
        self.slept: list[float] = []
        self.discovery = discovery
        self.large = asyncio.Lock()

    async def send(self, request: Mapping[str, Any], *, stream: bool = False) -> httpx2.Response:
        if self.discovery and request["url"] in ("/api", "/apis"):
            empty = {"kind": "APIGroupDiscoveryList", "items": []}
            return answer(200, DISCOVERY if request["url"] == "/api" else empty)
        self.asked.append(request)
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def transport(self, attempts: int = 4) -> Transport:
        return Transport(
            ACCESS,
            attempts=attempts,
            session=cast(Session, self),
            sleep=self.sleep,
            rng=lambda: 0.5,
        )

    def client(self) -> KubeClient:
        transport = self.transport()
        return KubeClient(transport, discovery=DiscoveryCache(transport, clock=lambda: 0.0))

    def send_one(self, method: str = "GET", **keywords: Any) -> bytes:
        return asyncio.run(self.transport().send(method, "/x", doing="ask", **keywords))


def test_a_server_that_is_busy_is_asked_again_when_it_says() -> None:
    server = Server(answer(429, {}, **{"Retry-After": "3"}), answer(200, {"a": 1}))
    assert server.send_one("POST", idempotent=False) == b'{"a": 1}'
    assert server.slept == [pytest.approx(3.2)]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_passing_failures_are_repeated_with_longer_pauses(status: int) -> None:
    server = Server(refusal(status), refusal(status), answer(200, {}))
    server.send_one()
    assert server.slept == [pytest.approx(0.2), pytest.approx(0.4)]


def test_what_is_not_idempotent_is_not_repeated_after_it_may_have_happened() -> None:
    for given in (refusal(503), httpx2.ReadError("reset")):
        server = Server(given)
        with pytest.raises(ClusterError):
            server.send_one("POST", idempotent=False)
        assert len(server.asked) == 1


def test_what_never_reached_the_server_is_repeated_even_then() -> None:
    server = Server(httpx2.ConnectError("refused"), answer(201, {}))
    server.send_one("POST", idempotent=False)
    assert len(server.asked) == 2


def test_a_server_that_stays_away_is_unavailable_in_the_end() -> None:
    server = Server(*[httpx2.ConnectError("refused")] * 4)
    with pytest.raises(ClusterUnavailable, match="https://k cannot be reached: refused"):
        server.send_one()
    assert len(server.slept) == 3


def test_a_read_timeout_is_not_repeated() -> None:
    server = Server(httpx2.ReadTimeout("slow"))
    with pytest.raises(ClusterUnavailable):
        server.send_one()
    assert server.slept == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_a_refusal_is_told_at_once(status: int) -> None:
    server = Server(refusal(status, "because", reason="Why"))
    with pytest.raises(StatusError, match="ask: because") as raised:
        server.send_one()
    assert (raised.value.status, raised.value.code) == (status, "Why")
    assert server.slept == []


def test_an_answer_that_is_not_json_is_still_an_error_with_its_status() -> None:
    with pytest.raises(StatusError, match="HTTP status 404"):
        Server(raw(404, b"<html>")).send_one()


def test_a_secrets_value_is_not_repeated_in_errors() -> None:
    said = ".data.pin: expected string, got &value.valueUnstructured{Value:4711}"
    server = Server(refusal(500, said))
    with pytest.raises(StatusError) as raised:
        server.send_one("PATCH", secret=True)
    assert "4711" not in str(raised.value)
    assert ".data.pin" in str(raised.value)


def test_the_causes_of_a_refusal_are_kept() -> None:
    cause = {"field": "spec.x", "reason": "FieldManagerConflict", "message": 'conflict with "hpa"'}
    server = Server(refusal(409, details={"causes": [cause], "retryAfterSeconds": 7}))
    with pytest.raises(StatusError) as raised:
        server.send_one()
    assert [each.field for each in raised.value.conflicts] == ["spec.x"]
    assert raised.value.retry_after == 7.0


def test_an_unknown_kind_is_looked_up_once_and_then_refused() -> None:
    server = Server()
    with pytest.raises(StatusError) as raised:
        asyncio.run(server.client().kind("ex.io", "Widget"))
    assert raised.value.code == UNKNOWN_KIND


def test_an_old_server_is_named_as_the_trouble() -> None:
    old = {"kind": "APIVersions", "versions": ["v1"]}
    server = Server(answer(200, old), answer(200, old), discovery=False)
    with pytest.raises(ClusterError, match=r"1\.27"):
        asyncio.run(server.client().kinds())


def test_impersonation_is_a_header_of_that_client_only() -> None:
    server = Server(answer(200, {"metadata": {}}), answer(200, {"metadata": {}}))

    async def scenario() -> None:
        client = server.client()
        id = ObjectId("", "ConfigMap", "n", "a")
        await client.impersonating(service_account("n", "sa")).get(id)
        await client.get(id)

    asyncio.run(scenario())
    users = [dict(request["headers"]).get("Impersonate-User") for request in server.asked]
    assert users == ["system:serviceaccount:n:sa", None]


def page(*names: str, token: str = "") -> httpx2.Response:
    items = [{"metadata": {"name": name}} for name in names]
    return answer(200, {"metadata": {"continue": token, "resourceVersion": "7"}, "items": items})


def test_a_list_follows_its_pages() -> None:
    server = Server(page("a", token="t1"), page("b"))

    async def scenario() -> list[str]:
        client = server.client()
        listing = await client.list(await client.kind("", "ConfigMap"), "n")
        assert listing.resource_version == "7"
        assert listing.items[0]["kind"] == "ConfigMap"
        return [item["metadata"]["name"] for item in listing.items]

    assert asyncio.run(scenario()) == ["a", "b"]
    assert "continue=t1" in server.asked[1]["url"]


def test_a_list_whose_pages_expire_begins_again() -> None:
    server = Server(page("a", token="t1"), refusal(410), page("a", token="t2"), page("b"))

    async def scenario() -> list[str]:
        client = server.client()
        listing = await client.list(await client.kind("", "ConfigMap"))
        return [item["metadata"]["name"] for item in listing.items]

    assert asyncio.run(scenario()) == ["a", "b"]


def test_an_apply_is_a_forced_patch_by_our_manager() -> None:
    server = Server(answer(200, {"metadata": {"resourceVersion": "1"}}))
    asyncio.run(server.client().apply(config_map("a", namespace="n")))
    request = server.asked[0]
    assert request["method"] == "PATCH"
    assert request["url"] == (
        "/api/v1/namespaces/n/configmaps/a?fieldManager=ocistate&fieldValidation=Strict&force=true"
    )
    assert dict(request["headers"])["Content-Type"] == "application/apply-patch+yaml"


def test_a_delete_names_the_very_object() -> None:
    server = Server(answer(200, {}), refusal(404))

    async def scenario() -> tuple[bool, bool]:
        client = server.client()
        id = ObjectId("", "ConfigMap", "n", "a")
        return (
            await client.delete(id, uid="u", resource_version="5"),
            await client.delete(id),
        )

    assert asyncio.run(scenario()) == (True, False)
    options = json.loads(server.asked[0]["content"])
    assert options["preconditions"] == {"uid": "u", "resourceVersion": "5"}
    assert options["propagationPolicy"] == "Background"


def test_a_token_that_no_header_can_hold_is_not_quoted() -> None:
    """As one has it that was read from a file with its line's end, over a real connection."""

    async def main() -> None:
        async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            text = json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "users": [{"name": "c", "user": {"token": "s3cret\n"}}],
                }
            )
            client = KubeClient(Transport(access_from_text(text), attempts=1))
            with pytest.raises(ClusterUnavailable, match="no header may have") as raised:
                await client.kinds()
            assert "s3cret" not in str(raised.value)
            await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.apply(config_map("a")),
        lambda client: client.create(config_map("a")),
        lambda client: client.patch(ObjectId("", "ConfigMap", "default", "a"), {"data": {}}),
        lambda client: client.delete(ObjectId("", "ConfigMap", "default", "a")),
    ],
)
def test_a_write_is_asked_for_before_it_is_sent_and_before_it_is_sent_again(write: Any) -> None:
    server = Server(refusal(429), answer(200, {}))
    asked = 0

    def guard() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise LeaseLost("not ours any more")

    async def run() -> None:
        client = server.client().guarded(guard)
        with pytest.raises(LeaseLost):
            await write(client)
        assert len(server.asked) == 1, "it was not sent again"
        await client.get(ObjectId("", "ConfigMap", "default", "a"))  # reading needs no leave
        assert asked == 2

    asyncio.run(run())
