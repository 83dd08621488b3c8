"""A registry that breaks one thing at a time: each ends in a clear error, in bounded time.

A server of ours sits before a real registry and breaks what no real one breaks when asked.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocistate.artifact.pack import Packed, pack
from ocistate.errors import (
    ArtifactError,
    DigestMismatch,
    LimitExceeded,
    OcistateError,
    ProtocolError,
    StoreError,
    Unauthorized,
    Unavailable,
    UnsafeContent,
)
from ocistate.oci import StoreOptions, open_store
from ocistate.oci.model import (
    EMPTY_CONFIG,
    INDEX,
    LAYER_TAR_GZIP,
    MANIFEST,
    build_index,
    build_manifest,
    describe,
)
from ocistate.oci.registry.store import RegistryStore
from ocistate.ops.artifact.extract import extract
from ocistate.ops.artifact.fetch import fetch_content, fetch_manifest
from ocistate.ops.artifact.push import push_artifact
from ocistate.ops.signing.gather import gather_signatures
from ocistate.reference import parse_reference
from testbed.registries import ReferrersRegistry
from tests.support.fakes import faulty_registry as faulty
from tests.support.fakes.faulty_registry import Fault, Handler, on, once
from tests.support.memory import forget_peak, peak

MANIFEST_TEXT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: b}
data: {k: v}
"""
PACKED: Packed = pack({"a.yaml": MANIFEST_TEXT.encode()})
DIGEST = PACKED.manifest.descriptor.digest
LAYER = PACKED.manifest.layers[0].digest
PASSWORD = "hunter2-hunter2"


UPSTREAM: list[str] = []
"""The real registry behind the misbehaving one."""


@pytest.fixture(autouse=True, scope="module")
def _upstream(referrers_registry: ReferrersRegistry) -> Iterator[None]:
    async def fill() -> None:
        async with open_store(parse_reference(f"{referrers_registry.host}/x")) as store:
            await push_artifact(store, PACKED, ["v1"])

    asyncio.run(fill())
    UPSTREAM.append(referrers_registry.host)
    yield
    UPSTREAM.clear()


class Registry(faulty.Registry):
    """Misbehaves in one thing, and is what the real registry is in all else."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault, UPSTREAM[0])


slept: list[float] = []


async def no_sleep(seconds: float) -> None:
    slept.append(seconds)
    await asyncio.sleep(0)


def store_of(registry: Registry, **options: Any) -> RegistryStore:
    config = {"auths": {registry.host: {"username": "robot", "password": PASSWORD}}}
    store = RegistryStore(
        parse_reference(f"{registry.host}/x"),
        StoreOptions(
            docker_config=json.dumps(config).encode(),
            **{"silence": 1.0, "whole": 3.0, **options},
        ),
    )
    store._http.sleep = no_sleep
    return store


async def use(store: RegistryStore, folder: Path) -> None:
    """What an agent does: resolve, gather signatures, fetch, and write what came."""
    async with store:
        digest = (await store.resolve("v1")).digest
        await gather_signatures(store, digest)
        content = await fetch_content(store, await fetch_manifest(store, digest))
        extract(content.files, folder)


async def push(store: RegistryStore, folder: Path) -> None:
    async with store:
        await push_artifact(store, PACKED, [f"v9-{os.urandom(4).hex()}"])


async def tags(store: RegistryStore, folder: Path) -> None:
    async with store:
        await store.tags()


def manifest_of(**changes: Any) -> bytes:
    return json.dumps({**json.loads(PACKED.manifest.raw), **changes}).encode()


def served(raw: bytes, kind: str = MANIFEST) -> Callable[[Handler], bool]:
    """Another manifest than the one asked for, under its own right digest."""
    digest = describe(raw, kind).digest
    return on("/manifests/", lambda h: h.answer(raw, kind=kind, digest=digest))


def layered(layer: bytes) -> Callable[[Handler], bool]:
    """A right artifact around a wrong layer, as somebody who may push would make it."""
    descriptor = describe(layer, LAYER_TAR_GZIP)
    manifest = build_manifest(
        config=PACKED.manifest.config,
        layers=(descriptor,),
        artifact_type=PACKED.manifest.artifact_type,
    )

    def fault(handler: Handler) -> bool:
        if "/manifests/" in handler.path and "sha256-" not in handler.path:
            digest = manifest.descriptor.digest
            return handler.answer(manifest.raw, kind=MANIFEST, digest=digest)
        return descriptor.digest in handler.path and handler.answer(layer)

    return fault


@functools.cache
def bomb() -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=1) as stream:
        for _ in range(300):
            stream.write(bytes(1024 * 1024))
    return buffer.getvalue()


def challenge(text: str) -> Callable[[Handler], bool]:
    return lambda h: h.answer(b"", status=401, headers={"WWW-Authenticate": text})


def hang(handler: Handler) -> bool:
    time.sleep(5)
    return True


GREEDY = {"Location": "/v2/x/y", "OCI-Chunk-Min-Length": str(10**13)}


def leads(location: str) -> Fault:
    return on("/uploads/", lambda h: h.answer(status=202, headers={"Location": location}), "POST")


def upload(fault: Fault) -> Fault:
    """A fault of a registry that holds none of the blobs yet, and takes none at once."""

    def faulty(handler: Handler) -> bool:
        if handler.command == "HEAD":
            return handler.answer(status=404)
        at_once = handler.command == "POST" and "digest=" in handler.path
        return handler.answer(status=405) if at_once else fault(handler)

    return faulty


def token_server(answer: Callable[[Handler], bool]) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            return answer(handler)
        if handler.headers.get("Authorization", "").startswith("Bearer "):
            return False
        host = handler.headers["Host"]
        return challenge(f'Bearer realm="http://{host}/token",service="x"')(handler)

    return fault


def raw(handler: Handler, data: bytes) -> bool:
    handler.wfile.write(data)
    handler.close_connection = True
    return True


def endless_headers(handler: Handler) -> bool:
    handler.send_response(200)
    handler.flush_headers()
    for number in range(2_000_000):
        handler.wfile.write(b"X-%d: %s\r\n" % (number, b"y" * 100))
    return True


def drip_headers(handler: Handler) -> bool:
    handler.send_response(200)
    handler.flush_headers()
    for number in range(300):
        handler.wfile.write(b"X-%d: y\r\n" % number)
        handler.wfile.flush()
        time.sleep(0.2)
    return True


def more_referrers(handler: Handler, weight: int = 0) -> bool:
    """One more page, with a referrer that no page before it had, and another one to come."""
    number = len(handler.requests)
    entry = describe(str(number).encode(), MANIFEST).to_dict()
    entry["annotations"] = {"x": "y" * weight}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    path = handler.path.partition("?")[0]
    link = {"Link": f'<{path}?page={number}>; rel="next"'}
    return handler.answer(index, kind=INDEX, headers=link)


DUPLICATE = PACKED.manifest.raw[:-1] + b',"schemaVersion":2}'
BIG_LAYER = {**PACKED.manifest.layers[0].to_dict(), "size": 10**12}
ENTRY = PACKED.manifest.descriptor.to_dict()
JSON_TYPE = "application/json"

CASES: dict[str, tuple[Callable[[Handler], bool], type[OcistateError]]] = {
    "another manifest under the digest asked for": (
        on(DIGEST, lambda h: h.answer(manifest_of(x=1), kind=MANIFEST)),
        DigestMismatch,
    ),
    "a digest header that is not the body's": (
        on("/manifests/", lambda h: h.answer(PACKED.manifest.raw, kind=MANIFEST, digest=LAYER)),
        StoreError,
    ),
    "a manifest cut short": (
        on(DIGEST, lambda h: h.answer(PACKED.manifest.raw[:50], kind=MANIFEST, length=500)),
        StoreError,
    ),
    "a manifest without end": (on("/manifests/", lambda h: h.pour(b" " * 65536)), LimitExceeded),
    "a manifest that drips": (on(DIGEST, lambda h: h.pour(b" ", pause=0.2)), Unavailable),
    "gigabytes promised": (
        on(DIGEST, lambda h: h.answer(b"x", kind=MANIFEST, length=10**11)),
        LimitExceeded,
    ),
    "a manifest compressed against our wish": (
        on(
            DIGEST,
            lambda h: h.answer(
                gzip.compress(PACKED.manifest.raw),
                kind=MANIFEST,
                headers={"Content-Encoding": "gzip"},
            ),
        ),
        DigestMismatch,
    ),
    "a manifest that is a bomb": (
        on(
            "/manifests/",
            lambda h: h.answer(bomb(), kind=MANIFEST, headers={"Content-Encoding": "gzip"}),
        ),
        StoreError,
    ),
    "bombs without end": (
        on("/manifests/", lambda h: h.pour(bomb(), encoding="gzip")),
        LimitExceeded,
    ),
    "an error without end": (
        on("/v2/", lambda h: h.pour(b" " * 65536, status=418, kind=JSON_TYPE)),
        StoreError,
    ),
    "an error that is a bomb": (
        on("/v2/", lambda h: h.pour(bomb(), status=418, kind=JSON_TYPE, encoding="gzip")),
        StoreError,
    ),
    "an error that drips": (
        on("/v2/", lambda h: h.pour(b" ", status=418, kind=JSON_TYPE, pause=0.2)),
        StoreError,
    ),
    "a blob's error that drips": (
        on(LAYER, lambda h: h.pour(b" ", status=418, kind=JSON_TYPE, pause=0.2)),
        Unavailable,
    ),
    "a blob's headers that drip": (on(LAYER, lambda h: drip_headers(h)), Unavailable),
    "a challenge whose body never ends": (
        on("/v2/", lambda h: h.pour(b" " * 65536, status=401)),
        Unauthorized,
    ),
    "a redirect whose body never ends": (
        on("/v2/", lambda h: h.pour(b" " * 65536, status=307)),
        StoreError,
    ),
    "referrers without end": (
        on("/referrers/", lambda h: h.pour(b" " * 65536, kind=INDEX)),
        LimitExceeded,
    ),
    "referrers that are a bomb": (
        on("/referrers/", lambda h: h.pour(bomb(), kind=INDEX, encoding="gzip")),
        LimitExceeded,
    ),
    "referrers that drip": (
        on("/referrers/", lambda h: h.pour(b" ", kind=INDEX, pause=0.2)),
        Unavailable,
    ),
    "a token that is a bomb": (
        token_server(lambda h: h.pour(bomb(), kind=JSON_TYPE, encoding="gzip")),
        LimitExceeded,
    ),
    "a token that drips": (
        token_server(lambda h: h.pour(b" ", kind=JSON_TYPE, pause=0.2)),
        Unavailable,
    ),
    "thousands of headers": (
        on("/v2/", lambda h: h.answer(b"", headers={f"X-{n}": "y" * 90 for n in range(20_000)})),
        StoreError,
    ),
    "headers that never end": (on("/v2/", lambda h: endless_headers(h)), StoreError),
    "a manifest of another type": (served(PACKED.manifest.raw, "application/vnd.x"), ProtocolError),
    "a web page with 200": (
        on("/v2/", lambda h: h.answer(b"<html>Please log in</html>", kind="text/html")),
        ProtocolError,
    ),
    "an index instead of a manifest": (served(build_index(()).raw, INDEX), ArtifactError),
    "an index that holds itself": (
        served(json.dumps({"schemaVersion": 2, "manifests": [ENTRY]}).encode(), INDEX),
        ArtifactError,
    ),
    "a type in the body that is not the header's": (
        served(manifest_of(mediaType=INDEX)),
        ProtocolError,
    ),
    "both layers and manifests": (served(manifest_of(manifests=[])), ProtocolError),
    "no JSON": (served(b"{"), ProtocolError),
    "a key twice": (served(DUPLICATE), ProtocolError),
    "nesting without end": (served(b"[" * 200_000), ProtocolError),
    "a list instead of an object": (served(b"[]"), ProtocolError),
    "a schema of another version": (served(manifest_of(schemaVersion=1)), ProtocolError),
    "a size below zero": (
        served(manifest_of(config={**PACKED.manifest.config.to_dict(), "size": -1})),
        ProtocolError,
    ),
    "a digest of another kind": (
        served(manifest_of(config={**PACKED.manifest.config.to_dict(), "digest": "md5:0"})),
        ProtocolError,
    ),
    "a digest that is a path": (
        served(
            manifest_of(config={**PACKED.manifest.config.to_dict(), "digest": "sha256:../../x"})
        ),
        ProtocolError,
    ),
    "a layer of a terabyte": (served(manifest_of(layers=[BIG_LAYER])), LimitExceeded),
    "two layers where one belongs": (
        served(manifest_of(layers=[PACKED.manifest.layers[0].to_dict()] * 2)),
        ArtifactError,
    ),
    "a blob of other bytes": (
        on(LAYER, lambda h: h.answer(bytes(len(PACKED.layer)))),
        DigestMismatch,
    ),
    "a blob that is longer": (on(LAYER, lambda h: h.answer(PACKED.layer + b"x")), DigestMismatch),
    "a blob that is shorter": (on(LAYER, lambda h: h.answer(PACKED.layer[:-1])), DigestMismatch),
    "a blob cut short each time": (
        on(LAYER, lambda h: h.answer(PACKED.layer[:9], length=len(PACKED.layer))),
        Unavailable,
    ),
    "a blob without end": (on(LAYER, lambda h: h.pour(b"x" * 65536)), DigestMismatch),
    "a blob that drips": (on(LAYER, lambda h: h.pour(b"x", pause=0.3)), Unavailable),
    "a blob as a web page": (on(LAYER, lambda h: h.answer(b"<html>")), DigestMismatch),
    "a layer that is a bomb": (layered(bomb()), ArtifactError),
    "a layer that is no gzip": (layered(b"plain"), ArtifactError),
    "a layer that the config does not describe": (
        layered(gzip.compress(bytes(1024))),
        ArtifactError,
    ),
    "redirects in a circle": (
        on(LAYER, lambda h: h.answer(b"", status=307, headers={"Location": h.path})),
        ProtocolError,
    ),
    "a redirect to a file": (
        on(LAYER, lambda h: h.answer(b"", status=307, headers={"Location": "file:///etc/passwd"})),
        ProtocolError,
    ),
    "a redirect with a password in it": (
        on(LAYER, lambda h: h.answer(b"", status=307, headers={"Location": "http://u:p@h/x"})),
        ProtocolError,
    ),
    "a login asked for again and again": (on("/v2/", challenge('Basic realm="x"')), Unauthorized),
    "a login of a kind no one knows": (on("/v2/", challenge("Negotiate")), Unauthorized),
    "no challenge at all": (on("/v2/", lambda h: h.answer(b"", status=401)), Unauthorized),
    "a token server of another scheme": (
        on("/v2/", challenge('Bearer realm="ftp://x/token"')),
        ProtocolError,
    ),
    "a token server that answers a web page": (
        token_server(lambda h: h.answer(b"<html>")),
        ProtocolError,
    ),
    "a token server without a token": (token_server(lambda h: h.answer(b"{}")), ProtocolError),
    "a token that would begin another header": (
        token_server(lambda h: h.answer(b'{"token":"a\\r\\nX-Evil: 1"}')),
        ProtocolError,
    ),
    "a token server that is broken": (
        token_server(lambda h: h.answer(b"", status=500)),
        Unavailable,
    ),
    "a token server that refuses": (
        token_server(lambda h: h.answer(b"", status=401)),
        Unauthorized,
    ),
    "a token server that hangs": (token_server(hang), Unavailable),
    "a token server without end": (
        token_server(lambda h: h.pour(b" " * 65536, kind=JSON_TYPE)),
        LimitExceeded,
    ),
    "a registry that only errs": (on("/v2/", lambda h: h.answer(b"", status=500)), Unavailable),
    "a registry that is too busy for a day": (
        on("/v2/", lambda h: h.answer(b"", status=429, headers={"Retry-After": "86400"})),
        Unavailable,
    ),
    "a pause that is no number": (
        on("/v2/", lambda h: h.answer(b"", status=503, headers={"Retry-After": "soon"})),
        Unavailable,
    ),
    "a registry that hangs": (on("/v2/", hang), Unavailable),
    "an error that is junk": (
        on("/v2/", lambda h: h.answer(b"\xff\x00" * 9, status=418)),
        StoreError,
    ),
    "headers without end": (
        on("/v2/", lambda h: h.answer(b"", headers={"X": "y" * 300_000})),
        Unavailable,
    ),
    "a listing of referrers at another host": (
        on(
            "/referrers/",
            lambda h: h.answer(
                json.dumps({"schemaVersion": 2, "manifests": [ENTRY]}).encode(),
                kind=INDEX,
                headers={"Link": '<http://127.0.0.2:1/v2/x>; rel="next"'},
            ),
        ),
        ProtocolError,
    ),
    "a listing of referrers without end": (
        on("/referrers/", lambda h: more_referrers(h)),
        LimitExceeded,
    ),
    "a listing of referrers with gigabytes in it": (
        on("/referrers/", lambda h: more_referrers(h, weight=3_000_000)),
        LimitExceeded,
    ),
    "a redirect of a manifest to another scheme": (
        on(DIGEST, lambda h: h.answer(status=302, headers={"Location": "gopher://x/y"})),
        ProtocolError,
    ),
    "a redirect to a place that is none": (
        on(LAYER, lambda h: h.answer(status=307, headers={"Location": "http://[x"})),
        ProtocolError,
    ),
    "a blob that goes on at another place": (
        lambda h: (
            LAYER in h.path
            and (
                h.answer(PACKED.layer[9:], status=206, headers={"Content-Range": "bytes 9-99/99"})
                if h.headers.get("Range")
                else h.answer(PACKED.layer[:5], length=len(PACKED.layer))
            )
        ),
        ProtocolError,
    ),
    "a token server that leads elsewhere": (
        token_server(lambda h: h.answer(status=307, headers={"Location": "http://127.0.0.2:1/"})),
        Unavailable,
    ),
    "a token server whose answer has a key twice": (
        token_server(lambda h: h.answer(b'{"token":"a","token":"b"}', kind=JSON_TYPE)),
        ProtocolError,
    ),
    "a token server with a password in its address": (
        on("/v2/", challenge('Bearer realm="http://u:p@127.0.0.1:1/token"')),
        ProtocolError,
    ),
    "a token that is never enough": (
        lambda h: (
            h.answer(b'{"token":"t"}', kind=JSON_TYPE)
            if h.path.startswith("/token")
            else challenge(f'Bearer realm="http://{h.headers["Host"]}/token"')(h)
        ),
        Unauthorized,
    ),
    "a status line and nothing more": (on("/v2/", lambda h: raw(h, b"HTTP/1.1 200")), Unavailable),
    "what is no HTTP": (on("/v2/", lambda h: raw(h, b"SSH-2.0-OpenSSH_9.2\r\n")), Unavailable),
    "a length that is none": (
        on("/v2/", lambda h: raw(h, b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n")),
        Unavailable,
    ),
    "a listing of referrers that is junk": (
        on("/referrers/", lambda h: h.answer(b"{", kind=INDEX)),
        ProtocolError,
    ),
}


PUSH_CASES: dict[str, tuple[Fault, type[OcistateError]]] = {
    "a web page where an upload should begin": (
        upload(on("/uploads/", lambda h: h.answer(b"<html>", kind="text/html"), "POST")),
        StoreError,
    ),
    "an upload that begins nowhere": (
        upload(on("/uploads/", lambda h: h.answer(status=202), "POST")),
        ProtocolError,
    ),
    "an upload that wants to go to a file": (upload(leads("file:///tmp/x")), ProtocolError),
    "an upload with a password in its place": (upload(leads("http://u:p@x/y")), ProtocolError),
    "chunks of terabytes": (
        upload(on("/uploads/", lambda h: h.answer(status=202, headers=GREEDY), "POST")),
        ProtocolError,
    ),
    "an upload that hangs": (upload(on("/uploads/", hang, "POST")), Unavailable),
    "an upload that is never done": (
        upload(on("/uploads/", lambda h: h.answer(status=500), "PUT")),
        Unavailable,
    ),
    "an upload that is redirected": (
        upload(
            on(
                "/uploads/",
                lambda h: h.answer(status=307, headers={"Location": "http://x/"}),
                "PUT",
            )
        ),
        StoreError,
    ),
    "a registry that has got more than was sent": (
        upload(
            lambda h: (
                "/uploads/" in h.path
                and (
                    (h.command == "PUT" and h.answer(status=503))
                    or (
                        h.command == "GET" and h.answer(status=204, headers={"Range": "0-99999999"})
                    )
                )
            )
        ),
        StoreError,
    ),
    "a login asked for in the middle of a push": (
        upload(on("/uploads/", challenge('Basic realm="x"'), "PUT")),
        Unauthorized,
    ),
    "a manifest that is kept under another digest": (
        on("/manifests/", lambda h: h.answer(status=201, digest=LAYER), "PUT"),
        DigestMismatch,
    ),
    "a manifest that is refused": (
        on("/manifests/", lambda h: h.answer(b'{"errors":[{"code":"DENIED"}]}', status=403), "PUT"),
        Unauthorized,
    ),
    "an answer to the beginning of an upload without end": (
        upload(
            on(
                "/uploads/",
                lambda h: h.body() is not None and h.pour(b" " * 65536, status=202),
                "POST",
            )
        ),
        StoreError,
    ),
    "an answer to the end of an upload that is a bomb": (
        upload(
            on(
                "/uploads/",
                lambda h: h.body() is not None and h.pour(bomb(), status=201, encoding="gzip"),
                "PUT",
            )
        ),
        StoreError,
    ),
    "an answer to an upload that drips": (
        upload(
            on(
                "/uploads/",
                lambda h: h.body() is not None and h.pour(b" ", status=202, pause=0.2),
                "POST",
            )
        ),
        StoreError,
    ),
    "an answer to a push without end": (
        on("/manifests/", lambda h: h.body() is not None and h.pour(b" " * 65536), "PUT"),
        LimitExceeded,
    ),
}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    slept.clear()
    yield
    assert all(seconds <= 60 for seconds in slept)


@pytest.mark.parametrize("name", list(CASES))
def test_a_misbehaving_registry_causes_a_clear_error_and_no_writes(
    name: str, tmp_path: Path
) -> None:
    fault, expected = CASES[name]
    registry = Registry(fault)
    target = tmp_path / "out"
    begun, before = time.monotonic(), forget_peak()
    try:
        with pytest.raises(expected) as caught:
            asyncio.run(use(store_of(registry), target))
    finally:
        registry.close()
    assert time.monotonic() - begun < 60
    assert peak() - before < (UNPACKED if "bomb" in name else MOST_MEMORY)
    assert list(tmp_path.iterdir()) == []
    assert PASSWORD not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert registry.stranger.requests == []


def test_the_faulty_registry_covers_at_least_forty_faults() -> None:
    assert len(CASES) + len(PUSH_CASES) >= 40


@pytest.mark.parametrize("name", list(PUSH_CASES))
def test_a_push_ends_in_a_clear_error_and_moves_no_tag(name: str, tmp_path: Path) -> None:
    fault, expected = PUSH_CASES[name]
    registry = Registry(fault)
    begun, before = time.monotonic(), forget_peak()
    try:
        with pytest.raises(expected) as caught:
            asyncio.run(push(store_of(registry), tmp_path))
    finally:
        registry.close()
    assert time.monotonic() - begun < 60
    assert peak() - before < MOST_MEMORY
    assert PASSWORD not in str(caught.value)
    assert registry.stranger.requests == []
    assert not any(
        m == "PUT" and "/manifests/v9" in path for m, path, _ in registry.handler.requests
    )


MOST_MEMORY = 96 * 1024
"""KiB that one case may take."""

UNPACKED = 320 * 1024
"""The same where a layer is unpacked, up to 256 MiB of it."""


def test_a_token_is_renewed_when_the_registry_refuses_it(tmp_path: Path) -> None:
    """A server says "for ever", and the registry refuses the token at the second request."""
    given: list[str] = []

    def fault(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            given.append(f"t{len(given)}")
            body = {"token": given[-1], "expires_in": 10**15}
            return handler.answer(json.dumps(body).encode(), kind=JSON_TYPE)
        sent = handler.headers.get("Authorization", "")
        if given and sent == f"Bearer {given[-1]}" and sent not in used:
            used.append(sent)
            return False
        return challenge(f'Bearer realm="http://{handler.headers["Host"]}/token"')(handler)

    used: list[str] = []
    registry = Registry(fault)
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert len(given) == len(used) > 3


def test_an_endless_list_of_tags_is_bounded(tmp_path: Path) -> None:
    def fault(handler: Handler) -> bool:
        number = len(handler.requests)
        names = json.dumps({"tags": [f"t{number}-{n}" for n in range(20_000)]}).encode()
        link = {"Link": f'</v2/x/tags/list?last={number}>; rel="next"'}
        return "/tags/" in handler.path and handler.answer(names, headers=link)

    registry = Registry(fault)
    before = forget_peak()
    try:
        with pytest.raises((LimitExceeded, Unavailable)):
            asyncio.run(tags(store_of(registry), tmp_path))
    finally:
        registry.close()
    assert peak() - before < 2 * MOST_MEMORY


ENDLESS_TAGS: dict[str, Fault] = {
    "no end": lambda h: h.pour(b" " * 65536, kind=JSON_TYPE),
    "a bomb": lambda h: h.pour(bomb(), kind=JSON_TYPE, encoding="gzip"),
    "a drip": lambda h: h.pour(b" ", kind=JSON_TYPE, pause=0.2),
    "one name a page": lambda h: more_tags(h, [f"t{len(h.requests)}"]),
    "megabytes of what is no name": lambda h: more_tags(
        h, [f"t{len(h.requests)}", f"{len(h.requests)}" + "x" * 3_000_000]
    ),
}


def more_tags(handler: Handler, names: list[str]) -> bool:
    number = len(handler.requests)
    link = {"Link": f'</v2/x/tags/list?last={number}>; rel="next"'}
    return handler.answer(json.dumps({"tags": names}).encode(), headers=link)


@pytest.mark.parametrize("name", ENDLESS_TAGS)
def test_a_list_of_tags_takes_no_more_than_it_may(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocistate.oci.registry.store._MAX_NAME_PAGES", 100)
    registry = Registry(on("/tags/", ENDLESS_TAGS[name]))
    begun, before = time.monotonic(), forget_peak()
    try:
        with pytest.raises((LimitExceeded, Unavailable)):
            asyncio.run(tags(store_of(registry), tmp_path))
    finally:
        registry.close()
    assert time.monotonic() - begun < 60
    assert peak() - before < MOST_MEMORY


def test_a_retry_after_header_is_honoured(tmp_path: Path) -> None:
    busy = once(lambda h: h.answer(status=429, headers={"Retry-After": "7"}))
    later = once(
        lambda h: h.answer(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    )
    registry = Registry(lambda h: busy(h) or later(h))
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert slept == [7.0, 0.0]


def test_retry_delays_grow_and_have_jitter(tmp_path: Path) -> None:
    def pauses() -> list[float]:
        slept.clear()
        registry = Registry(lambda h: h.answer(status=503))
        try:
            with pytest.raises(Unavailable):
                asyncio.run(tags(store_of(registry), tmp_path))
        finally:
            registry.close()
        return list(slept)

    first, second = pauses(), pauses()
    assert len(first) == 4
    assert first[0] < first[1] < first[2] < first[3]
    assert first != second


def test_all_but_loopback_goes_through_the_proxy_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faulty server replaces the proxy: it passes on what it is asked for by full URL."""
    asked: list[str] = []

    def proxy(handler: Handler) -> bool:
        asked.append(handler.path)
        handler.path = "/" + handler.path.split("/", 3)[3]
        return False

    registry = Registry(proxy)
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY" if os.name == "nt" else "http_proxy", f"http://{registry.host}")

    async def look(host: str) -> str:
        options = StoreOptions(insecure=True, attempts=1, docker_config=b"{}")
        async with open_store(parse_reference(f"{host}/x"), options) as store:
            return (await store.resolve("v1")).digest

    try:
        assert asyncio.run(look("registry.example.com")) == DIGEST
        assert asyncio.run(look(UPSTREAM[0])) == DIGEST
        monkeypatch.setenv("no_proxy", "registry.example.com")
        with pytest.raises(Unavailable):
            asyncio.run(look("registry.example.com"))
    finally:
        registry.close()
    assert asked == ["http://registry.example.com/v2/x/manifests/v1"]


def test_a_well_behaved_registry_is_read(tmp_path: Path) -> None:
    registry = Registry(lambda h: False)
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert os.listdir(tmp_path / "out") == ["a.yaml"]


def test_a_blob_redirected_to_another_host_is_fetched_without_credentials(tmp_path: Path) -> None:
    def fault(handler: Handler) -> bool:
        if not handler.headers.get("Authorization"):
            return challenge('Basic realm="x"')(handler)
        where = f"http://{registry.other}{handler.path}"
        return LAYER in handler.path and handler.answer(status=307, headers={"Location": where})

    registry = Registry(fault)
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert [auth for _, _, auth in registry.stranger.requests] == [""]


def test_an_upload_redirected_to_another_host_gets_no_credentials(tmp_path: Path) -> None:
    def fault(handler: Handler) -> bool:
        if not handler.headers.get("Authorization"):
            return challenge('Basic realm="x"')(handler)
        if handler.command == "HEAD" or "/manifests/v9" in handler.path:
            return handler.command != "PUT" and handler.answer(status=404)
        where = f"http://{registry.other}/upload"
        return handler.command == "POST" and handler.answer(status=202, headers={"Location": where})

    registry = Registry(fault)
    try:
        asyncio.run(push(store_of(registry), tmp_path))
    finally:
        registry.close()
    assert {method for method, _, _ in registry.stranger.requests} == {"PUT"}
    assert {auth for _, _, auth in registry.stranger.requests} == {""}


@pytest.mark.parametrize("location", ["", "ftp://x/y", "http://u:p@x/y"])
def test_an_upload_with_an_unusable_location_is_refused(location: str, tmp_path: Path) -> None:
    def fault(handler: Handler) -> bool:
        if handler.command in ("HEAD", "GET"):
            return handler.answer(status=404)
        headers = {"Location": location} if location else {}
        return handler.command == "POST" and handler.answer(status=202, headers=headers)

    registry = Registry(fault)
    try:
        with pytest.raises(ProtocolError):
            asyncio.run(push(store_of(registry), tmp_path))
    finally:
        registry.close()
    assert not any(method == "PUT" for method, _, _ in registry.handler.requests)


def test_credentials_are_not_sent_before_they_are_asked_for(tmp_path: Path) -> None:
    registry = Registry(lambda h: False)
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert {auth for _, _, auth in registry.handler.requests} == {""}


def test_the_token_asked_for_is_the_one_we_need(tmp_path: Path) -> None:
    asked: list[str] = []

    def fault(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            asked.append(handler.path)
            return handler.answer(b'{"token":"t","expires_in":300}', kind=JSON_TYPE)
        if handler.headers.get("Authorization") == "Bearer t":
            return False
        realm = f"http://{handler.headers['Host']}/token"
        scope = "repository:other/secret:*"
        return challenge(f'Bearer realm="{realm}",service="x",scope="{scope}"')(handler)

    registry = Registry(fault)
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert len(asked) == 1
    assert "repository%3Ax%3Apull" in asked[0]
    assert "secret" not in asked[0]


@pytest.mark.parametrize(
    "answer",
    [b"[]", b'{"tags":5}', b'{"tags":[5]}', b"{", b'{"tags":["v1"],"tags":["v2"]}', b"<html>"],
)
def test_a_malformed_list_of_tags_is_refused(answer: bytes, tmp_path: Path) -> None:
    registry = Registry(on("/tags/", lambda h: h.answer(answer, kind=JSON_TYPE)))
    try:
        with pytest.raises(ProtocolError):
            asyncio.run(tags(store_of(registry), tmp_path))
    finally:
        registry.close()


def test_pages_of_tags_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    link = {"Link": '</v2/x/tags/list?last=v1>; rel="next"'}
    registry = Registry(on("/tags/", lambda h: h.answer(b'{"tags":["v1"]}', headers=link)))
    try:
        asyncio.run(tags(store_of(registry), tmp_path))
    finally:
        registry.close()
    assert len(registry.handler.requests) < 5


def test_referrers_are_read_up_to_a_reported_limit(tmp_path: Path) -> None:
    entries = [
        describe(str(number).encode(), MANIFEST) for number in range(10_000)
    ]  # none of which is there
    index = build_index(tuple(entries)).raw
    registry = Registry(on("/referrers/", lambda h: h.answer(index, kind=INDEX)))

    async def look() -> list[str]:
        async with store_of(registry) as store:
            return [found.error for found in await gather_signatures(store, DIGEST)]

    try:
        errors = asyncio.run(look())
    finally:
        registry.close()
    assert len(errors) == 513
    assert "10000" in errors[-1]


def test_a_fallback_tag_that_refers_to_itself_causes_no_loop(tmp_path: Path) -> None:
    loop = build_index((describe(b"x", INDEX),)).raw

    def fault(handler: Handler) -> bool:
        if "/referrers/" in handler.path:
            return handler.answer(status=404)
        return "sha256-" in handler.path and handler.answer(loop, kind=INDEX)

    registry = Registry(fault)

    async def look() -> int:
        async with store_of(registry) as store:
            return len(await gather_signatures(store, DIGEST))

    try:
        assert asyncio.run(look()) == 1
    finally:
        registry.close()
    assert len(registry.handler.requests) < 10


def test_a_signature_listed_for_another_artifact_is_seen_to_be_one(tmp_path: Path) -> None:
    other = build_manifest(
        config=EMPTY_CONFIG, layers=(EMPTY_CONFIG,), subject=describe(b"other", MANIFEST)
    )
    index = build_index((other.descriptor,)).raw

    def fault(handler: Handler) -> bool:
        if "/referrers/" in handler.path:
            return handler.answer(index, kind=INDEX)
        if other.descriptor.digest in handler.path:
            return handler.answer(other.raw, kind=MANIFEST)
        return False

    registry = Registry(fault)

    async def look() -> list[str]:
        async with store_of(registry) as store:
            return [found.error for found in await gather_signatures(store, DIGEST)]

    try:
        assert "something else" in asyncio.run(look())[0]
    finally:
        registry.close()


def test_a_tag_moved_between_two_requests_changes_nothing(tmp_path: Path) -> None:
    """What is fetched is the digest that was resolved, wherever the tag leads by then."""
    moved = manifest_of(annotations={"moved": "yes"})

    def fault(handler: Handler) -> bool:
        first = not any("/manifests/v1" in path for _, path, _ in handler.requests[:-1])
        return (
            "/manifests/v1" in handler.path
            and not first
            and handler.answer(moved, kind=MANIFEST, digest=describe(moved, MANIFEST).digest)
        )

    registry = Registry(fault)
    try:
        asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()
    assert os.listdir(tmp_path / "out") == ["a.yaml"]


def test_an_unreachable_registry_is_reported_as_such(tmp_path: Path) -> None:
    registry = Registry(lambda h: False)
    registry.close()
    with pytest.raises(Unavailable, match=registry.host):
        asyncio.run(use(store_of(registry), tmp_path / "out"))


def test_a_decompression_bomb_is_refused_with_a_clear_error(tmp_path: Path) -> None:
    registry = Registry(layered(bomb()))
    try:
        with pytest.raises(UnsafeContent, match="256 MiB"):
            asyncio.run(use(store_of(registry), tmp_path / "out"))
    finally:
        registry.close()


def test_warnings_of_the_registry_are_shown(tmp_path: Path) -> None:
    shown: list[str] = []
    headers = {"Warning": '299 - "this registry closes\x1b[31m tomorrow"'}
    registry = Registry(on("/manifests/v1", lambda h: h.answer(
        PACKED.manifest.raw, kind=MANIFEST, digest=DIGEST, headers=headers)))  # fmt: skip
    try:
        asyncio.run(use(store_of(registry, on_warning=shown.append), tmp_path / "out"))
    finally:
        registry.close()
    assert "closes" in shown[0]
    assert "\x1b" not in shown[0]
