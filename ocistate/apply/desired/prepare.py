"""From an artifact's resources to what one cluster shall hold: pure, and done once per artifact.

    desired = prepare(resources, owner=uid, artifact=digest, namespaced=kinds.namespaced,
                      namespace="shop")
    plan = make_plan(desired, live)       # ocistate.apply.plan, at each pass

Here every object gets its namespace, its place in the order, its mode from annotations, and its
marker: the text that, found on the live object, says "this very content was applied".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from ocistate.apply.desired.filled import filled_in
from ocistate.canonical import canonical_json, digest_of
from ocistate.documents.pointers import ignore_fault, tokens
from ocistate.errors import ConfigError, InvalidManifest, OcistateError
from ocistate.health.vanishing import ONCE, Lifetime, lifetime_of
from ocistate.kube.errors import UNKNOWN_KIND, StatusError
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.labels import (
    ADOPTED_ANNOTATION,
    APPLY_ANNOTATION,
    DIGEST_ANNOTATION,
    STACK_LABEL,
    WAVE_ANNOTATION,
    check_owner,
)
from ocistate.objects import GroupKind, ObjectId, Resource
from ocistate.text import whole_number

Scope = Callable[[str, str], bool | None]

_CRD: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_OUR_ANNOTATIONS: Final = b'"ocistate.dev/'
"""An object that does not hold this needs no reading to be prepared."""
_SERVER_METADATA: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


class ApplyMode(StrEnum):
    """How an object is applied: its annotation ``ocistate.dev/apply``."""

    APPLY = "apply"
    IF_NOT_PRESENT = "ifnotpresent"
    IGNORE = "ignore"
    RECREATE = "recreate"


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredFields:
    """Fields left to others, as JSON pointers; an empty criterion fits every object."""

    pointers: tuple[str, ...]
    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for pointer in self.pointers:
            if fault := ignore_fault(pointer):
                raise ConfigError(
                    f"ignore: {pointer!r} {fault}",
                    hint="write /spec/replicas; of the metadata, one label or annotation",
                )

    def fits(self, id: ObjectId) -> bool:
        return (
            (not self.kind or self.kind == id.kind)
            and (not self.group or self.group == id.group)
            and (not self.namespace or self.namespace == id.namespace)
            and (not self.name or self.name == id.name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredObject:
    """One object as it shall be. ``problem`` says why it cannot be applied, if it cannot;
    ``lifetime`` whether it is meant to vanish."""

    id: ObjectId
    resource: Resource
    marker: str
    mode: ApplyMode
    wave: int
    stage: ApplyStage
    pointers: tuple[str, ...] = ()
    problem: OcistateError | None = None
    lifetime: Lifetime = Lifetime.KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """All that one owner wants in one cluster, in the order of applying it.

    ``unknown`` are kinds that were not served: prepare again when the cluster's kinds change.
    """

    owner: str
    wanted: tuple[DesiredObject, ...]
    by_id: Mapping[ObjectId, DesiredObject]
    unknown: frozenset[GroupKind]

    @property
    def kinds(self) -> frozenset[GroupKind]:
        """Group and kind of everything wanted."""
        return frozenset(GroupKind(id.group, id.kind) for id in self.by_id)


def prepare(
    resources: Iterable[Resource],
    *,
    owner: str,
    artifact: str,
    namespaced: Scope,
    namespace: str = "default",
    force_namespace: bool = False,
    ignore: Sequence[IgnoredFields] = (),
) -> Desired:
    """Prepare an artifact's resources for a cluster.

    ``artifact`` is the artifact's digest; ``namespaced`` tells of a group and kind whether it lives
    in namespaces (None: not served; `Kinds.namespaced`), CRDs among the resources are known by
    themselves. ``namespace`` is for namespaced objects that name none, or for all of them with
    ``force_namespace``. Raises ValueError for an owner that is no label value; what is wrong with
    one object is in its ``Wanted.problem``.
    """
    check_owner(owner)
    resources = list(resources)
    defined = _defined(resources)
    scopes: dict[GroupKind, bool | None] = {}
    found: dict[ObjectId, DesiredObject] = {}
    refused: list[DesiredObject] = []
    for resource in resources:
        given = resource.id
        key = GroupKind(given.group, given.kind)
        if key not in scopes:
            served = namespaced(*key)
            scopes[key] = defined.get(key) if served is None else served
        scope = scopes[key]
        id = given
        if scope and (force_namespace or not given.namespace):
            id = ObjectId(given.group, given.kind, namespace, given.name)
        elif scope is False and given.namespace:
            id = ObjectId(given.group, given.kind, "", given.name)
        wanted = _wanted(resource, id, scope, artifact, ignore)
        if id in found:
            twice = InvalidManifest(
                resource.path,
                f"{id} is also in {found[id].resource.path}, once namespaces are filled in",
                hint="remove one of them, or name their namespaces",
            )
            refused.append(replace(wanted, problem=twice))
        else:
            found[id] = wanted
    ordered = sorted([*found.values(), *refused], key=_order(found.values()))
    return Desired(
        owner=owner,
        wanted=tuple(ordered),
        by_id=found,
        unknown=frozenset(key for key, scope in scopes.items() if scope is None),
    )


def body(wanted: DesiredObject, owner: str, *, adopted: bool = False) -> dict[str, Any]:
    """The object to send: with its namespace, our label and marker, without ignored fields."""
    obj = wanted.resource.object
    metadata = {
        key: value
        for key, value in (obj.get("metadata") or {}).items()
        if key not in _SERVER_METADATA
    }
    metadata["name"] = wanted.id.name
    if wanted.id.namespace:
        metadata["namespace"] = wanted.id.namespace
    else:
        metadata.pop("namespace", None)
    metadata["labels"] = {**(metadata.get("labels") or {}), STACK_LABEL: owner}
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        DIGEST_ANNOTATION: wanted.marker,
    }
    if adopted:
        metadata["annotations"][ADOPTED_ANNOTATION] = "true"
    obj["metadata"] = metadata
    # Status is its controller's; the API server would drop it without a word.
    obj.pop("status", None)
    if wanted.id.group == "" and wanted.id.kind == "Secret":
        _encode_string_data(obj)
    return without(obj, (*wanted.pointers, *filled_in(wanted.id, obj)))


def without(obj: Mapping[str, Any], pointers: Iterable[str]) -> dict[str, Any]:
    """A copy without these fields; what is not on the way to them is shared."""
    copy = dict(obj)
    for pointer in pointers:
        _remove(copy, tokens(pointer))
    return copy


def _wanted(
    resource: Resource,
    id: ObjectId,
    scope: bool | None,
    artifact: str,
    ignore: Sequence[IgnoredFields],
) -> DesiredObject:
    annotations: Mapping[str, Any] = {}
    if _OUR_ANNOTATIONS in resource.json:
        annotations = (resource.object.get("metadata") or {}).get("annotations") or {}
    problem: OcistateError | None = None
    mode, wave = ApplyMode.APPLY, 0
    lifetime = lifetime_of(id, resource.json, lambda: resource.object)
    try:
        if (text := annotations.get(APPLY_ANNOTATION)) == ONCE:
            lifetime = Lifetime.ONCE
        elif text:
            mode = ApplyMode(text)
        if text := annotations.get(WAVE_ANNOTATION):
            wave = int(text)
    except (ValueError, TypeError):
        problem = InvalidManifest(
            resource.path,
            f"{id}: {APPLY_ANNOTATION} must be ifnotpresent, ignore, recreate or once, "
            f"and {WAVE_ANNOTATION} a whole number in quotes",
        )
    if scope is None:
        problem = StatusError(
            f"the cluster does not serve {id.kind} of {resource.api_version}",
            status=404,
            code=UNKNOWN_KIND,
            hint="install its CustomResourceDefinition first, or correct apiVersion and kind",
        )
    pointers = tuple(
        sorted({pointer for rule in ignore if rule.fits(id) for pointer in rule.pointers})
    )
    # A Secret's own hash on the live object would let its metadata's readers guess short values.
    marker = artifact if GroupKind(id.group, id.kind) == ("", "Secret") else resource.digest
    if pointers:
        marker = digest_of(canonical_json([marker, *pointers]))
    return DesiredObject(
        id=id,
        resource=resource,
        marker=marker,
        mode=mode,
        wave=wave,
        stage=stage_of(id.group, id.kind),
        pointers=pointers,
        problem=problem,
        lifetime=lifetime,
    )


def _defined(resources: Iterable[Resource]) -> dict[GroupKind, bool]:
    """The kinds that the resources themselves define, and whether they are namespaced."""
    kinds = {}
    for resource in resources:
        if GroupKind(resource.id.group, resource.id.kind) == _CRD:
            spec: Any = resource.object.get("spec")
            kind = defined_kind(spec)
            if kind is not None:
                kinds[kind] = spec.get("scope") != "Cluster"
    return kinds


def defined_kind(spec: Any) -> GroupKind | None:
    """Group and kind that a CRD with this spec defines; None when it does not say."""
    names = spec.get("names") if isinstance(spec, Mapping) else None
    kind = names.get("kind") if isinstance(names, Mapping) else None
    if kind and isinstance(kind, str) and spec.get("group") and isinstance(spec["group"], str):
        return GroupKind(spec["group"], kind)
    return None


def _order(wanted: Iterable[DesiredObject]) -> Callable[[DesiredObject], tuple[int, int, ObjectId]]:
    """Waves first, stages within them; but what others need comes first unless it says a wave."""
    first = min((each.wave for each in wanted), default=0)

    def key(each: DesiredObject) -> tuple[int, int, ObjectId]:
        early = each.stage <= ApplyStage.DEFINITIONS and each.wave == 0
        return (min(first, 0) if early else each.wave, each.stage, each.id)

    return key


def _encode_string_data(obj: dict[str, Any]) -> None:
    """Do what the server does with the write-only ``stringData``, so that fields stay ours."""
    given, data = obj.get("stringData") or {}, obj.get("data") or {}
    # What is no mapping, the server refuses.
    if isinstance(given, Mapping) and isinstance(data, Mapping):
        obj.pop("stringData", None)
        if not given:
            return
        obj["data"] = {
            **data,
            **{
                key: base64.b64encode(value.encode()).decode() if isinstance(value, str) else value
                for key, value in given.items()
            },
        }


def _remove(obj: dict[str, Any], path: list[str]) -> None:
    """Remove the field at ``path``, copying what lies on the way; nothing if it is not there."""
    node: Any = obj
    for part, child in pairwise(path):
        key: Any = part
        if isinstance(node, list):
            key = _place(part, node)
            if key is None:
                return
        elif part not in node:
            return
        inner = node[key]
        if not isinstance(inner, (dict, list)):
            return
        if isinstance(inner, list) and _place(child, inner) is None:
            return
        node[key] = inner = inner.copy()
        node = inner
    last = path[-1]
    if isinstance(node, list):
        if (place := _place(last, node)) is not None:
            del node[place]
    else:
        node.pop(last, None)


def _place(part: str, items: Sequence[Any]) -> int | None:
    """The place in a list that a pointer's part names (RFC 6901, section 4), None for no such."""
    return whole_number(part, most=len(items) - 1)
