"""Kubernetes objects as plain data: their identity, and an artifact's resources.

An object stays the plain dict that YAML or the API server gave; what is added here is only how it
is named, hashed and kept. Nothing here does I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple, Self

from ocistate.canonical import canonical_json, digest_of


class StackKey(NamedTuple):
    """Which Stack: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class GroupKind(NamedTuple):
    """Which kind, in whatever version: API group (empty: the core group) and kind."""

    group: str
    kind: str


class ObjectId(NamedTuple):
    """Which object: group, kind, namespace (empty for none given or cluster-scoped), name.

    Never the version: the same object is served in several. A tuple, since ten thousand of them are
    looked up and sorted at a time.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind}/{self.namespace}/{self.name}" if self.namespace else f"{kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One object of an artifact, with its hash and its place in the artifact.

    ``json`` is the object as canonical JSON: ten thousand of them are kept for as long as an agent
    runs, and as dicts they take eight times the memory. ``digest`` is SHA-256 over it; ``index`` is
    the place of its document in the file, counted from 0 (the items of a ``List`` share their
    document's place), ``line`` the line it begins at, for errors.
    """

    id: ObjectId
    api_version: str
    digest: str
    path: str
    index: int
    json: bytes
    line: int = 1

    @classmethod
    def of(cls, obj: Mapping[str, Any], *, path: str, index: int = 0, line: int = 1) -> Self:
        """The resource that an object with apiVersion, kind and metadata.name is.

        Raises ValueError for what JSON cannot express.
        """
        raw = canonical_json(obj)
        return cls(
            id=object_id(obj),
            api_version=intern(obj["apiVersion"]),
            digest=intern(digest_of(raw)),
            path=path,
            index=index,
            json=raw,
            line=line,
        )

    @property
    def object(self) -> dict[str, Any]:
        """The object, read again each time: it is the caller's to change."""
        value: dict[str, Any] = json.loads(self.json)
        return value


def object_id(obj: Mapping[str, Any]) -> ObjectId:
    """The identity of an object that has apiVersion, kind and metadata.name."""
    metadata = obj["metadata"]
    return ObjectId(
        intern(group_of(obj["apiVersion"])),
        intern(obj["kind"]),
        intern(metadata.get("namespace") or ""),
        metadata.get("name") or "",
    )


def group_of(api_version: str) -> str:
    """``apps`` of ``apps/v1``; the core group is the empty text."""
    group, slash, _ = api_version.rpartition("/")
    return group if slash else ""


_WITHOUT_STATUS: Final = (
    ("", "ConfigMap Secret ServiceAccount Endpoints LimitRange ResourceQuota Event PodTemplate"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("coordination.k8s.io", "Lease"),
    ("rbac.authorization.k8s.io", "Role RoleBinding ClusterRole ClusterRoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass CSIDriver CSINode VolumeAttributesClass"),
    ("node.k8s.io", "RuntimeClass"),
    # Many controllers never fill in an address of an Ingress.
    ("networking.k8s.io", "NetworkPolicy IngressClass ServiceCIDR IPAddress Ingress"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema PriorityLevelConfiguration"),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration MutatingWebhookConfiguration "
        "ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
    ),
)

KINDS_WITHOUT_STATUS: Final = frozenset(
    GroupKind(group, kind) for group, kinds in _WITHOUT_STATUS for kind in kinds.split()
)
"""Kubernetes' kinds whose status says nothing of their health: they are healthy when they exist."""
