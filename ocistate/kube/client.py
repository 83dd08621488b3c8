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

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, Unpack
from urllib.parse import quote

from ocistate.kube import codec
from ocistate.kube.collection import PAGE, WATCH_SECONDS, Collection, ObjectList, Selection, typed
from ocistate.kube.discovery import ApiResource, Kinds
from ocistate.kube.discovery_cache import DiscoveryCache
from ocistate.kube.errors import StatusError
from ocistate.kube.kubeconfig import ClusterAccess, find_access
from ocistate.kube.transport import APPLY_PATCH, JSON, METADATA, HeaderItems, Transport
from ocistate.labels import FIELD_MANAGER
from ocistate.objects import ObjectId, object_id

_PATCH_TYPES: Final = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


class KubeClient:
    """Requests to one API server as one user. Open it with `KubeClient.open`."""

    def __init__(
        self,
        transport: Transport,
        *,
        discovery: DiscoveryCache | None = None,
        headers: HeaderItems | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Clients of one ``transport`` may share ``discovery``; ``headers`` name another user than
        the kubeconfig's, ``guard`` is asked before each write."""
        self._transport = transport
        self._discovery = discovery or DiscoveryCache(transport)
        self._headers = transport.access.impersonate if headers is None else headers
        self._guard = guard

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
        return type(self)(self._transport.apart())

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
        headers = (
            ("Impersonate-User", user),
            *(("Impersonate-Group", group) for group in groups),
        )
        return type(self)(
            self._transport, discovery=self._discovery, headers=headers, guard=self._guard
        )

    def guarded(self, guard: Callable[[], None]) -> Self:
        """The same connections, for writes that ``guard`` allows: it raises before any other one.

        It is asked again before a write is repeated. Close only the client this came from.
        """
        return type(self)(
            self._transport, discovery=self._discovery, headers=self._headers, guard=guard
        )

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
        return await self._discovery.kinds(max_age=max_age)

    async def kind(self, group: str, kind: str, version: str = "") -> ApiResource:
        """The resource of a kind, looked up again when it is not known yet.

        Raises StatusError with status 404 and code `UNKNOWN_KIND` when it is not served.
        """
        return await self._discovery.kind(group, kind, version)

    async def open_api(self, group: str, version: str) -> bytes:
        """The OpenAPI document of a group in one version, which every user may read."""
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
        return typed(codec.decode(data), resource)

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
        return typed(codec.decode(data), resource)

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
        return typed(codec.decode(data), resource)

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
        limit: int = PAGE,
        **selection: Unpack[Selection],
    ) -> ObjectList:
        """All objects of a kind: see `Collection.list`."""
        return await self._collection(resource, namespace, selection).list(limit=limit)

    def pages(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        limit: int = PAGE,
        **selection: Unpack[Selection],
    ) -> AsyncGenerator[bytes, None]:
        """The pages of a list as they came: see `Collection.pages`."""
        return self._collection(resource, namespace, selection).pages(limit=limit)

    async def went_back(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        since: str,
        label_selector: str = "",
    ) -> bool:
        """Whether the server is in an earlier state than ``since``: see `Collection.went_back`."""
        selection = Selection(label_selector=label_selector)
        return await self._collection(resource, namespace, selection).went_back(since)

    def watch(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        since: str,
        timeout: float = WATCH_SECONDS,
        **selection: Unpack[Selection],
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Events after ``since``: see `Collection.watch`."""
        return self._collection(resource, namespace, selection).watch(since, timeout=timeout)

    def watch_lines(
        self,
        resource: ApiResource,
        namespace: str = "",
        *,
        since: str,
        timeout: float = WATCH_SECONDS,
        **selection: Unpack[Selection],
    ) -> AsyncGenerator[bytes, None]:
        """As `watch`, giving each event's undecoded JSON."""
        return self._collection(resource, namespace, selection).lines(since, timeout=timeout)

    def _collection(
        self, resource: ApiResource, namespace: str, selection: Selection
    ) -> Collection:
        return Collection(self._transport, self._headers, resource, namespace, **selection)


def service_account(namespace: str, name: str) -> str:
    """The user name of a service account, to impersonate."""
    return f"system:serviceaccount:{namespace}:{name}"


def _sub(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path
