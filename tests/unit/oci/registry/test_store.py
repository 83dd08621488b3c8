"""One repository over HTTP: what is sent, and which answers are believed."""

from __future__ import annotations

import json
from typing import Any

import httpx2 as httpx
import pytest

from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, ProtocolError
from ocistate.oci.model import (
    EMPTY_CONFIG,
    INDEX,
    MANIFEST,
    Descriptor,
    build_index,
    build_manifest,
    describe,
)
from tests.support.loop import in_loop
from tests.unit.oci.registry.served import Served

ARTIFACT = build_manifest(config=EMPTY_CONFIG, layers=())
DIGEST = ARTIFACT.descriptor.digest
OTHER = "sha256:" + "0" * 64


def manifest_answer(**headers: str) -> httpx.Response:
    return httpx.Response(200, content=ARTIFACT.raw, headers={"Content-Type": MANIFEST, **headers})


def always(response: httpx.Response) -> Served:
    return Served(lambda request: response)


@in_loop
async def test_a_tag_is_resolved_with_one_head() -> None:
    headers = {"Docker-Content-Digest": DIGEST, "Content-Length": "5", "Content-Type": MANIFEST}
    served = always(httpx.Response(200, headers=headers))
    assert await served.store().resolve("v1") == Descriptor(
        media_type=MANIFEST, digest=DIGEST, size=5
    )
    assert served.asked == [("HEAD", "/v2/shop/manifests/v1")]


@in_loop
async def test_a_registry_that_names_no_digest_is_asked_for_the_bytes() -> None:
    served = always(manifest_answer())
    assert (await served.store().resolve("v1")).digest == DIGEST
    assert [method for method, _ in served.asked] == ["HEAD", "GET"]


@in_loop
async def test_bytes_that_have_another_digest_than_asked_for_are_refused() -> None:
    with pytest.raises(DigestMismatch, match="when asked for"):
        await always(manifest_answer()).store().fetch_manifest(OTHER)


@in_loop
async def test_a_digest_header_that_is_not_of_the_bytes_is_refused() -> None:
    with pytest.raises(DigestMismatch, match="announces"):
        await (
            always(manifest_answer(**{"Docker-Content-Digest": OTHER})).store().fetch_manifest("v1")
        )


@in_loop
async def test_what_is_no_manifest_is_refused() -> None:
    page = httpx.Response(200, content=b"<html>", headers={"Content-Type": "text/html"})
    with pytest.raises(ProtocolError, match="text/html"):
        await always(page).store().fetch_manifest("v1")


@in_loop
async def test_a_pushed_manifest_must_be_kept_as_it_is() -> None:
    changed = httpx.Response(201, headers={"Docker-Content-Digest": OTHER})
    with pytest.raises(DigestMismatch, match="keeps"):
        await always(changed).store().push_manifest(ARTIFACT, "v1")


def referrer(subject: Descriptor) -> Any:
    return build_manifest(config=EMPTY_CONFIG, layers=(), artifact_type="a/b", subject=subject)


@in_loop
async def test_a_registry_that_lists_referrers_itself_gets_no_fallback_tag() -> None:
    served = always(httpx.Response(201, headers={"OCI-Subject": DIGEST}))
    await served.store().push_manifest(referrer(ARTIFACT.descriptor))
    assert [method for method, _ in served.asked] == ["PUT"]


@in_loop
async def test_without_a_referrers_api_the_fallback_tag_is_written() -> None:
    kept: dict[str, bytes] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            kept[request.url.path] = request.content
            return httpx.Response(201)
        raw = kept.get(request.url.path)
        if raw is None:
            return httpx.Response(404)
        return httpx.Response(200, content=raw, headers={"Content-Type": INDEX})

    signature = referrer(ARTIFACT.descriptor)
    await Served(answer).store().push_manifest(signature)
    listed = json.loads(kept[f"/v2/shop/manifests/{DIGEST.replace(':', '-')}"])
    assert [item["digest"] for item in listed["manifests"]] == [signature.descriptor.digest]


@in_loop
async def test_referrers_come_page_by_page_and_of_the_type_asked_for() -> None:
    entries = [
        Descriptor(media_type=MANIFEST, digest=f"sha256:{n:064}", size=1, artifact_type=kind)
        for n, kind in enumerate(("a/b", "c/d", None))
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params.get("page", "0"))
        headers = {"Content-Type": INDEX}
        if page < 2:
            headers["Link"] = f'</v2/shop/referrers/{DIGEST}?page={page + 1}>; rel="next"'
        return httpx.Response(200, content=build_index((entries[page],)).raw, headers=headers)

    found = await Served(answer).store().referrers(DIGEST, "a/b")
    assert [item.artifact_type for item in found] == ["a/b", None]


@in_loop
async def test_a_next_page_on_another_host_is_refused() -> None:
    headers = {"Link": '<http://elsewhere.example.com/tags>; rel="next"'}
    page = httpx.Response(200, json={"tags": ["v1"]}, headers=headers)
    with pytest.raises(ProtocolError, match="another host"):
        await always(page).store().tags()


@in_loop
async def test_a_page_that_repeats_itself_ends_the_list() -> None:
    headers = {"Link": '</v2/shop/tags/list>; rel="next"'}
    page = httpx.Response(200, json={"tags": ["v2", "v1", "not a tag"]}, headers=headers)
    assert await always(page).store().tags() == ["v1", "v2"]


@pytest.mark.parametrize("body", [[], {"tags": "v1"}, {"tags": [1]}])
@in_loop
async def test_a_list_of_another_shape_is_refused(body: Any) -> None:
    with pytest.raises(ProtocolError, match="holds no list of tags"):
        await always(httpx.Response(200, json=body)).store().tags()


@in_loop
async def test_no_tags_may_be_null() -> None:
    assert await always(httpx.Response(200, json={"tags": None})).store().tags() == []


@in_loop
async def test_a_registry_without_a_catalog_says_how_to_name_a_repository() -> None:
    with pytest.raises(NotFound, match="does not list its repositories"):
        await always(httpx.Response(404)).store().repositories()


@in_loop
async def test_an_embedded_blob_costs_no_request_and_a_large_one_is_refused() -> None:
    served = always(httpx.Response(500))
    blob = describe(b"data", "text/plain", embed=True)
    assert await served.store().fetch_blob(blob, limit=4) == b"data"
    with pytest.raises(LimitExceeded, match="more than the 3"):
        await served.store().fetch_blob(blob, limit=3)
    assert served.requests == []


@in_loop
async def test_a_blob_that_is_there_is_not_sent() -> None:
    served = always(httpx.Response(200))
    assert not await served.store().push_blob(describe(b"x", "text/plain"), b"x")
    assert [method for method, _ in served.asked] == ["HEAD"]


@in_loop
async def test_blobs_are_mounted_only_within_one_registry() -> None:
    from ocistate.reference import parse_reference

    served = always(httpx.Response(201))
    blob = describe(b"x", "text/plain")
    assert not await served.store().mount_blob(blob, parse_reference("oci://b.example.com/a"))
    assert await served.store().mount_blob(blob, parse_reference("oci://127.0.0.1:1/a"))
    (request,) = served.requests
    assert dict(request.url.params) == {"mount": blob.digest, "from": "a"}
