"""Kinds that cannot be listed just now, since what should serve them is broken.

A CRD whose conversion webhook is down, or an aggregated API server that does not answer, is no
reason to do nothing anywhere else: such a kind is left out and named, and nothing of it is pruned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Container, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from ocistate.apply.desired.prepare import Desired
from ocistate.errors import ClusterError, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.kube.errors import StatusError
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.objects import GroupKind, ObjectId

PAGE_SECONDS: Final = 3.0
"""So long may one page of a kind take of which nothing is wanted."""


def is_broken(error: OcistateError) -> bool:
    """Whether an error says that the kind cannot be served, not that one may not ask."""
    return isinstance(error, StatusError) and (error.status >= 500 or names_its_webhook(error))


def names_its_webhook(error: OcistateError) -> bool:
    """Whether trying again at once is of no use. A webhook without its Service is a 404."""
    return isinstance(error, StatusError) and "conversion webhook" in error.message


def is_custom(group: str, kind: str) -> bool:
    """Whether others than the API server have a part in serving the kind."""
    return stage_of(group, kind) is ApplyStage.CUSTOM


async def prompt_pages(
    client: KubeClient,
    resource: ApiResource,
    namespace: str = "",
    *,
    label_selector: str = "",
    limit: int = 500,
    seconds: float | None = PAGE_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """The pages of metadata of a list. Raises StatusError 504 when one takes more than
    ``seconds``."""
    pages = client.pages(
        resource, namespace, label_selector=label_selector, metadata_only=True, limit=limit
    )
    async with aclosing(pages):
        while True:
            try:
                async with asyncio.timeout(seconds):
                    page = await anext(pages, None)
            except TimeoutError:
                raise StatusError(
                    f"list {resource}: no answer within {seconds:g} s", status=504
                ) from None
            if page is None:
                return
            yield page


def blind(
    desired: Desired, unlisted: Mapping[GroupKind, OcistateError], known: Container[ObjectId] = ()
) -> Desired:
    """``desired``, where what is of these kinds has a problem: whose it is cannot be seen. But for
    ``known`` objects, which have been seen before."""
    if not any(GroupKind(id.group, id.kind) in unlisted for id in desired.by_id):
        return desired
    wanted = tuple(
        each
        if (error := unlisted.get(GroupKind(each.id.group, each.id.kind))) is None
        or each.problem is not None
        or each.id in known
        else replace(
            each,
            problem=ClusterError(
                f"{each.id}: objects of its kind cannot be listed: {error.message}",
                hint="look at the kind's conversion webhook or API server",
            ),
        )
        for each in desired.wanted
    )
    return replace(desired, wanted=wanted, by_id={each.id: each for each in wanted})
