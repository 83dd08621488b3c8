"""What an artifact's layers hold, by any tool: ours, Flux's, ``oras push``'s or Argo CD's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ocistate.artifact.images import images_of
from ocistate.artifact.inventory import (
    CONFIG_TYPE,
    Image,
    Inventory,
    entry_of,
    is_clean,
    sort_entries,
)
from ocistate.artifact.known import KnownDocuments
from ocistate.artifact.manifests import is_manifest_path, read_resources
from ocistate.artifact.pack import REVISION_ANNOTATION, SOURCE_ANNOTATION, canonical_tar
from ocistate.artifact.unpack import (
    DEFAULT_LIMITS,
    FileSet,
    Limits,
    decompress,
    safe_path,
    untar,
    untar_into,
)
from ocistate.artifact.unpack import MAX_COMPRESSED_BYTES as MAX_COMPRESSED_BYTES
from ocistate.canonical import digest_of
from ocistate.documents.reader import Budget
from ocistate.errors import ArtifactError
from ocistate.objects import ObjectId, Resource
from ocistate.oci.model import LAYER_TAR_GZIP, Descriptor, Manifest
from ocistate.tarread import read_entries

HELM_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
MAX_LAYERS: Final = 1000

_TITLE: Final = "org.opencontainers.image.title"
_ORAS_UNPACK: Final = "io.deis.oras.content.unpack"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """How to read one layer: a tar, gzipped or not, or one plain file named ``path``."""

    descriptor: Descriptor
    form: Literal["tar", "tar+gzip", "file"]
    path: str = ""


def is_ours(manifest: Manifest) -> bool:
    """Whether ocistate packed it: the config is then an inventory."""
    return manifest.config.media_type == CONFIG_TYPE


def plan_layers(manifest: Manifest) -> tuple[LayerPlan, ...]:
    """Which layers to read, and how. Raises ArtifactError when there is nothing for us in it."""
    if is_ours(manifest):
        if len(manifest.layers) != 1 or manifest.layers[0].media_type != LAYER_TAR_GZIP:
            raise ArtifactError(f"the artifact must have exactly one layer of {LAYER_TAR_GZIP}")
        return (LayerPlan(descriptor=manifest.layers[0], form="tar+gzip"),)
    if manifest.config.media_type == HELM_CONFIG:
        raise ArtifactError(
            "this is a Helm chart, not rendered manifests",
            hint="render it with 'helm template' and push the output",
        )
    if len(manifest.layers) > MAX_LAYERS:
        raise ArtifactError(f"the artifact has {len(manifest.layers)} layers")
    plans = tuple(plan for layer in manifest.layers if (plan := _plan_foreign(layer)) is not None)
    if not plans:
        types = ", ".join(sorted({layer.media_type for layer in manifest.layers})) or "none"
        raise ArtifactError(
            f"no layer holds manifests (media types: {types})",
            hint="an artifact is a tar+gzip of YAML files, or YAML files with titles",
        )
    return plans


def read_layers(
    layers: Iterable[tuple[LayerPlan, bytes]], *, limits: Limits = DEFAULT_LIMITS
) -> dict[str, bytes]:
    """The files of several layers of another tool's artifact, within one artifact's limits.

    Raises UnsafeContent, also when two layers bring the same path.
    """
    found = FileSet(limits)
    for plan, data in layers:
        _read_into(found, plan, data)
    return found.files


def read_own_layer(
    data: bytes, inventory: Inventory, *, limits: Limits = DEFAULT_LIMITS
) -> dict[str, bytes]:
    """The files of a layer that ocistate packed, checked against the content digest."""
    return untar(_own_tar(data, inventory, limits), limits=limits)


def read_own_files(
    data: bytes, inventory: Inventory, paths: Collection[str], *, limits: Limits = DEFAULT_LIMITS
) -> dict[str, bytes]:
    """Some files of such a layer, by the very names that the inventory gives them.

    The others are not looked at: this is for those who compare, never for those who apply.
    """
    tar = _own_tar(data, inventory, limits)
    return {
        entry.name: tar[entry.start : entry.start + entry.size]
        for entry in read_entries(tar)
        if entry.kind == "file" and entry.name in paths
    }


def _own_tar(data: bytes, inventory: Inventory, limits: Limits) -> bytes:
    tar = decompress(data, limits.total_bytes)
    found = digest_of(tar)
    if found != inventory.content_digest:
        raise ArtifactError(
            f"the layer's content is {found}, the config has {inventory.content_digest}",
            hint="the artifact was put together wrongly: pack and push it again",
        )
    return tar


def compute_inventory(files: Mapping[str, bytes], manifest: Manifest) -> Inventory:
    """The inventory of an artifact that brings none, from its files.

    Its content digest is that of the same files packed by ocistate. Raises InvalidManifest where a
    file is not a manifest, ArtifactError for a resource twice.
    """
    resources: dict[ObjectId, Resource] = {}
    images: set[Image] = set()
    budget = Budget()
    for path in sorted(files):
        if not is_manifest_path(path):
            continue
        for resource in read_resources(path, files[path], budget):
            if resource.id in resources:
                raise ArtifactError(f"{resource.id} is in the artifact twice")
            resources[resource.id] = resource
            images.update(images_of(resource.object))
    source = manifest.annotations.get(SOURCE_ANNOTATION, "")
    revision = manifest.annotations.get(REVISION_ANNOTATION, "")
    return Inventory(
        content_digest=digest_of(canonical_tar(files)),
        source=source if is_clean(source) else "",
        revision=revision if is_clean(revision) else "",
        resources=sort_entries(entry_of(resource) for resource in resources.values()),
        images=tuple(sorted(images)),
    )


def resources_of(
    files: Mapping[str, bytes], inventory: Inventory, known: KnownDocuments | None = None
) -> dict[ObjectId, Resource]:
    """The resources in the files, proven to be those of the inventory, no more and no fewer.

    A plan is made from the inventory's hashes, so a config that differs from the layer
    is refused. Documents that are ``known`` are not parsed again. Raises ArtifactError.
    """
    known = known if known is not None else KnownDocuments()
    listed = {entry.id: entry for entry in inventory.resources}
    found: dict[ObjectId, Resource] = {}
    for path in sorted(files):
        if not is_manifest_path(path):
            continue
        for resource in known.read(path, files[path]):
            if resource.id in found or listed.get(resource.id) != entry_of(resource):
                raise ArtifactError(
                    f"{resource.id} in {path} is not what the artifact's inventory lists",
                    hint="the artifact was put together wrongly: pack and push it again",
                )
            found[resource.id] = resource
    missing = listed.keys() - found.keys()
    if missing:
        raise ArtifactError(f"{min(missing)} is in the artifact's inventory, but in no file of it")
    known.settle()
    return found


def _read_into(found: FileSet, plan: LayerPlan, data: bytes) -> None:
    if plan.form == "file":
        found.add(plan.path, data)
        return
    if plan.form == "tar+gzip":
        data = decompress(data, found.limits.total_bytes - found.total_bytes)
    untar_into(found, data, skip_links=True)


def _plan_foreign(layer: Descriptor) -> LayerPlan | None:
    title = layer.annotations.get(_TITLE, "")
    unpack = layer.annotations.get(_ORAS_UNPACK) == "true"
    if title and not unpack and is_manifest_path(title):
        return LayerPlan(descriptor=layer, form="file", path=safe_path(title))
    if layer.media_type.endswith(("tar+gzip", "tar.gzip")) or unpack:
        return LayerPlan(descriptor=layer, form="tar+gzip")
    if layer.media_type.endswith(".tar") and not title:
        return LayerPlan(descriptor=layer, form="tar")
    return None
