"""Files to artifact: canonical tar, config and manifest, as pure functions over bytes.

The same files give the same bytes wherever and whenever they are packed: sorted names, fixed modes,
times and owners, canonical JSON.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ocistate.artifact.hooks import hooks_of, is_for_elsewhen, leave_out_hooks
from ocistate.artifact.images import images_of, is_floating
from ocistate.artifact.inventory import (
    ARTIFACT_TYPE,
    CONFIG_TYPE,
    Image,
    Inventory,
    InventoryEntry,
    entry_of,
    is_clean,
    sort_entries,
)
from ocistate.artifact.manifests import read_resources, reading_order
from ocistate.artifact.unpack import DEFAULT_LIMITS, MAX_COMPRESSED_BYTES, FileSet, safe_path
from ocistate.documents.reader import Budget
from ocistate.errors import InputError, InvalidManifest, PolicyRefused, UnsafeContent
from ocistate.objects import ObjectId, Resource
from ocistate.oci.model import LAYER_TAR_GZIP, Manifest, build_manifest, describe

SOURCE_ANNOTATION: Final = "org.opencontainers.image.source"
REVISION_ANNOTATION: Final = "org.opencontainers.image.revision"
CREATED_ANNOTATION: Final = "org.opencontainers.image.created"

# Level 6 is where gzip stops getting much smaller and starts getting much slower.
_GZIP_LEVEL: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where manifests come from. Each is left out of the artifact when empty.

    ``source`` is a repository's URL without credentials, ``revision`` is
    ``<branch-or-tag>@sha1:<commit>``, ``created`` an RFC 3339 time.
    """

    source: str = ""
    revision: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What to let pass. ``strict`` makes errors of warnings."""

    allow_secrets: bool = False
    include_hooks: bool = False
    strict: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An artifact ready to be pushed: the manifest and its two blobs, with what was noticed."""

    manifest: Manifest
    config: bytes
    layer: bytes
    inventory: Inventory
    warnings: tuple[str, ...]


def pack(
    files: Mapping[str, bytes],
    *,
    provenance: Provenance | None = None,
    options: PackOptions | None = None,
) -> Packed:
    """Make an artifact of manifest files, named by their paths with ``/``.

    Raises InvalidManifest, PolicyRefused, or InputError when there is no resource in them, or when
    they could not be unpacked again.
    """
    provenance = provenance or Provenance()
    options = options or PackOptions()
    left_out: list[str] = []
    if not options.include_hooks:
        files, left_out = leave_out_hooks(files)
    _check_files(files)
    for name, text in (("source", provenance.source), ("revision", provenance.revision)):
        if not is_clean(text):
            raise InputError(f"the {name} {text!r} has control characters")
    # Before anything is parsed: what is too large is so within a second or two.
    content_digest, layer = _pack_layer(files)
    entries, images, warnings = _take_inventory(files, options)
    warnings = left_out + warnings
    if not entries:
        raise InputError(
            "there is no resource to pack",
            hint="give files that end in .yaml, .yml or .json and hold Kubernetes objects",
        )
    if options.strict and warnings:
        raise PolicyRefused("; ".join(warnings), hint="--strict refuses what is else a warning")
    inventory = Inventory(
        content_digest=content_digest,
        source=provenance.source,
        revision=provenance.revision,
        resources=sort_entries(entries.values()),
        images=images,
    )
    config = inventory.to_json()
    manifest = build_manifest(
        artifact_type=ARTIFACT_TYPE,
        config=describe(config, CONFIG_TYPE),
        layers=(describe(layer, LAYER_TAR_GZIP),),
        annotations=_annotations(provenance, options.annotations),
    )
    return Packed(
        manifest=manifest,
        config=config,
        layer=layer,
        inventory=inventory,
        warnings=tuple(warnings),
    )


def canonical_tar(files: Mapping[str, bytes]) -> bytes:
    """The uncompressed tar that the content digest is taken of: sorted, mode 0644, time 0."""
    return b"".join(_tar_pieces(files))


def _tar_pieces(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """The same piece by piece: the whole takes as much memory again as all files."""
    total = 0
    for path in sorted(files):
        info = tarfile.TarInfo(path)
        info.size = len(files[path])
        info.mode = 0o644
        padding = -info.size % tarfile.BLOCKSIZE
        header = info.tobuf(tarfile.PAX_FORMAT)
        yield from (header, files[path], bytes(padding))
        total += len(header) + info.size + padding
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(total + end) % tarfile.RECORDSIZE)


def _pack_layer(files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The content digest and the layer. Gzip without a time or a name in the header, so that only
    zlib decides the bytes. Raises InputError."""
    digest = hashlib.sha256()
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, wbits=31)
    pieces: list[bytes] = []
    weight = total = 0
    for piece in _tar_pieces(files):
        digest.update(piece)
        pieces.append(compressor.compress(piece))
        total += len(piece)
        weight += len(pieces[-1])
        _check_weight(total, weight)
    pieces.append(compressor.flush())
    _check_weight(total, weight + len(pieces[-1]))
    return "sha256:" + digest.hexdigest(), b"".join(pieces)


def _check_weight(total: int, compressed: int) -> None:
    for weight, most, how in (
        (total, DEFAULT_LIMITS.total_bytes, ""),
        (compressed, MAX_COMPRESSED_BYTES, " compressed"),
    ):
        if weight > most:
            raise InputError(
                f"the manifests weigh more than {most // 1024**2} MiB{how}",
                hint="split them into several artifacts",
            )


def _check_files(files: Mapping[str, bytes]) -> None:
    """What no reader of ours would unpack must not be packed."""
    found = FileSet()
    for path in sorted(files):
        try:
            if safe_path(path) != path:
                raise UnsafeContent(f"{path!r} is not a plain relative path")
            found.add(path, files[path])
        except UnsafeContent as error:
            raise InputError(
                f"cannot pack {path!r}: {error.message}", hint=error.hint or "rename it"
            ) from None


def _take_inventory(
    files: Mapping[str, bytes], options: PackOptions
) -> tuple[dict[ObjectId, InventoryEntry], tuple[Image, ...], list[str]]:
    entries: dict[ObjectId, InventoryEntry] = {}
    places: dict[ObjectId, str] = {}
    images: set[Image] = set()
    warnings: list[str] = []
    budget = Budget()
    for path in sorted(files, key=reading_order):
        for resource in read_resources(path, files[path], budget):
            place = f"{path}:{resource.line}"
            if resource.id in entries:
                raise InvalidManifest(
                    place,
                    f"{resource.id} is already at {places[resource.id]}",
                    hint="keep one of them",
                )
            places[resource.id] = place
            if not options.allow_secrets:
                _refuse_secret(resource)
            if hooks := hooks_of(resource):
                warnings.append(_told_hook(place, resource, hooks, options))
            # The object itself is let go here: ten thousand of them would fill the memory.
            entries[resource.id] = entry_of(resource)
            for image in images_of(resource.object):
                if is_floating(image.name) and image not in images:
                    warnings.append(
                        f"{place}: {resource.id} runs {image.name}, which names no fixed version"
                    )
                images.add(image)
    return entries, tuple(sorted(images)), warnings


def _told_hook(place: str, resource: Resource, hooks: tuple[str, ...], options: PackOptions) -> str:
    named = f"{resource.id} is a Helm hook ({', '.join(hooks)})"
    if is_for_elsewhen(hooks) and not options.include_hooks:
        raise InvalidManifest(
            place,
            f"{named} that can't be left out of this file by itself",
            hint="give it a document of its own, or pack it with --include-hooks",
        )
    return f"{place}: {named}, and will be applied like any other object"


def _refuse_secret(resource: Resource) -> None:
    if resource.id.kind != "Secret" or resource.id.group:
        return
    if resource.object.get("data") or resource.object.get("stringData"):
        raise PolicyRefused(
            f"{resource.path}:{resource.line}: {resource.id} holds its data in plain sight of "
            "everyone who can read the registry",
            hint="use an ExternalSecret or SealedSecret, or allow it with --allow-secrets",
        )


def _annotations(provenance: Provenance, extra: Mapping[str, str]) -> dict[str, str]:
    found = {
        SOURCE_ANNOTATION: provenance.source,
        REVISION_ANNOTATION: provenance.revision,
        CREATED_ANNOTATION: provenance.created,
    }
    return {key: value for key, value in found.items() if value} | dict(extra)
