"""Store over HTTP: one repository of a registry, by the OCI distribution spec 1.1."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import httpx2 as httpx

from ocistate.canonical import DIGEST_PATTERN, digest_of, parse_json
from ocistate.errors import (
    DigestMismatch,
    LimitExceeded,
    NotFound,
    ProtocolError,
)
from ocistate.oci.model import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    EMPTY_JSON,
    INDEX,
    INDEX_TYPES,
    MANIFEST,
    Descriptor,
    Index,
    Manifest,
    parse_index,
    parse_manifest,
)
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.download import download
from ocistate.oci.registry.fallback import FallbackTags
from ocistate.oci.registry.http import Http, SmallResponse
from ocistate.oci.registry.upload import Uploader
from ocistate.oci.source import BlobSource
from ocistate.oci.store import MAX_MANIFEST_BYTES
from ocistate.reference import NAME_PATTERN, TAG_PATTERN, Reference
from ocistate.text import whole_number

_ACCEPT: Final = {"Accept": ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))}
_MAX_PAGES: Final = 200
_MAX_NAMES: Final = 500_000
_MAX_NAME_PAGES: Final = 5_000
"""Some registries put no more than 50 or 100 names on one, whatever they are asked for."""
_MAX_NAMES_BYTES: Final = 64 * 1024 * 1024
_MAX_REFERRERS: Final = 100_000
_MAX_REFERRERS_BYTES: Final = 16 * 1024 * 1024


class RegistryStore:
    """One repository of a registry."""

    def __init__(self, reference: Reference, options: StoreOptions) -> None:
        self._reference = reference.base
        self._name = reference.repository
        self._http = Http(reference.registry, options, repository=self._name)
        self._uploader = Uploader(
            http=self._http,
            path=f"/v2/{self._name}/blobs/uploads/",
            scope=self._scope(push=True),
        )
        self._fallback = FallbackTags(
            reference=self._reference,
            fetch=self.fetch_manifest,
            put=self._put_manifest,
            http=self._http,
        )
        self._lists_by_tag: bool | None = None

    @property
    def reference(self) -> Reference:
        return self._reference

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    # Manifests

    async def resolve(self, target: str) -> Descriptor:
        answer = await self._send(
            "HEAD", f"manifests/{target}", f"looking up {self._where(target)}", headers=_ACCEPT
        )
        digest = answer.headers.get("docker-content-digest", "")
        size = whole_number(answer.headers.get("content-length", ""))
        media_type = _media_type(answer.headers)
        if not (DIGEST_PATTERN.fullmatch(digest) and size is not None and media_type):
            # The header is optional in the spec; then only the bytes themselves show it.
            return (await self.fetch_manifest(target)).descriptor
        self._check_target(target, digest)
        return Descriptor(media_type=media_type, digest=digest, size=size)

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        answer = await self._send(
            "GET",
            f"manifests/{target}",
            f"fetching {self._where(target)}",
            headers=_ACCEPT,
            limit=MAX_MANIFEST_BYTES,
        )
        digest = digest_of(answer.body)
        self._check_target(target, digest)
        claimed = answer.headers.get("docker-content-digest", digest)
        if claimed != digest:
            raise DigestMismatch(
                f"{self._http.host} announces {self._where(target)} as {claimed[:80]!r}, "
                f"its bytes are {digest}"
            )
        media_type = _media_type(answer.headers)
        if media_type in INDEX_TYPES:
            return parse_index(answer.body, media_type)
        if media_type not in (MANIFEST, DOCKER_MANIFEST):
            raise ProtocolError(
                f"{self._where(target)} is served as {media_type or 'nothing'!r}",
                hint="this is not an OCI registry, or something in between answers for it",
            )
        return parse_manifest(answer.body, media_type)

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        descriptor = manifest.descriptor
        subject = manifest.subject
        answer = await self._put_manifest(manifest, tag or descriptor.digest)
        if tag is None and subject is not None and "oci-subject" not in answer.headers:
            # Distribution spec 1.1, "Pushing manifests with subject": then it is up to us.
            await self._fallback.add(manifest, subject)
        return descriptor

    async def _put_manifest(self, manifest: Manifest | Index, target: str) -> SmallResponse:
        answer = await self._send(
            "PUT",
            f"manifests/{target}",
            f"pushing {self._where(target)}",
            headers={"Content-Type": manifest.descriptor.media_type},
            body=manifest.raw,
            accept=(200, 201, 202),
            push=True,
        )
        kept = answer.headers.get("docker-content-digest", manifest.descriptor.digest)
        if kept != manifest.descriptor.digest:
            raise DigestMismatch(
                f"{self._http.host} was sent {manifest.descriptor.digest} and keeps {kept[:80]!r}",
                hint="the registry or something in between changes what it is sent",
            )
        return answer

    async def delete(self, target: str) -> None:
        gone = await self._referrer(target) if DIGEST_PATTERN.fullmatch(target) else None
        await self._send(
            "DELETE",
            f"manifests/{target}",
            f"deleting {self._where(target)}",
            accept=(200, 202),
            delete=True,
        )
        if gone is not None and gone.subject is not None:
            await self._fallback.remove(gone, gone.subject)

    async def _referrer(self, digest: str) -> Manifest | Index | None:
        """The manifest, if it is a referrer that a fallback tag lists."""
        with contextlib.suppress(ProtocolError):
            found = await self.fetch_manifest(digest)
            if found.subject is not None and await self._needs_fallback(found.subject.digest):
                return found
        return None

    async def _needs_fallback(self, digest: str) -> bool:
        """Whether the registry has no referrers API; one request for any digest shows it."""
        if self._lists_by_tag is None:
            answer = await self._send(
                "GET", f"referrers/{digest}", f"asking {self._http.host} for its referrers API",
                limit=MAX_MANIFEST_BYTES, accept=(200, 400, 404, 405), headers=_ACCEPT,
            )  # fmt: skip
            self._lists_by_tag = answer.status != 200 or _media_type(answer.headers) != INDEX
        return self._lists_by_tag

    async def sweep(self) -> int:
        return 0  # a registry frees what it holds when it sees fit

    # Tags and referrers

    async def tags(self) -> list[str]:
        doing = f"listing the tags of {self._reference}"
        path = f"/v2/{self._name}/tags/list?n=1000"
        return sorted(await self._names(path, "tags", TAG_PATTERN, self._scope(), doing))

    async def repositories(self) -> list[str]:
        """All repositories of the registry, sorted, as far as it shows them.

        Raises NotFound when it has no such list.
        """
        doing = f"listing the repositories of {self._http.host}"
        try:
            names = await self._names(
                "/v2/_catalog?n=1000", "repositories", NAME_PATTERN, "registry:catalog:*", doing
            )
        except NotFound:
            raise NotFound(
                f"{self._http.host} does not list its repositories",
                hint=f"name one: ocistate ls {self._http.host}/NAME",
            ) from None
        return sorted(names)

    async def _names(
        self, path: str, key: str, pattern: re.Pattern[str], scope: str, doing: str
    ) -> set[str]:
        """A list of names that match the pattern, all its pages. Raises LimitExceeded."""
        names: set[str] = set()
        size = 0
        for _ in range(_MAX_NAME_PAGES):
            answer = await self._http.send(
                "GET", path, scope=scope, doing=doing, limit=MAX_MANIFEST_BYTES
            )
            value = _json(answer, doing)
            # A repository without tags answers null in some registries.
            found = (value.get(key) or []) if isinstance(value, dict) else None
            if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
                raise ProtocolError(f"{doing}: the answer holds no list of {key}")
            known = len(names)
            names.update(filter(pattern.fullmatch, found))
            size += len(answer.body)
            if len(names) > _MAX_NAMES:
                raise LimitExceeded(f"{doing}: more than {_MAX_NAMES}")
            if size > _MAX_NAMES_BYTES:
                raise LimitExceeded(f"{doing}: more than {_MAX_NAMES_BYTES} bytes")
            path = self._next(answer) if len(names) > known else ""
            if not path:
                return names
        raise LimitExceeded(f"{doing}: more than {_MAX_NAME_PAGES} pages")

    async def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        doing = f"listing what refers to {digest[:19]} in {self._reference}"
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        path = f"/v2/{self._name}/referrers/{digest}{query}"
        found: dict[str, Descriptor] = {}
        size = 0
        for _ in range(_MAX_PAGES):
            answer = await self._send(
                "GET", path, doing, limit=MAX_MANIFEST_BYTES, accept=(200, 404), headers=_ACCEPT
            )
            size += len(answer.body)
            if size > _MAX_REFERRERS_BYTES:
                raise LimitExceeded(f"{doing}: more than {_MAX_REFERRERS_BYTES} bytes")
            if answer.status == 404 or _media_type(answer.headers) != INDEX:
                index = await self._fallback.read(digest)
                found |= {item.digest: item for item in index.manifests}
                break
            known = len(found)
            found |= {item.digest: item for item in parse_index(answer.body).manifests}
            if len(found) > _MAX_REFERRERS:
                raise LimitExceeded(f"{doing}: more than {_MAX_REFERRERS}")
            path = self._next(answer) if len(found) > known else ""
            if not path:
                break
        else:
            raise LimitExceeded(f"{doing}: more than {_MAX_PAGES} pages")
        # A registry may pass over the filter (distribution spec 1.1, "Listing Referrers"), and some
        # name the config's type instead: what may be of the type is left for its reader to see.
        possible = (artifact_type, None, EMPTY_JSON)
        return [
            item
            for item in found.values()
            if artifact_type is None or item.artifact_type in possible
        ]

    # Blobs

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        if descriptor.size > limit:
            raise LimitExceeded(
                f"{descriptor.digest} in {self._reference} has {descriptor.size} bytes, "
                f"more than the {limit} that are read of such a thing"
            )
        if descriptor.data:
            return descriptor.data
        return b"".join([piece async for piece in self.stream_blob(descriptor)])

    def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        return download(
            self._http,
            f"/v2/{self._name}/blobs/{descriptor.digest}",
            descriptor,
            scope=self._scope(),
            doing=f"fetching the blob {descriptor.digest[:19]} of {self._reference}",
        )

    async def has_blob(self, descriptor: Descriptor) -> bool:
        answer = await self._send(
            "HEAD",
            f"blobs/{descriptor.digest}",
            f"looking for the blob {descriptor.digest[:19]} in {self._reference}",
            accept=(200, 404),
        )
        return answer.status == 200

    async def push_blob(self, descriptor: Descriptor, source: BlobSource) -> bool:
        if await self.has_blob(descriptor):
            return False
        doing = f"pushing the blob {descriptor.digest[:19]} to {self._reference}"
        await self._uploader.upload(descriptor, source, doing=doing)
        return True

    async def mount_blob(self, descriptor: Descriptor, origin: Reference) -> bool:
        if origin.scheme != "oci" or origin.registry != self._reference.registry:
            return False
        name = origin.repository
        return await self._uploader.mount(
            descriptor,
            name,
            doing=f"taking the blob {descriptor.digest[:19]} of {name} over to {self._reference}",
            scopes=f"{self._scope(push=True)} repository:{name}:pull",
        )

    # Requests

    async def _send(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        push: bool = False,
        delete: bool = False,
        **more: Any,
    ) -> SmallResponse:
        url = path if path.startswith(("/", "http")) else f"/v2/{self._name}/{path}"
        scope = self._scope(push=push, delete=delete)
        return await self._http.send(method, url, scope=scope, doing=doing, **more)

    def _scope(self, *, push: bool = False, delete: bool = False) -> str:
        actions = "delete" if delete else "pull,push" if push else "pull"
        return f"repository:{self._name}:{actions}"

    def _where(self, target: str) -> str:
        reference = self._reference
        return f"{reference}@{target}" if target.startswith("sha256:") else f"{reference}:{target}"

    def _check_target(self, target: str, digest: str) -> None:
        if target.startswith("sha256:") and target != digest:
            raise DigestMismatch(
                f"{self._http.host} answered with {digest} when asked for {target}",
                hint="the registry or something in between is broken or was tampered with",
            )

    def _next(self, answer: SmallResponse) -> str:
        """RFC 8288: the ``Link`` to the next page; it must stay on this registry."""
        link = httpx.Response(200, headers=answer.headers).links.get("next", {}).get("url")
        if not link:
            return ""
        target = self._http.check_location(answer.url, link)
        if urlsplit(target).netloc != urlsplit(self._http.base).netloc:
            raise ProtocolError(f"{self._http.host} leads to another host for the next page")
        return target


def _media_type(headers: httpx.Headers) -> str:
    kind: str = headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _json(answer: SmallResponse, doing: str) -> Any:
    try:
        return parse_json(answer.body)
    except ValueError:
        raise ProtocolError(f"{doing}: the answer is not JSON") from None
