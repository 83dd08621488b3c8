"""The same checks for every store: registries, with login, with TLS, a folder and an archive."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, Unauthorized, Unavailable
from ocistate.oci import ClientCertificate, StoreOptions, open_store
from ocistate.oci.model import (
    EMPTY_CONFIG,
    Descriptor,
    Manifest,
    build_index,
    build_manifest,
    describe,
)
from ocistate.oci.registry.clients import Clients
from ocistate.oci.registry.store import RegistryStore
from ocistate.oci.store import Store
from ocistate.reference import parse_reference
from testbed.registries import Distribution, Registry

Opener = Callable[[], Store]
TYPE = "application/vnd.example.thing"


GUARDED: dict[str, Callable[[], Distribution]] = {
    "login": lambda: Distribution(auth=True),
    "token": lambda: Distribution(token=True),
    "tls": lambda: Distribution(tls=True),
    "mutual-tls": lambda: Distribution(mutual=True, auth=True),
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[dict[str, Distribution]]:
    """Registries that want to know who comes, or show who they are; started when asked for."""
    with contextlib.ExitStack() as running:
        yield Started(running)


class Started(dict[str, Distribution]):
    """Registries by kind, each started when it is first asked for."""

    def __init__(self, running: contextlib.ExitStack) -> None:
        self._running = running

    def __missing__(self, kind: str) -> Distribution:
        self[kind] = self._running.enter_context(GUARDED[kind]())
        return self[kind]


def options_for(registry: Distribution, folder: Path) -> StoreOptions:
    """What it takes to get in."""
    options = StoreOptions(ca_file=registry.ca_file)
    if registry.username is not None:
        config = registry.write_docker_config(folder) / "config.json"
        options = replace(options, docker_config=config.read_bytes())
    if registry.client is not None:
        pair = registry.client
        certificate = ClientCertificate(
            certificate=pair.certificate.read_bytes(), key=pair.key.read_bytes()
        )
        options = replace(options, client_certificate=certificate)
    return options


@pytest.fixture(params=["distribution", "referrers", *GUARDED, "layout", "archive"])
def opener(
    request: pytest.FixtureRequest, tmp_path: Path, guarded: dict[str, Distribution]
) -> Opener:
    """Opens the store under test, a repository of its own for each test."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    if request.param in ("layout", "archive"):
        place = (
            f"layout:{tmp_path}/store"
            if request.param == "layout"
            else f"archive:{tmp_path}/store.tar"
        )
        return lambda: open_store(parse_reference(place))
    options = None
    if request.param in GUARDED:
        registry: Registry = guarded[request.param]
        options = options_for(guarded[request.param], tmp_path / "docker")
    else:
        fixture = "distribution" if request.param == "distribution" else "referrers_registry"
        registry = request.getfixturevalue(fixture)
    return lambda: open_store(parse_reference(f"{registry.host}/{name}/x"), options)


def run(opener: Opener, story: Callable[[Store], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opener() as store:
            await story(store)

    asyncio.run(main())


async def push(
    store: Store, text: bytes, tag: str | None = None, subject: Descriptor | None = None
) -> Manifest:
    layer = describe(text, "text/plain")
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(layer, text)
    manifest = build_manifest(
        config=EMPTY_CONFIG, layers=(layer,), artifact_type=TYPE, subject=subject
    )
    await store.push_manifest(manifest, tag)
    return manifest


def test_pulled_content_equals_pushed_content(opener: Opener) -> None:
    async def story(store: Store) -> None:
        made = await push(store, b"content", "v1")
        for target in ("v1", made.descriptor.digest):
            found = await store.resolve(target)
            assert (found.digest, found.size) == (made.descriptor.digest, len(made.raw))
            fetched = await store.fetch_manifest(target)
            assert fetched.raw == made.raw
        assert await store.fetch_blob(made.layers[0], limit=100) == b"content"
        assert await store.has_blob(made.layers[0])

    run(opener, story)


def test_missing_content_raises_not_found(opener: Opener) -> None:
    async def story(store: Store) -> None:
        await push(store, b"content", "v1")
        absent = describe(b"absent", "text/plain")
        for target in ("v2", absent.digest):
            with pytest.raises(NotFound):
                await store.resolve(target)
            with pytest.raises(NotFound):
                await store.fetch_manifest(target)
        with pytest.raises(NotFound):
            await store.fetch_blob(absent, limit=100)
        assert not await store.has_blob(absent)
        assert await store.referrers(absent.digest) == []

    run(opener, story)


def test_a_blob_is_sent_once(opener: Opener) -> None:
    async def story(store: Store) -> None:
        blob = describe(b"once", "text/plain")
        assert await store.push_blob(blob, b"once")
        assert not await store.push_blob(blob, b"once")

    run(opener, story)


def test_a_large_blob_is_streamed_from_a_file_and_read_in_chunks(
    opener: Opener, tmp_path: Path
) -> None:
    content = b"0123456789abcdef" * 400_000
    path = tmp_path / "large"
    path.write_bytes(content)

    async def story(store: Store) -> None:
        blob = describe(content, "application/octet-stream")
        await store.push_blob(blob, path)
        pieces = [piece async for piece in store.stream_blob(blob)]
        assert len(pieces) > 1
        assert b"".join(pieces) == content
        with pytest.raises(LimitExceeded):
            await store.fetch_blob(blob, limit=1000)

    run(opener, story)


def test_an_empty_blob_is_a_blob(opener: Opener) -> None:
    async def story(store: Store) -> None:
        blob = describe(b"", "text/plain")
        await store.push_blob(blob, b"")
        assert await store.fetch_blob(blob, limit=0) == b""

    run(opener, story)


def test_a_blob_of_another_size_than_described_is_refused(opener: Opener) -> None:
    async def story(store: Store) -> None:
        blob = describe(b"content", "text/plain")
        await store.push_blob(blob, b"content")
        for size in (3, 70):
            lie = Descriptor(media_type="text/plain", digest=blob.digest, size=size)
            with pytest.raises(DigestMismatch):
                await store.fetch_blob(lie, limit=100)

    run(opener, story)


def test_a_tag_moves(opener: Opener) -> None:
    async def story(store: Store) -> None:
        first, second = await push(store, b"1", "v"), await push(store, b"2", "v")
        assert (await store.resolve("v")).digest == second.descriptor.digest
        assert (await store.resolve(first.descriptor.digest)).digest == first.descriptor.digest

    run(opener, story)


def test_tags_are_listed_in_order_however_many(opener: Opener) -> None:
    async def story(store: Store) -> None:
        made = await push(store, b"content", "t0")
        names = [f"t{number}" for number in range(1, 40)]
        for name in names:
            await store.push_manifest(made, name)
        assert await store.tags() == sorted(["t0", *names])

    run(opener, story)


def test_referrers_are_listed_by_type(opener: Opener) -> None:
    async def story(store: Store) -> None:
        subject = await push(store, b"subject", "v1")
        other = await push(store, b"other", "v2")
        made = [await push(store, f"r{n}".encode(), subject=subject.descriptor) for n in range(3)]
        found = await store.referrers(subject.descriptor.digest, TYPE)
        assert {item.digest for item in found} == {item.descriptor.digest for item in made}
        assert await store.referrers(other.descriptor.digest, TYPE) == []
        again = await push(store, b"r0", subject=subject.descriptor)
        assert again.descriptor.digest == made[0].descriptor.digest
        assert len(await store.referrers(subject.descriptor.digest)) == 3

    run(opener, story)


def test_writers_of_referrers_at_once_lose_none(opener: Opener) -> None:
    async def story(store: Store) -> None:
        subject = await push(store, b"subject", "v1")
        made = await asyncio.gather(
            *(push(store, f"r{n}".encode(), subject=subject.descriptor) for n in range(6))
        )
        found = await store.referrers(subject.descriptor.digest, TYPE)
        assert {item.digest for item in found} == {item.descriptor.digest for item in made}

    run(opener, story)


def test_two_writers_of_referrers_lose_none(opener: Opener) -> None:
    """Each with a connection of its own, as two CI jobs that sign at once."""

    async def story(store: Store) -> None:
        if store.reference.scheme == "archive":
            pytest.skip("an archive has one writer at a time, and says so")
        subject = await push(store, b"subject", "v1")

        async def job(name: str) -> list[Manifest]:
            async with opener() as own:
                return [
                    await push(own, f"{name}{n}".encode(), subject=subject.descriptor)
                    for n in range(3)
                ]

        made = [item for part in await asyncio.gather(job("a"), job("b")) for item in part]
        found = await store.referrers(subject.descriptor.digest, TYPE)
        assert {item.digest for item in found} == {item.descriptor.digest for item in made}

    run(opener, story)


def test_a_deleted_referrer_is_no_longer_listed(opener: Opener) -> None:
    async def story(store: Store) -> None:
        subject = await push(store, b"subject", "v1")
        made = [await push(store, f"r{n}".encode(), subject=subject.descriptor) for n in range(2)]
        await store.delete(made[0].descriptor.digest)
        found = await store.referrers(subject.descriptor.digest)
        assert [item.digest for item in found] == [made[1].descriptor.digest]

    run(opener, story)


def test_an_index_is_kept_as_it_is(opener: Opener) -> None:
    async def story(store: Store) -> None:
        made = await push(store, b"content")
        index = build_index((made.descriptor,))
        await store.push_manifest(index, "all")
        assert (await store.fetch_manifest("all")).raw == index.raw

    run(opener, story)


def test_a_manifest_is_deleted_by_its_digest(opener: Opener) -> None:
    async def story(store: Store) -> None:
        made = await push(store, b"content", "v1")
        await store.delete(made.descriptor.digest)
        with pytest.raises(NotFound):
            await store.resolve(made.descriptor.digest)
        with pytest.raises(NotFound):
            await store.delete(made.descriptor.digest)

    run(opener, story)


def test_a_registry_that_requires_a_login_gives_an_unauthorized_error() -> None:
    async def story(options: StoreOptions) -> None:
        async with open_store(parse_reference(f"{registry.host}/a/b"), options) as store:
            await store.resolve("v1")

    wrong = b'{"auths":{"HOST":{"username":"testbed","password":"hunter2"}}}'
    with Distribution(auth=True) as registry:
        for config in (b"{}", wrong.replace(b"HOST", registry.host.encode())):
            with pytest.raises(Unauthorized) as caught:
                asyncio.run(story(StoreOptions(docker_config=config)))
            assert "hunter2" not in str(caught.value)


def test_an_untrusted_certificate_is_named_in_the_error() -> None:
    async def story() -> None:
        options = StoreOptions(ca_file=other.ca_file)
        async with open_store(parse_reference(f"{registry.host}/a/b"), options) as store:
            await store.resolve("v1")

    with (
        Distribution(tls=True) as registry,
        Distribution(tls=True) as other,
        pytest.raises(Unavailable, match="--ca-file"),
    ):
        asyncio.run(story())


def test_http_2_is_spoken_where_it_is_offered(
    guarded: dict[str, Distribution], distribution: Distribution, tmp_path: Path
) -> None:
    async def version(registry: Distribution) -> str:
        options = options_for(registry, tmp_path)
        async with (
            RegistryStore(parse_reference(f"{registry.host}/a/b"), options) as store,
            store._http.stream("GET", "/v2/", scope="", doing="look") as response,
        ):
            return response.http_version

    assert asyncio.run(version(guarded["tls"])) == "HTTP/2"
    assert asyncio.run(version(distribution)) == "HTTP/1.1"


def test_a_client_certificate_is_presented_to_a_registry_that_requires_one(
    guarded: dict[str, Distribution], tmp_path: Path
) -> None:
    registry = guarded["mutual-tls"]
    # Whether the reason is read before the connection breaks is a matter of luck: each way the
    # message says what helps.
    options = replace(options_for(registry, tmp_path), client_certificate=None)

    async def story() -> None:
        async with RegistryStore(parse_reference(f"{registry.host}/a/b"), options) as store:
            store._http.sleep = lambda seconds: asyncio.sleep(0)
            await store.resolve("v1")

    with pytest.raises(Unavailable, match="--client-cert"):
        asyncio.run(story())


def test_certificates_are_read_from_the_folders_of_docker_and_podman(
    guarded: dict[str, Distribution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = guarded["mutual-tls"]
    assert registry.ca_file is not None
    assert registry.client is not None
    folder = tmp_path / ".config" / "containers" / "certs.d" / registry.host
    folder.mkdir(parents=True)
    shutil.copy(registry.ca_file, folder / "ca.crt")
    shutil.copy(registry.client.certificate, folder / "client.cert")
    shutil.copy(registry.client.key, folder / "client.key")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = (registry.write_docker_config(tmp_path / "docker") / "config.json").read_bytes()

    async def story(store: Store) -> None:
        await push(store, b"content", "v1")
        await store.resolve("v1")

    options = StoreOptions(docker_config=config)
    run(lambda: open_store(parse_reference(f"{registry.host}/certs/d"), options), story)


def test_an_identity_token_buys_access_tokens(guarded: dict[str, Distribution]) -> None:
    registry = guarded["token"]
    assert registry.tokens is not None
    entry = {"identitytoken": registry.tokens.refresh_token}
    config = json.dumps({"auths": {registry.host: entry}}).encode()

    async def story(store: Store) -> None:
        await push(store, b"content", "v1")

    options = StoreOptions(docker_config=config)
    run(lambda: open_store(parse_reference(f"{registry.host}/identity/x"), options), story)


def test_one_token_is_enough_for_many_requests_at_once(
    guarded: dict[str, Distribution], tmp_path: Path
) -> None:
    registry = guarded["token"]
    assert registry.tokens is not None
    options = options_for(registry, tmp_path)
    registry.tokens.asked.clear()

    async def story(store: Store) -> None:
        absent = [describe(str(n).encode(), "text/plain") for n in range(12)]
        assert not any(await asyncio.gather(*(store.has_blob(blob) for blob in absent)))
        assert not any(await asyncio.gather(*(store.has_blob(blob) for blob in absent)))

    run(lambda: open_store(parse_reference(f"{registry.host}/many/x"), options), story)
    assert registry.tokens.asked == ["repository:many/x:pull"]


def test_stores_that_share_clients_share_tokens_with_the_same_credentials_and_no_others(
    guarded: dict[str, Distribution], tmp_path: Path
) -> None:
    registry = guarded["token"]
    assert registry.tokens is not None
    asked = registry.tokens.asked
    reference = parse_reference(f"{registry.host}/shared/x")
    right = options_for(registry, tmp_path)
    pair = base64.b64encode(f"{registry.username}:wrong".encode()).decode()
    wrong = json.dumps({"auths": {registry.host: {"auth": pair}}}).encode()
    nothing = json.dumps({"auths": {}}).encode()

    async def story() -> None:
        async with Clients() as clients:

            async def look(config: bytes | None) -> None:
                options = replace(right, docker_config=config, clients=clients)
                async with open_store(reference, options) as store:
                    with pytest.raises(NotFound):
                        await store.resolve("v1")

            asked.clear()
            for _ in range(3):
                await look(right.docker_config)
            assert asked == ["repository:shared/x:pull"]
            for config in (wrong, nothing, wrong):
                asked.clear()
                with pytest.raises(Unauthorized):
                    await look(config)
                assert asked == ["repository:shared/x:pull"], "it has to ask for itself"
            asked.clear()
            await look(right.docker_config)
            assert asked == [], "what others were refused changes nothing"

    asyncio.run(story())
