"""No answer of an API server takes more memory or time than it may, whatever it sends."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import pytest

from ocistate.errors import ClusterError, ClusterUnavailable
from ocistate.kube import transport
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.kube.kubeconfig import access_from_text
from ocistate.kube.transport import Transport
from ocistate.labels import FIELD_MANAGER, STACK_LABEL
from ocistate.watch.feed import list_into, watch_into
from ocistate.watch.store import OwnedObjects

T = TypeVar("T")
CONFIG_MAPS = ApiResource(
    group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
MIB = 1024 * 1024


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def for_ever(head: bytes, piece: bytes) -> AsyncIterator[bytes]:
    yield head
    while True:
        yield piece


Answering = Callable[[str], AsyncIterator[bytes]]


@asynccontextmanager
async def serving(answer: Answering) -> AsyncIterator[KubeClient]:
    """A client of a server that answers a request's path with what ``answer`` gives."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            async for piece in answer(head.split()[1].decode()):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            }
        )
        async with KubeClient(Transport(access_from_text(text), attempts=1)) as client:
            yield client


def run(answer: Answering, do: Callable[[KubeClient], Awaitable[T]]) -> T:
    async def go() -> T:
        async with serving(answer) as client, asyncio.timeout(30):
            return await do(client)

    return asyncio.run(go())


async def watch(client: KubeClient) -> list[bytes]:
    lines = client.watch_lines(CONFIG_MAPS, since="1")
    async with aclosing(lines):
        return [line async for line in lines]


BOMB = gzip.compress(b" " * 128 * MIB)
"""An eighth of a megabyte."""

HARM: dict[str, Answering] = {
    "endless": lambda path: for_ever(CHUNKED + b"\r\n", chunk(b" " * MIB)),
    "long": lambda path: for_ever(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b" " * MIB
    ),
    "bomb": lambda path: for_ever(
        CHUNKED + b"Content-Encoding: gzip\r\n\r\n", chunk(BOMB) + chunk(b"")
    ),
    "refusal without end": lambda path: for_ever(
        CHUNKED.replace(b"200 OK", b"403 No") + b"\r\n", chunk(b" " * MIB)
    ),
    "unasked": lambda path: for_ever(CHUNKED + b"Content-Encoding: br\r\n\r\n", chunk(b" " * MIB)),
    "headers": lambda path: for_ever(CHUNKED, b"X-A: " + b"a" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("asked", ["list", "watch", "discover"])
def test_an_answer_takes_no_more_memory_than_it_may(harm: str, asked: str) -> None:
    async def ask(client: KubeClient) -> None:
        if asked == "discover":
            await client.kinds()
        elif asked == "list":
            await client.list(CONFIG_MAPS)
        else:
            await watch(client)

    tracemalloc.start()
    try:
        with pytest.raises(ClusterError):
            run(HARM[harm], ask)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_many_large_answers_at_a_time_take_no_more_than_one() -> None:
    async def ask(client: KubeClient) -> None:
        asked = (client.list(CONFIG_MAPS, limit=1) for _ in range(16))
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, ClusterError) for each in results)

    tracemalloc.start()
    try:
        run(HARM["endless"], ask)
        assert tracemalloc.get_traced_memory()[1] < 96 * MIB
    finally:
        tracemalloc.stop()


def owned_metadata(number: int) -> dict[str, object]:
    """What the server would say of an object that we have applied."""
    fields: dict[str, object] = {"f:metadata": {"f:labels": {f"f:{STACK_LABEL}": {}}}}
    return {
        "name": f"a-{number}",
        "namespace": "b",
        "uid": str(number),
        "resourceVersion": str(number),
        "labels": {STACK_LABEL: "owner"},
        "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}],
    }


def endless_pages(items: int) -> Answering:
    """Pages of ever new objects, each of which names one more page."""
    numbers = itertools.count()

    async def answer(path: str) -> AsyncIterator[bytes]:
        objects = [{"metadata": owned_metadata(next(numbers))} for _ in range(items)]
        metadata = {"resourceVersion": "1", "continue": f"more-{next(numbers)}"}
        body = json.dumps({"metadata": metadata, "items": objects}).encode()
        yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    return answer


def test_a_list_whose_pages_never_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocistate.kube.collection._MAX_LISTED", 3000)
    with pytest.raises(ClusterError, match=r"does not end after 3500 objects"):
        run(endless_pages(500), lambda client: client.list(CONFIG_MAPS))
    monkeypatch.setattr("ocistate.kube.collection._MAX_LISTED_BYTES", 100_000)
    with pytest.raises(ClusterError, match=r"does not end after 500 objects"):
        run(endless_pages(500), lambda client: client.list(CONFIG_MAPS))


def test_empty_pages_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocistate.kube.collection._MAX_PAGES", 20)
    with pytest.raises(ClusterError, match=r"does not end after 20 pages"):
        run(endless_pages(0), lambda client: client.list(CONFIG_MAPS))


def test_no_more_objects_are_kept_of_a_cluster_than_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ocistate.watch.feed.MOST_OBJECTS", 3000)
    owned = OwnedObjects()
    with pytest.raises(ClusterError, match=r"ConfigMap: more than 3000 objects"):
        run(
            endless_pages(500),
            lambda client: list_into(client, owned, CONFIG_MAPS, whole=False),
        )
    assert len(owned) == 3500


def test_a_watch_that_adds_objects_without_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ocistate.watch.feed.MOST_OBJECTS", 300)

    async def answer(path: str) -> AsyncIterator[bytes]:
        yield CHUNKED + b"\r\n"
        for number in itertools.count():
            event = json.dumps({"type": "ADDED", "object": {"metadata": owned_metadata(number)}})
            yield chunk(event.encode() + b"\n")

    async def follow(client: KubeClient) -> None:
        events = watch_into(client, OwnedObjects(), CONFIG_MAPS, since="1", whole=False)
        async with aclosing(events):
            async for _ in events:
                pass

    with pytest.raises(ClusterError, match="more than 300 objects"):
        run(answer, follow)


def test_an_answer_that_drips_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_WHOLE_SECONDS", 0.3)

    async def drip(path: str) -> AsyncIterator[bytes]:
        yield CHUNKED + b"\r\n"
        while True:
            yield chunk(b" ")
            await asyncio.sleep(0.05)

    with pytest.raises(ClusterUnavailable, match=r"no whole answer within 0\.3 s"):
        run(drip, lambda client: client.kinds())


def test_what_is_compressed_as_asked_is_read() -> None:
    async def answer(path: str) -> AsyncIterator[bytes]:
        page = {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}
        body = gzip.compress(json.dumps(page).encode())
        yield CHUNKED + b"Content-Encoding: gzip\r\n\r\n"
        for place in range(len(body)):
            yield chunk(body[place : place + 1])
        yield chunk(b"")

    listing = run(answer, lambda client: client.list(CONFIG_MAPS))
    assert [item["metadata"]["name"] for item in listing.items] == ["a"]


def test_a_page_that_is_too_large_is_asked_for_in_parts() -> None:
    asked: list[int] = []

    async def answer(path: str) -> AsyncIterator[bytes]:
        limit = int(path.partition("limit=")[2].partition("&")[0])
        begin = int(path.partition("continue=")[2] or 0)
        asked.append(limit)
        items = [{"metadata": {"name": str(n)}} for n in range(begin, min(begin + limit, 100))]
        rest = str(begin + limit) if begin + limit < 100 else ""
        body = json.dumps({"metadata": {"continue": rest}, "items": items}).encode()
        if limit > 62:
            body += b" " * 17 * MIB
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        yield body

    listing = run(answer, lambda client: client.list(CONFIG_MAPS))
    assert [item["metadata"]["name"] for item in listing.items] == [str(n) for n in range(100)]
    assert asked == [500, 62, 62]


def test_deep_json_is_an_answer_that_cannot_be_read() -> None:
    async def answer(path: str) -> AsyncIterator[bytes]:
        body = b'{"items": ' + b"[" * 100_000
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        yield body

    with pytest.raises(ClusterError, match="cannot be read"):
        run(answer, lambda client: client.kinds())
