"""Many objects of one kind: lists, page by page, and watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from ocistate.kube import codec
from ocistate.kube.answer import MAX_PAGE, AnswerTooLarge
from ocistate.kube.discovery import ApiResource
from ocistate.kube.errors import StatusError, status_error
from ocistate.kube.transport import JSON, METADATA, METADATA_LIST, HeaderItems, Transport

PAGE: Final = 500
"""Objects on one page of a list."""
_MAX_PAGES: Final = 10_000
_MAX_LISTED: Final = 100_000
"""Objects that are held at once: each takes some kilobytes."""
_MAX_LISTED_BYTES: Final = 128 * 1024 * 1024
WATCH_SECONDS: Final = 300.0
# Bookmarks come about once a minute: a watch that is silent for longer is a dead connection.
_SILENCE: Final = 100.0


class Selection(TypedDict, total=False):
    """Which objects of a kind, and whether only their metadata is asked for."""

    label_selector: str
    field_selector: str
    metadata_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectList:
    """All objects of a list, and the version of the collection: the point to watch from."""

    items: list[dict[str, Any]]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Collection:
    """The objects of one kind in one namespace (empty: in all), as one user may see them."""

    transport: Transport
    headers: HeaderItems
    resource: ApiResource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False

    async def list(self, *, limit: int = PAGE) -> ObjectList:
        """All objects, page by page; begun again when the pages expire (410)."""
        restarts = 0
        while True:
            items: list[dict[str, Any]] = []
            version, size = "", 0
            try:
                async for page in self.pages(limit=limit):
                    answer = codec.decode_as(codec.SHALLOW, page)
                    items.extend(typed(item, self.resource) for item in answer.get("items") or ())
                    version = answer["metadata"].get("resourceVersion", "")
                    size += len(page)
                    if len(items) > _MAX_LISTED or size > _MAX_LISTED_BYTES:
                        raise self._too_many(len(items), "objects")
            except StatusError as error:
                restarts += 1
                if not error.gone or restarts > 3:
                    raise
                # Pages that expire while we read them: ask for more at a time, then for all.
                limit = limit * 4 if restarts < 3 else 0
                continue
            return ObjectList(items=items, resource_version=version)

    async def pages(self, *, limit: int = PAGE) -> AsyncGenerator[bytes, None]:
        """The pages of a list as they came; fewer objects at a time where a page is too large.

        Raises StatusError with ``gone`` when they expire: what was read is then no consistent
        state."""
        query = self._selectors()
        if limit:
            query["limit"] = str(limit)
        pages = 0
        while True:
            try:
                data = await self.transport.send(
                    "GET",
                    self.resource.path(self.namespace),
                    doing=_about("list", self.resource, self.namespace),
                    headers=self.headers,
                    query=query,
                    accept=METADATA_LIST if self.metadata_only else JSON,
                    limit=MAX_PAGE,
                )
            except AnswerTooLarge:
                if limit == 1:
                    raise
                limit = (limit or PAGE) // 8 or 1
                query["limit"] = str(limit)
                continue
            yield data
            pages += 1
            query["continue"] = codec.decode_as(codec.PAGE, data).metadata.token
            if not query["continue"]:
                return
            if pages == _MAX_PAGES:
                raise self._too_many(pages, "pages")

    async def went_back(self, since: str) -> bool:
        """Whether the server is in an earlier state than ``since``, as after its etcd was restored:
        a watch from there would be silent until it is reached again. Raises as `pages`."""
        first = Collection(
            self.transport,
            self.headers,
            self.resource,
            self.namespace,
            self.label_selector,
            metadata_only=True,
        ).pages(limit=1)
        async with aclosing(first):
            async for page in first:
                version = codec.decode_as(codec.PAGE, page).metadata.resourceVersion
                return version_number(version) < version_number(since)
        return False

    async def watch(
        self, since: str, *, timeout: float = WATCH_SECONDS
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Events (``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK``; object) after ``since``.

        Ends when the server ends it, within ``timeout`` seconds: go on from the last
        resourceVersion seen. Raises StatusError (``gone``: list again) and ClusterUnavailable.
        Close it with `contextlib.aclosing`.
        """
        lines = self.lines(since, timeout=timeout)
        async with aclosing(lines):
            async for line in lines:
                event = codec.decode(line)
                if event["type"] == "ERROR":
                    raise watch_error(event["object"], self.resource, self.namespace)
                yield event["type"], typed(event["object"], self.resource)

    def lines(self, since: str, *, timeout: float = WATCH_SECONDS) -> AsyncGenerator[bytes, None]:
        """As `watch`, giving each event's undecoded JSON."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(int(timeout)),
            **self._selectors(),
        }
        return self.transport.lines(
            self.resource.path(self.namespace),
            doing=_about("watch", self.resource, self.namespace),
            query=query,
            accept=METADATA if self.metadata_only else JSON,
            silence=min(timeout + 10, _SILENCE),
            headers=self.headers,
        )

    def _too_many(self, count: int, what: str) -> AnswerTooLarge:
        return AnswerTooLarge(
            f"{_about('list', self.resource, self.namespace)}: "
            f"the list does not end after {count} {what}",
            hint="is it an API server that answers, and no proxy?",
        )

    def _selectors(self) -> dict[str, str]:
        given = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in given.items() if value}


def version_number(version: str) -> int:
    """A resourceVersion as a number that grows with each change; 0 where it is none, as those of
    other servers behind the API server may be."""
    return int(version) if version.isdigit() and len(version) < 20 else 0


def watch_error(body: Any, resource: ApiResource, namespace: str = "") -> StatusError:
    """The error for an ``ERROR`` event's object."""
    status = body.get("code") if isinstance(body, Mapping) else None
    return status_error(
        status if isinstance(status, int) else 500, body, doing=_about("watch", resource, namespace)
    )


def _about(verb: str, resource: ApiResource, namespace: str) -> str:
    return f"{verb} {resource} in {namespace}" if namespace else f"{verb} {resource}"


def typed(item: dict[str, Any], resource: ApiResource) -> dict[str, Any]:
    """Name the kind: list items come without it, and metadata under another one."""
    item["apiVersion"] = resource.api_version
    item["kind"] = resource.kind
    return item
