"""What a cluster serves: kinds and their resources, read from aggregated discovery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ocistate.errors import ClusterError
from ocistate.kube.errors import UNKNOWN_KIND, StatusError
from ocistate.objects import GroupKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResource:
    """One kind in one version, and where the API server keeps it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()
    subresources: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return kind_text(GroupKind(self.group, self.kind))

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of an object, or of the collection when no name is given.

        No namespace means all namespaces, for a collection. Raises ClusterError for what leads
        elsewhere: no quoting keeps servers and proxies from following dots.
        """
        for part in (namespace, name):
            if part in (".", ".."):
                raise ClusterError(f"{part!r} is no name of an object", hint="choose another name")
        root = f"/apis/{self.group}" if self.group else "/api"
        place = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        return f"{root}/{self.version}{place}/{self.plural}{tail}"


def kind_text(kind: GroupKind) -> str:
    """``Deployment.apps`` for ("apps", "Deployment"), ``Service`` for a core one."""
    return f"{kind[1]}.{kind[0]}" if kind[0] else kind[1]


def kind_of(text: str) -> GroupKind:
    """The inverse of `kind_text`."""
    kind, _, group = text.partition(".")
    return GroupKind(group, kind)


class Kinds:
    """The kinds of one cluster, by group and kind; the version the server prefers comes first."""

    __slots__ = ("_by_kind", "stale_groups")

    def __init__(
        self, resources: Iterable[ApiResource] = (), stale_groups: Iterable[str] = ()
    ) -> None:
        self._by_kind: dict[GroupKind, list[ApiResource]] = {}
        for resource in resources:
            self._by_kind.setdefault(GroupKind(resource.group, resource.kind), []).append(resource)
        self.stale_groups = frozenset(stale_groups)
        """Groups whose aggregated API server did not answer: their kinds may be missing."""

    def find(self, group: str, kind: str, version: str = "") -> ApiResource | None:
        """The resource of a kind in this version, or in the preferred one; None if not served."""
        for resource in self._by_kind.get(GroupKind(group, kind), ()):
            if not version or resource.version == version:
                return resource
        return None

    def namespaced(self, group: str, kind: str) -> bool | None:
        """Whether objects of the kind live in namespaces; None when the kind is not served."""
        found = self._by_kind.get(GroupKind(group, kind))
        return found[0].namespaced if found else None

    def versions(self, group: str, kind: str) -> list[str]:
        """The versions the kind is served in, preferred first."""
        return [resource.version for resource in self._by_kind.get(GroupKind(group, kind), ())]

    def __iter__(self) -> Iterator[ApiResource]:
        """Each kind once, in its preferred version."""
        return (found[0] for found in self._by_kind.values())

    def __len__(self) -> int:
        return len(self._by_kind)


def parse_discovery(documents: Iterable[Mapping[str, Any]]) -> Kinds:
    """Read ``APIGroupDiscoveryList`` documents (of ``/api`` and ``/apis``).

    Raises ValueError for a document that is something else, as servers before 1.27 answer.
    """
    resources: list[ApiResource] = []
    stale: set[str] = set()
    for document in documents:
        if document.get("kind") != "APIGroupDiscoveryList":
            raise ValueError(f"not an APIGroupDiscoveryList but {document.get('kind')!r}")
        for item in document.get("items") or ():
            group = item.get("metadata", {}).get("name", "")
            for version in item.get("versions") or ():
                if version.get("freshness") == "Stale":
                    stale.add(group)
                for entry in version.get("resources") or ():
                    response = entry.get("responseKind") or {}
                    kind = response.get("kind", "")
                    # Objects of another group under this one (as in autoscaling's scale) are
                    # subresources in disguise, never a home of the kind.
                    if not kind or response.get("group") not in ("", None, group):
                        continue
                    resources.append(
                        ApiResource(
                            group=group,
                            version=version["version"],
                            kind=kind,
                            plural=entry["resource"],
                            namespaced=entry.get("scope") == "Namespaced",
                            verbs=frozenset(entry.get("verbs") or ()),
                            subresources=frozenset(
                                sub["subresource"] for sub in entry.get("subresources") or ()
                            ),
                        )
                    )
    return Kinds(resources, stale)


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
