"""Manifest files to resources: what must hold before anything is packed or applied."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ocistate.artifact.images import image_texts
from ocistate.documents.reader import Budget, Document, read_documents
from ocistate.documents.text import template_marker
from ocistate.errors import InvalidManifest
from ocistate.objects import Resource

MANIFEST_SUFFIXES: Final = (".yaml", ".yml", ".json")
KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
CHARTS: Final = ("Chart.yaml", "Chart.yml")

_SHAPES: Final = (
    (
        "apiVersion",
        re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]+"),
        "write VERSION or GROUP/VERSION, such as v1 or apps/v1",
    ),
    (
        "kind",
        re.compile(r"[A-Za-z](?:[-A-Za-z0-9]*[A-Za-z0-9])?"),
        "a kind is letters and digits, such as ConfigMap",
    ),
)
# What the API server takes as one segment of a URL's path: all kinds' names are at least that.
_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[^/%\x00-\x1f\x7f-\x9f]+")

_BUILD_INPUTS: Final = {
    "kustomize.config.k8s.io": "render it first, with 'kustomize build'",
}


def reading_order(path: str) -> tuple[bool, str]:
    """The sorting key that puts inputs of a build first: what is beside them makes less sense."""
    return path.rpartition("/")[2] not in (*KUSTOMIZATIONS, *CHARTS), path


def is_manifest_path(path: str) -> bool:
    """Whether a file's name is that of a file of manifests."""
    return path.endswith(MANIFEST_SUFFIXES)


def read_resources(path: str, data: bytes, budget: Budget | None = None) -> Iterator[Resource]:
    """The resources of one file, ``List`` objects opened.

    Raises InvalidManifest for broken YAML, a missing apiVersion, kind or metadata.name, and
    template markers where the API server would trip over them.
    """
    for document in read_documents(path, data, budget):
        for where, obj in _open_lists(document):
            _check(document, where, obj)
            try:
                resource = Resource.of(obj, path=path, index=document.index, line=document.line)
            except ValueError as error:
                raise _invalid(document, f"{where}{error}") from None
            yield resource


def _open_lists(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    value = document.value
    if not isinstance(value, dict):
        raise _invalid(
            document,
            "not a Kubernetes object",
            hint="each document needs apiVersion, kind and metadata.name",
        )
    if not _is_list(value):
        yield "", value
        return
    pending = deque([("items", value)])
    while pending:
        where, holder = pending.popleft()
        for place, item in enumerate(holder["items"] or ()):
            if not isinstance(item, dict):
                raise _invalid(document, f"{where}[{place}] is not a Kubernetes object")
            if _is_list(item):
                pending.append((f"{where}[{place}].items", item))
            else:
                yield f"{where}[{place}]: ", _typed(holder, item)


def _is_list(value: dict[str, Any]) -> bool:
    kind, items = value.get("kind"), value.get("items", "")
    if not isinstance(kind, str) or not (items is None or isinstance(items, list)):
        return False
    # kubectl opens whatever has items; a custom resource may have them beside its spec.
    return kind == "List" or (kind.endswith("List") and "spec" not in value)


def _typed(holder: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """An item without a kind, of a ConfigMapList, is a ConfigMap of the list's version."""
    kind = holder["kind"].removesuffix("List")
    if not kind or (item.get("apiVersion") and item.get("kind")):
        return item
    given = {"apiVersion": holder.get("apiVersion"), "kind": kind}
    return {**item, **{key: item.get(key) or value for key, value in given.items()}}


def _check(document: Document, where: str, obj: dict[str, Any]) -> None:
    metadata = obj.get("metadata")
    for field, shape, hint in _SHAPES:
        value = obj.get(field)
        if not isinstance(value, str) or not value:
            _refuse_build_input(document, obj)
            raise _invalid(
                document,
                f"{where}no {field}",
                hint=f"every document needs {field}; list the file in .ocistateignore if it is "
                "not a manifest",
            )
        _check_rendered(document, where, field, value)
        if not shape.fullmatch(value):
            raise _invalid(document, f"{where}{value[:60]!r} is no {field}", hint=hint)
    if metadata is not None and not isinstance(metadata, dict):
        raise _invalid(document, f"{where}metadata is not a mapping")
    for field in ("labels", "annotations"):
        if not isinstance((metadata or {}).get(field) or {}, dict):
            raise _invalid(document, f"{where}metadata.{field} is not a mapping")
    group = obj["apiVersion"].rpartition("/")[0]
    if group in _BUILD_INPUTS:
        raise _invalid(
            document,
            f"{where}a {obj['kind']} of {group} is an input of a build, not a manifest",
            hint=_BUILD_INPUTS[group],
        )
    name = (metadata or {}).get("name")
    if not isinstance(name, str) or not name:
        hint = "every document needs metadata.name"
        if (metadata or {}).get("generateName"):
            hint = "generateName makes another object at each apply: give it a fixed name"
        elif isinstance(name, int | float | bool):
            hint = "quote it: a name is text"
        raise _invalid(document, f"{where}no metadata.name in this {obj['kind']}", hint=hint)
    namespace = (metadata or {}).get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise _invalid(document, f"{where}metadata.namespace is not text", hint="quote it")
    for field, value in (metadata or {}).items():
        # An annotation is free text, and may be about templates.
        free = {key: "" for key in value or ()} if field == "annotations" else value
        _check_texts(document, where, f"metadata.{field}", free)
    for image in image_texts(obj):
        _check_rendered(document, where, "an image", image)
    for field, text in (("name", name), ("namespace", namespace)):
        if text and not _SEGMENT.fullmatch(text):
            raise _invalid(document, f"{where}metadata.{field} cannot be {text[:60]!r}")


def _refuse_build_input(document: Document, obj: dict[str, Any]) -> None:
    """A file that a tool builds manifests from, known by its name: kustomize needs no more."""
    name = document.path.rpartition("/")[2]
    for names, what, hint in (
        (KUSTOMIZATIONS, "an input of kustomize", "render it first, with 'kustomize build'"),
        (CHARTS, "a Helm chart's", "render the chart first, with 'helm template'"),
    ):
        if name in names and not obj.get("kind"):
            raise _invalid(document, f"{name} is {what}, not a manifest", hint=hint)


def _check_texts(document: Document, where: str, field: str, value: Any) -> None:
    if isinstance(value, str):
        _check_rendered(document, where, field, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_rendered(document, where, f"a key of {field}", key)
            _check_texts(document, where, f"{field}.{key}", item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_texts(document, where, f"{field}[{place}]", item)


def _check_rendered(document: Document, where: str, field: str, text: str) -> None:
    if template_marker(text):
        raise _invalid(
            document,
            f"{where}{field} holds an unrendered template: {text[:60]!r}",
            hint="render the manifests first, with helm template or kustomize build",
        )


def _invalid(document: Document, message: str, *, hint: str = "") -> InvalidManifest:
    return InvalidManifest(f"{document.path}:{document.line}", message, hint=hint)
