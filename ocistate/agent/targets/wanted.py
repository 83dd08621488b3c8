"""What a Stack's content wants in a cluster: the desired objects, and what follows from them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from ocistate.agent.targets.base import ignore_rules, select_path
from ocistate.agent.targets.shared import SharedCluster
from ocistate.api.stack import Stack
from ocistate.apply.desired.confine import confine
from ocistate.apply.desired.prepare import ApplyMode, Desired, DesiredObject, prepare
from ocistate.artifact.known import KnownDocuments
from ocistate.health.vanishing import Lifetime
from ocistate.kube.discovery import Kinds
from ocistate.objects import GroupKind, ObjectId
from ocistate.ops.artifact.fetch import Content


@dataclass(frozen=True, slots=True)
class Wanted:
    """The desired objects of one artifact, by what is done about them."""

    desired: Desired
    digest: str
    kinds: frozenset[GroupKind]
    optional: frozenset[ObjectId]
    """What need not be there, or not be ours."""
    mortal: tuple[DesiredObject, ...]
    """What is meant to vanish."""

    @classmethod
    def of(cls, desired: Desired, digest: str) -> Wanted:
        optional = (ApplyMode.IGNORE, ApplyMode.IF_NOT_PRESENT)
        return cls(
            desired=desired,
            digest=digest,
            kinds=desired.kinds,
            optional=frozenset(each.id for each in desired.wanted if each.mode in optional),
            mortal=tuple(each for each in desired.wanted if each.lifetime is not Lifetime.KEPT),
        )


async def read_desired(
    cluster: SharedCluster, stack: Stack, content: Content, *, again: bool
) -> Desired:
    """The desired objects of an artifact; with ``again``, the kinds served are read again.

    Raises ClusterError, ConfigError.
    """
    served = await cluster.client.kinds(max_age=1.0 if again else None)
    documents = cluster.documents.setdefault(stack.uid, KnownDocuments())
    return await asyncio.to_thread(_desire, cluster.namespaces, stack, content, served, documents)


def _desire(
    namespaces: Collection[str] | None,
    stack: Stack,
    content: Content,
    served: Kinds,
    documents: KnownDocuments,
) -> Desired:
    """Takes seconds for a large artifact: not for an event loop."""
    chosen = select_path(content, stack.spec.source.path)
    resources = [r for r in content.resources(documents).values() if r.path in chosen]
    content.rest()
    desired = prepare(
        resources,
        owner=stack.uid,
        artifact=content.digest,
        namespaced=served.namespaced,
        namespace=stack.spec.namespace or stack.namespace,
        force_namespace=stack.spec.force_namespace,
        ignore=ignore_rules(stack),
    )
    return desired if namespaces is None else confine(desired, namespaces)
