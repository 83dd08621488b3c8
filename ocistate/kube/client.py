"""One Kubernetes client: plain dicts over lightkube's session.

    async with KubeClient.open(context="kind-dev") as client:
        await client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": …})
        pods = await client.kind("", "Pod")
        listing = await client.list(pods, "shop", label_selector="app=web")
        async with aclosing(client.watch(pods, "shop", since=listing.resource_version)) as events:
            async for type_, obj in events: …

What may be repeated safely is repeated by itself: on 429, and where the request is idempotent also
on connection errors and 502, 503, 504, with the server's Retry-After or a growing pause. Errors are
`StatusError` (what the server said) and `ClusterUnavailable`; neither holds bodies or credentials.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote

from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.answer import MAX_PAGE, AnswerTooLarge
from ocistate.kube.discovery import ApiResource, Kinds, parse_discovery
from ocistate.kube.errors import UNKNOWN_KIND, StatusError, status_error
from ocistate.kube.kubeconfig import ClusterAccess, find_access
from ocistate.kube.transport import (
    APPLY_PATCH,
    DISCOVERY,
    JSON,
    METADATA,
    METADATA_LIST,
    HeaderItems,
    Transport,
)
from ocistate.labels import FIELD_MANAGER
from ocistate.objects import ObjectId, object_id

_PATCH_TYPES: Final = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}
_PAGE: Final = 500
_MAX_PAGES: Final = 10_000
_MAX_LISTED: Final = 100_000
"""Objects that are held at once: each takes some kilobytes."""
_MAX_LISTED_BYTES: Final = 128 * 1024 * 1024
# Bookmarks come about once a minute: a watch that is silent for longer is a dead connection.
_SILENCE: Final = 100.0
_DISCOVERY_AGE: Final = 1.0
_KINDS: Final = "discover the kinds served"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectList:
    """All objects of a list, and the version of the collection: the point to watch from."""

    items: list[dict[str, Any]]
    resource_version: str


@dataclass(slots=True)
class _Discovered:
    """What discovery told, shared by all users of one connection."""

    lock: asyncio.Lock
    kinds: Kinds
    at: float | None = None


class KubeClient:
    """Requests to one API server as one user. Open it with `KubeClient.open`."""

    def __init__(
        self, transport: Transport, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._headers: HeaderItems = transport.access.impersonate
        self._discovered = _Discovered(asyncio.Lock(), Kinds())
        self._clock = clock
        self._guard: Callable[[], None] | None = None

    @classmethod
    def open(cls, kubeconfig: str | Path | None = None, context: str | None = None) -> Self:
        """A client for the kubeconfig and context given, else as `find_access` finds them.

        Sends nothing yet. Raises ConfigError.
        """

        def find() -> ClusterAccess:
            return find_access(kubeconfig, context)

        return cls(Transport(find(), again=find))

    def apart(self) -> Self:
        """The same server and user over connections of its own; close it by itself."""
        return type(self)(self._transport.apart(), clock=self._clock)

    def locked_out(self) -> tuple[float, str]:
        """For how many seconds the server has let nothing of ours in, or has not been trusted,
        and why; 0 when all is well."""
        return self._transport.locked_out()

    @property
    def access(self) -> ClusterAccess:
        """Which cluster, context and default namespace this client is for."""
        return self._transport.access

    def impersonating(self, user: str, groups: Sequence[str] = ()) -> Self:
        """The same connections, acting as another user (`service_account` makes the name of one).

        Needs the right to impersonate. Close only the client this came from.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._headers = (
            ("Impersonate-User", user),
            *(("Impersonate-Group", group) for group in groups),
        )
        return other

    def guarded(self, guard: Callable[[], None]) -> Self:
        """The same connections, for writes that ``guard`` allows: it raises before any other one.

        It is asked again before a write is repeated. Close only the client this came from.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._guard = guard
        return other

    def on_answers(self, on_answer: Callable[[str, int], None]) -> None:
        """Call this with the method and status of every answer; status 0 is none."""
        self._transport.on_answer = on_answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    # Kinds

    async def kinds(self, *, max_age: float | None = None) -> Kinds:
        """What the cluster serves; read again when that was more than ``max_age`` seconds ago."""
        found = self._discovered
        asked = self._clock()
        async with found.lock:
            if found.at is None or (max_age is not None and asked - found.at >= max_age):
                documents = [
                    codec.decode(
                        await self._transport.send("GET", path, doing=_KINDS, accept=DISCOVERY)
                    )
                    for path in ("/api", "/apis")
                ]
                try:
                    found.kinds = parse_discovery(documents)
                except (ValueError, KeyError) as error:
                    raise ClusterError(
                        f"{_KINDS}: {error}", hint="Kubernetes 1.27 or newer is needed"
                    ) from None
                found.at = self._clock()
        return found.kinds

    async def kind(self, group: str, kind: str, version: str = "") -> ApiResource:
        """The resource of a kind, looked up again when it is not known yet.

        Raises StatusError with status 404 and code `UNKNOWN_KIND` when it is not served.
        """
        found = self._discovered.kinds.find(group, kind, version)
        if found is None:
            found = (await self.kinds(max_age=_DISCOVERY_AGE)).find(group, kind, version)
        if found is None:
            raise unknown_kind(self._discovered.kinds, group, kind, version)
        return found

    async def open_api(self, group: str, version: str) -> bytes:
        """The OpenAPI document of a group in one version, which whoever may log in may read."""
        return await self._transport.send(
            "GET",
            f"/openapi/v3/apis/{quote(group, safe='')}/{quote(version, safe='')}",
            doing=f"read the schemas of {group}/{version}",
            headers=self._headers,
        )

    # One object

    async def get(
        self, id: ObjectId, *, version: str = "", metadata_only: bool = False
    ) -> dict[str, Any] | None:
        """The object, or None when there is none."""
        resource = await self.kind(id.group, id.kind, version)
        try:
            data = await self._transport.send(
                "GET",
                resource.path(id.namespace, id.name),
                doing=f"get {id}",
                headers=self._headers,
                accept=METADATA if metadata_only else JSON,
            )
        except StatusError as error:
            if error.status == 404:
                return None
            raise
        return _typed(codec.decode(data), resource)

    async def apply(
        self,
        obj: Mapping[str, Any],
        *,
        manager: str = FIELD_MANAGER,
        force: bool = True,
        dry_run: bool = False,
        subresource: str = "",
        metadata_only: bool = False,
        validation: str = "Strict",
    ) -> dict[str, Any]:
        """Server-side apply, as field manager ``manager``; the live object is returned.

        Without ``force``, fields that another manager holds raise StatusError 409 with
        `StatusError.conflicts`. ``validation`` is Strict, Warn or Ignore.
        """
        data = await self.apply_raw(
            obj,
            manager=manager,
            force=force,
            dry_run=dry_run,
            subresource=subresource,
            accept=METADATA if metadata_only else JSON,
            validation=validation,
        )
        answer: dict[str, Any] = codec.decode(data)
        answer.update(apiVersion=obj["apiVersion"], kind=obj["kind"])
        return answer

    async def apply_raw(
        self,
        obj: Mapping[str, Any],
        *,
        manager: str = FIELD_MANAGER,
        force: bool = True,
        dry_run: bool = False,
        subresource: str = "",
        accept: str = METADATA,
        validation: str = "Strict",
    ) -> bytes:
        """As `apply`, returning the answer's bytes."""
        id = object_id(obj)
        resource = await self.kind(id.group, id.kind, obj["apiVersion"].rpartition("/")[2])
        query = {"fieldManager": manager, "fieldValidation": validation}
        if force:
            query["force"] = "true"
        if dry_run:
            query["dryRun"] = "All"
        return await self._transport.send(
            "PATCH",
            _sub(resource.path(id.namespace, id.name), subresource),
            doing=f"apply {id}",
            guard=self._guard,
            headers=self._headers,
            query=query,
            body=obj,
            content_type=APPLY_PATCH,
            accept=accept,
            secret=id.kind == "Secret",
        )

    async def create(
        self, obj: Mapping[str, Any], *, manager: str = FIELD_MANAGER, dry_run: bool = False
    ) -> dict[str, Any]:
        """Create the object; StatusError 409 with code AlreadyExists when it is there.

        Not repeated after a lost connection, since it may have happened.
        """
        id = object_id(obj)
        resource = await self.kind(id.group, id.kind, obj["apiVersion"].rpartition("/")[2])
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        data = await self._transport.send(
            "POST",
            resource.path(id.namespace),
            doing=f"create {id}",
            guard=self._guard,
            headers=self._headers,
            query=query,
            body=obj,
            idempotent=False,
            secret=id.kind == "Secret",
        )
        return _typed(codec.decode(data), resource)

    async def patch(
        self,
        id: ObjectId,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        type: Literal["merge", "json"] = "merge",
        subresource: str = "",
        manager: str = FIELD_MANAGER,
        version: str = "",
        metadata_only: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Patch an object, or its ``status``: ``type`` is "merge" or "json" (a JSON patch).

        Put ``metadata.resourceVersion`` in a merge patch to have a concurrent change refused (409).
        """
        resource = await self.kind(id.group, id.kind, version)
        data = await self._transport.send(
            "PATCH",
            _sub(resource.path(id.namespace, id.name), subresource),
            doing=f"patch {id}",
            guard=self._guard,
            headers=self._headers,
            query={"fieldManager": manager, **({"dryRun": "All"} if dry_run else {})},
            body=patch,
            content_type=_PATCH_TYPES[type],
            accept=METADATA if metadata_only else JSON,
            idempotent=type == "merge",
            secret=id.kind == "Secret",
        )
        return _typed(codec.decode(data), resource)

    async def delete(
        self,
        id: ObjectId,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
        dry_run: bool = False,
        version: str = "",
    ) -> bool:
        """Delete an object; False when there is none.

        ``uid`` and ``resource_version`` name the very object that is meant: another one is left
        alone, with StatusError 409. ``propagation`` is Background, Foreground or Orphan.
        """
        resource = await self.kind(id.group, id.kind, version)
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if given := {key: value for key, value in preconditions.items() if value}:
            options["preconditions"] = given
        if dry_run:
            options["dryRun"] = ["All"]
        try:
            await self._transport.send(
                "DELETE",
                resource.path(id.namespace, id.name),
                doing=f"delete {id}",
                guard=self._guard,
                headers=self._headers,
                body=options,
                accept=METADATA,
            )
        except StatusError as error:
            if error.status == 404:
                return False
            raise
        return True

    # Many objects

    async def list(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = _PAGE,
    ) -> ObjectList:
        """All objects of a kind, page by page; begun again when the pages expire (410)."""
        restarts = 0
        while True:
            items: list[dict[str, Any]] = []
            version, size = "", 0
            try:
                async for page in self.pages(
                    resource,
                    namespace,
                    label_selector=label_selector,
                    field_selector=field_selector,
                    metadata_only=metadata_only,
                    limit=limit,
                ):
                    answer = codec.decode_as(codec.SHALLOW, page)
                    items.extend(_typed(item, resource) for item in answer.get("items") or ())
                    version = answer["metadata"].get("resourceVersion", "")
                    size += len(page)
                    if len(items) > _MAX_LISTED or size > _MAX_LISTED_BYTES:
                        raise _too_many(_about("list", resource, namespace), len(items))
            except StatusError as error:
                restarts += 1
                if not error.gone or restarts > 3:
                    raise
                # Pages that expire while we read them: ask for more at a time, then for all.
                limit = limit * 4 if restarts < 3 else 0
                continue
            return ObjectList(items=items, resource_version=version)

    async def pages(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = _PAGE,
    ) -> AsyncGenerator[bytes, None]:
        """The pages of a list as they came; fewer objects at a time where a page is too large.

        Raises StatusError with ``gone`` when they expire: what was read is then no consistent
        state."""
        query = {"limit": str(limit)} if limit else {}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        pages = 0
        while True:
            try:
                data = await self._transport.send(
                    "GET",
                    resource.path(namespace),
                    doing=_about("list", resource, namespace),
                    headers=self._headers,
                    query=query,
                    accept=METADATA_LIST if metadata_only else JSON,
                    limit=MAX_PAGE,
                )
            except AnswerTooLarge:
                if limit == 1:
                    raise
                limit = (limit or _PAGE) // 8 or 1
                query["limit"] = str(limit)
                continue
            yield data
            pages += 1
            query["continue"] = codec.decode_as(codec.PAGE, data).metadata.token
            if not query["continue"]:
                return
            if pages == _MAX_PAGES:
                raise _too_many(_about("list", resource, namespace), pages, "pages")

    async def went_back(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        since: str,
        label_selector: str = "",
    ) -> bool:
        """Whether the server is in an earlier state than ``since``, as after its etcd was restored:
        a watch from there would be silent until it is reached again. Raises as `pages`."""
        pages = self.pages(
            resource, namespace, label_selector=label_selector, metadata_only=True, limit=1
        )
        async with aclosing(pages):
            async for page in pages:
                version = codec.decode_as(codec.PAGE, page).metadata.resourceVersion
                return version_number(version) < version_number(since)
        return False

    async def watch(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        since: str,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        timeout: float = 300.0,
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Events (``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK``; object) after ``since``.

        Ends when the server ends it, within ``timeout`` seconds: go on from the last
        resourceVersion seen. Raises StatusError (``gone``: list again) and ClusterUnavailable.
        Close it with `contextlib.aclosing`.
        """
        lines = self.watch_lines(
            resource,
            namespace,
            since=since,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
            timeout=timeout,
        )
        async with aclosing(lines):
            async for line in lines:
                event = codec.decode(line)
                if event["type"] == "ERROR":
                    raise watch_error(event["object"], resource, namespace)
                yield event["type"], _typed(event["object"], resource)

    def watch_lines(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        since: str,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        timeout: float = 300.0,
    ) -> AsyncGenerator[bytes, None]:
        """As `watch`, giving each event's undecoded JSON."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(int(timeout)),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        return self._transport.lines(
            resource.path(namespace),
            doing=_about("watch", resource, namespace),
            query=query,
            accept=METADATA if metadata_only else JSON,
            silence=min(timeout + 10, _SILENCE),
            headers=self._headers,
        )


def version_number(version: str) -> int:
    """A resourceVersion as a number that grows with each change; 0 where it is none, as those of
    other servers behind the API server may be."""
    return int(version) if version.isdigit() and len(version) < 20 else 0


def service_account(namespace: str, name: str) -> str:
    """The user name of a service account, to impersonate."""
    return f"system:serviceaccount:{namespace}:{name}"


def unknown_kind(kinds: Kinds, group: str, kind: str, version: str = "") -> StatusError:
    """The error for a kind that is not served."""
    api_version = f"{group}/{version}" if group and version else group or version or "v1"
    others = kinds.versions(group, kind)
    if others:
        hint = f"the cluster serves it as {', '.join(others)}"
    elif group in kinds.stale_groups:
        hint = "the group's aggregated API server does not answer: look at its APIService"
    else:
        hint = "install the CustomResourceDefinition first, or correct apiVersion and kind"
    return StatusError(
        f"the cluster does not serve {kind} of {api_version}",
        status=404,
        code=UNKNOWN_KIND,
        hint=hint,
    )


def watch_error(body: Any, resource: ApiResource, namespace: str = "") -> StatusError:
    """The error for an ``ERROR`` event's object."""
    status = body.get("code") if isinstance(body, Mapping) else None
    return status_error(
        status if isinstance(status, int) else 500, body, doing=_about("watch", resource, namespace)
    )


def _too_many(doing: str, count: int, what: str = "objects") -> AnswerTooLarge:
    return AnswerTooLarge(
        f"{doing}: the list does not end after {count} {what}",
        hint="is it an API server that answers, and no proxy?",
    )


def _about(verb: str, resource: ApiResource, namespace: str) -> str:
    return f"{verb} {resource} in {namespace}" if namespace else f"{verb} {resource}"


def _sub(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path


def _typed(item: dict[str, Any], resource: ApiResource) -> dict[str, Any]:
    """Name the kind: list items come without it, and metadata under another one."""
    item["apiVersion"] = resource.api_version
    item["kind"] = resource.kind
    return item
