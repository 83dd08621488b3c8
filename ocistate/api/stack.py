"""The Stack: what belongs where, and under whose trust (group ``ocistate.dev``, ``v1alpha1``).

The same YAML works as a Kubernetes object and in a file for ``ocistate agent --stacks``. Its
spec is defined in `ocistate.api.stack_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field, structs

from ocistate.api.decode import decode
from ocistate.api.names import Name, OptionalNamespace, OptionalUid, Repository
from ocistate.api.stack_spec import StackRef, StackSource, StackSpec, StackTarget
from ocistate.errors import ConfigError
from ocistate.objects import KINDS_WITHOUT_STATUS, GroupKind, StackKey
from ocistate.reference import Reference

GROUP: Final = "ocistate.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FINALIZER: Final = f"{GROUP}/finalizer"

RECONCILE: Final = f"{GROUP}/reconcile"
"""The annotation that asks for a pass now; any other value than the last one does."""

ALLOW_PRUNE: Final = f"{GROUP}/allow-prune"
"""The annotation that lets one artifact, named by its digest, remove as much as it does."""

DEFAULT_APPLIER: Final = "ocistate-applier"
"""The service account that Stacks write as when they name none: the one of their own namespace."""

_LONGEST_REQUEST: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One Stack. ``uid`` owns its objects; ``generation`` counts its edits."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: StackSpec
    allow_prune: str = ""
    """The digest that may remove as much as it does: the annotation `ALLOW_PRUNE`."""
    reconcile_at: str = ""
    """The last manual request: the annotation `RECONCILE`."""
    deleting: bool = False

    @property
    def key(self) -> StackKey:
        """(namespace, name)."""
        return StackKey(self.namespace, self.name)

    @property
    def depends_on(self) -> tuple[StackKey, ...]:
        """The Stacks that must be ready before."""
        return self._keys(self.spec.depends_on)

    @property
    def adopt_from(self) -> tuple[StackKey, ...]:
        """The Stacks whose objects are taken over, as far as they hand them over."""
        return self._keys(self.spec.adopt_from)

    @property
    def hand_over_to(self) -> tuple[StackKey, ...]:
        """The Stacks that may take objects over."""
        return self._keys(self.spec.hand_over_to)

    @property
    def directory(self) -> Path | None:
        """The target folder; None: the target is a cluster."""
        return Path(self.spec.target.directory) if self.spec.target.directory else None

    @property
    def kubeconfig(self) -> Path | None:
        """The file with the target cluster's kubeconfig; None: the agent's own."""
        return Path(self.spec.target.kubeconfig) if self.spec.target.kubeconfig else None

    @property
    def target_name(self) -> str:
        """The target, in one word for people and metrics; empty: the agent's own cluster."""
        target = self.spec.target
        if self.directory is not None:
            return str(self.directory)
        kubeconfig = str(self.kubeconfig or "")
        if target.kubeconfig_secret:
            kubeconfig = f"{self.namespace}/{target.kubeconfig_secret}"
            kubeconfig += f":{target.kubeconfig_key}" if target.kubeconfig_key else ""
        return "@".join(part for part in (target.context, kubeconfig) if part)

    def with_source(self, **changes: Any) -> Stack:
        """The Stack with fields of its source changed."""
        source = structs.replace(self.spec.source, **changes)
        return replace(self, spec=structs.replace(self.spec, source=source))

    def with_target(self, target: StackTarget) -> Stack:
        """The Stack with another target."""
        return replace(self, spec=structs.replace(self.spec, target=target))

    def _keys(self, others: tuple[StackRef, ...]) -> tuple[StackKey, ...]:
        return tuple(StackKey(other.namespace or self.namespace, other.name) for other in others)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class _Metadata(Struct, frozen=True, kw_only=True, rename="camel"):
    name: Name
    namespace: OptionalNamespace = ""
    uid: OptionalUid = ""
    generation: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    annotations: dict[Any, Any] = field(default_factory=dict)
    deletion_timestamp: Any = None


def parse_stack(obj: Mapping[str, Any], *, origin: str = "") -> Stack:
    """Read a Stack. ``origin`` names it or its file in errors. Raises ConfigError."""
    metadata = decode(_Metadata, obj.get("metadata") or {}, path="metadata", origin=origin)
    stack = Stack(
        namespace=metadata.namespace or "default",
        name=metadata.name,
        uid=metadata.uid,
        generation=metadata.generation,
        spec=decode(StackSpec, obj.get("spec"), path="spec", origin=origin),
        allow_prune=_annotation(metadata, ALLOW_PRUNE),
        reconcile_at=_annotation(metadata, RECONCILE),
        deleting=metadata.deletion_timestamp is not None,
    )
    for path, message in _faults(stack):
        raise ConfigError(": ".join(part for part in (origin, path, message) if part))
    return stack


def removed_stack(
    key: StackKey, *, uid: str, generation: int = 0, account: str, orphan: bool, target: StackTarget
) -> Stack:
    """A Stack whose spec is not known any more, with what its removal needs."""
    spec = StackSpec(
        source=StackSource(
            repository=Repository.of(Reference(scheme="layout", registry="", repository="")),
            tag="removed",
        ),
        service_account_name=account,
        deletion_policy="orphan" if orphan else "delete",
        target=target,
    )
    return Stack(
        namespace=key.namespace,
        name=key.name,
        uid=uid,
        generation=generation,
        spec=spec,
        deleting=True,
    )


def _annotation(metadata: _Metadata, key: str) -> str:
    """What a person asks for by annotation. Anything but a text is not a request."""
    value = metadata.annotations.get(key)
    return value[:_LONGEST_REQUEST] if isinstance(value, str) else ""


def _faults(stack: Stack) -> list[tuple[str, str]]:
    """What no field shows by itself: path and message."""
    found = []
    others = {
        "dependsOn": stack.depends_on,
        "adoptFrom": stack.adopt_from,
        "handOverTo": stack.hand_over_to,
    }
    for name, keys in others.items():
        if stack.key in keys:
            found.append((f"spec.{name}[{keys.index(stack.key)}].name", "is the Stack's own"))
    seen: set[GroupKind] = set()
    for place, check in enumerate(stack.spec.wait.checks):
        path = f"spec.wait.checks[{place}].kind"
        if check.group_kind in seen:
            found.append((path, f"{check.kind} has a check already"))
        if check.group_kind in KINDS_WITHOUT_STATUS:
            found.append((path, f"objects of the kind {check.kind} have no status to look at"))
        seen.add(check.group_kind)
    return found
