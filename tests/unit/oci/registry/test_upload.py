"""Sending a blob: at once, in one request, in chunks, and from where it broke off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest

from ocistate.errors import DigestMismatch, ProtocolError, Unavailable
from ocistate.oci.model import Descriptor, describe
from ocistate.oci.registry.upload import Uploader
from tests.support.loop import in_loop
from tests.unit.oci.registry.served import Served

UPLOADS = "/v2/shop/blobs/uploads/"
LARGE = b"x" * 100_000
DOING = "pushing"


class Registry:
    """Keeps one upload as the distribution spec describes it; breaks off ``failures`` requests."""

    def __init__(self, *, takes_at_once: bool = False, failures: int = 0, whole: int = 201) -> None:
        self.kept = b""
        self.done = False
        self.failures = failures
        self._takes_at_once = takes_at_once
        self._whole = whole

    def __call__(self, request: httpx.Request) -> httpx.Response:
        accepted = {"Location": f"{UPLOADS}1?state=a", "Range": f"0-{max(len(self.kept) - 1, 0)}"}
        if request.method == "POST":
            if "digest" in request.url.params and self._takes_at_once:
                self.kept, self.done = request.content, True
                return httpx.Response(201)
            self.kept = b""
            return httpx.Response(202, headers={"Location": f"{UPLOADS}1?state=a"})
        if request.method == "GET":
            return httpx.Response(204, headers=accepted)
        if self.failures:
            self.failures -= 1
            return httpx.Response(503)
        if request.method == "PATCH":
            self.kept += request.content
            return httpx.Response(202, headers={**accepted, "Range": f"0-{len(self.kept) - 1}"})
        if request.content and self._whole != 201:
            return httpx.Response(self._whole)
        self.kept = self.kept + request.content
        self.done = True
        return httpx.Response(201)


def uploader(served: Served) -> Uploader:
    return Uploader(http=served.http(), path=UPLOADS, scope="repository:shop:pull,push")


async def upload(registry: Registry, content: bytes) -> Served:
    served = Served(registry)
    blob = describe(content, "application/octet-stream")
    await uploader(served).upload(blob, content, doing=DOING)
    assert (registry.done, registry.kept) == (True, content)
    return served


@in_loop
async def test_a_small_blob_goes_with_the_first_request_where_the_registry_takes_it() -> None:
    served = await upload(Registry(takes_at_once=True), b"small")
    assert [method for method, _ in served.asked] == ["POST"]


@in_loop
async def test_a_registry_that_does_not_take_it_at_once_gets_it_by_put() -> None:
    served = await upload(Registry(), b"small")
    assert [method for method, _ in served.asked] == ["POST", "PUT"]
    assert dict(served.requests[-1].url.params)["state"] == "a"


@in_loop
async def test_a_large_blob_goes_in_one_put() -> None:
    served = await upload(Registry(takes_at_once=True), LARGE)
    assert [method for method, _ in served.asked] == ["POST", "PUT"]


@in_loop
async def test_a_blob_too_large_for_one_request_goes_in_chunks() -> None:
    served = await upload(Registry(whole=413), LARGE)
    assert [method for method, _ in served.asked] == ["POST", "PUT", "PATCH", "PUT"]
    assert served.requests[2].headers["content-range"] == f"0-{len(LARGE) - 1}"


@in_loop
async def test_an_upload_that_breaks_off_goes_on_after_growing_pauses() -> None:
    served = await upload(Registry(failures=3), LARGE)
    assert served.slept == [0.2, 0.4, 0.8]


@in_loop
async def test_an_upload_that_never_gets_through_is_given_up() -> None:
    with pytest.raises(Unavailable, match="0 of 100000 bytes came through"):
        await upload(Registry(failures=99), LARGE)


@in_loop
async def test_a_source_that_is_too_short_breaks_the_request_off() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"short"

    served = Served(Registry())
    blob = describe(LARGE, "application/octet-stream")
    with pytest.raises(DigestMismatch, match="ends 99995 bytes too early"):
        await uploader(served).upload(blob, pieces, doing=DOING)


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({}, "no Location"),
        ({"Location": "ftp://elsewhere/x"}, "not a URL to follow"),
        ({"Location": "/x", "OCI-Chunk-Min-Length": "9" * 12}, "wants chunks of at least"),
    ],
)
@in_loop
async def test_an_upload_that_leads_nowhere_is_refused(
    headers: dict[str, str], problem: str
) -> None:
    served = Served(lambda request: httpx.Response(202, headers=headers))
    with pytest.raises(ProtocolError, match=problem):
        await uploader(served).upload(describe(LARGE, "text/plain"), LARGE, doing=DOING)


@pytest.mark.parametrize(("status", "mounted"), [(201, True), (404, False), (405, False)])
@in_loop
async def test_a_mount_is_only_what_the_registry_says_it_mounted(
    status: int, mounted: bool
) -> None:
    served = Served(lambda request: httpx.Response(status))
    blob = Descriptor(media_type="text/plain", digest="sha256:" + "1" * 64, size=1)
    assert await uploader(served).mount(blob, "other", doing=DOING, scopes="x") is mounted


@in_loop
async def test_a_mount_that_begins_an_upload_is_cancelled() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": f"{UPLOADS}1"})
        return httpx.Response(204)

    served = Served(answer)
    blob = Descriptor(media_type="text/plain", digest="sha256:" + "1" * 64, size=1)
    assert not await uploader(served).mount(blob, "other", doing=DOING, scopes="x")
    assert served.asked[-1] == ("DELETE", f"{UPLOADS}1")
