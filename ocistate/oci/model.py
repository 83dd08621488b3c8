"""OCI descriptors, manifests and indexes, as the image spec 1.1 has them.

Manifests keep the exact bytes they were read from: a digest is a statement about bytes, so nothing
here ever writes a manifest again that came from a store.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ocistate.canonical import DIGEST_PATTERN, canonical_json, digest_of, parse_json
from ocistate.errors import ProtocolError

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_TYPES: Final = (INDEX, DOCKER_INDEX)
EMPTY_JSON: Final = "application/vnd.oci.empty.v1+json"
LAYER_TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"

_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Image spec, "Content descriptors": what some bytes are, how many, and their digest."""

    media_type: str
    digest: str
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: _EMPTY, hash=False)
    data: bytes = field(default=b"", repr=False, compare=False)
    """The very bytes, where the descriptor embeds them; checked against size and digest."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.data:
            value["data"] = base64.b64encode(self.data).decode()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An image manifest and the exact bytes it was read from or is pushed as."""

    raw: bytes
    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]
    artifact_type: str | None
    """``artifactType``, or the config's media type when that is not the empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An image index and its exact bytes."""

    raw: bytes
    descriptor: Descriptor
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]


def describe(data: bytes, media_type: str, *, embed: bool = False) -> Descriptor:
    """The descriptor of some bytes; ``embed`` puts them into it, which saves readers a request."""
    return Descriptor(
        media_type=media_type,
        digest=digest_of(data),
        size=len(data),
        data=data if embed else b"",
    )


EMPTY_CONFIG: Final = describe(b"{}", EMPTY_JSON)


def build_manifest(
    *,
    config: Descriptor,
    layers: tuple[Descriptor, ...],
    artifact_type: str | None = None,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] = _EMPTY,
) -> Manifest:
    """Make a manifest and its canonical bytes."""
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.to_dict(),
        "layers": [layer.to_dict() for layer in layers],
    }
    if artifact_type:
        value["artifactType"] = artifact_type
    if subject:
        # A subject is a plain descriptor: annotations of the artifact stay with the artifact.
        value["subject"] = {
            "mediaType": subject.media_type,
            "digest": subject.digest,
            "size": subject.size,
        }
    if annotations:
        value["annotations"] = dict(annotations)
    return parse_manifest(canonical_json(value))


def build_index(
    manifests: tuple[Descriptor, ...], annotations: Mapping[str, str] = _EMPTY
) -> Index:
    """Make an image index and its canonical bytes."""
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [manifest.to_dict() for manifest in manifests],
    }
    if annotations:
        value["annotations"] = dict(annotations)
    return parse_index(canonical_json(value))


def parse_manifest(raw: bytes, media_type: str = MANIFEST) -> Manifest:
    """Read an image manifest. Raises ProtocolError for anything else."""
    value = _document(raw, media_type)
    config = parse_descriptor(value.get("config"), "config")
    layers = value.get("layers")
    if not isinstance(layers, list):
        raise ProtocolError("manifest: layers is not a list")
    artifact_type = _text(value, "artifactType", "manifest")
    if artifact_type is None and config.media_type != EMPTY_JSON:
        artifact_type = config.media_type
    return Manifest(
        raw=raw,
        descriptor=Descriptor(
            media_type=media_type,
            digest=digest_of(raw),
            size=len(raw),
            artifact_type=artifact_type,
        ),
        config=config,
        layers=tuple(parse_descriptor(item, f"layers[{i}]") for i, item in enumerate(layers)),
        subject=_subject(value),
        annotations=_annotations(value, "manifest"),
        artifact_type=artifact_type,
    )


def parse_index(raw: bytes, media_type: str = INDEX) -> Index:
    """Read an image index. Raises ProtocolError for anything else."""
    value = _document(raw, media_type)
    manifests = value.get("manifests")
    if not isinstance(manifests, list):
        raise ProtocolError("index: manifests is not a list")
    return Index(
        raw=raw,
        descriptor=Descriptor(
            media_type=media_type,
            digest=digest_of(raw),
            size=len(raw),
            artifact_type=_text(value, "artifactType", "index"),
        ),
        manifests=tuple(
            parse_descriptor(item, f"manifests[{i}]") for i, item in enumerate(manifests)
        ),
        subject=_subject(value),
        annotations=_annotations(value, "index"),
    )


def parse_descriptor(value: Any, where: str) -> Descriptor:
    """Read a descriptor; ``where`` names it in errors. Raises ProtocolError."""
    if not isinstance(value, dict):
        raise ProtocolError(f"{where}: not a descriptor")
    media_type = _text(value, "mediaType", where)
    digest = _text(value, "digest", where)
    size = value.get("size")
    if not media_type:
        raise ProtocolError(f"{where}: no mediaType")
    if digest is None or not DIGEST_PATTERN.fullmatch(digest):
        raise ProtocolError(f"{where}: its digest is not sha256 and 64 hex digits")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 53:
        raise ProtocolError(f"{where}: its size is no number of bytes")
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        artifact_type=_text(value, "artifactType", where),
        annotations=_annotations(value, where),
        data=_data(value, where, digest, size),
    )


def _data(value: dict[str, Any], where: str, digest: str, size: int) -> bytes:
    """Image spec, "Embedded Content": base64, and no other bytes than the digest names."""
    text = _text(value, "data", where)
    if text is None:
        return b""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"{where}: data is not base64") from None
    if len(data) != size or digest_of(data) != digest:
        raise ProtocolError(f"{where}: data does not match its size and digest")
    return data


def _document(raw: bytes, media_type: str) -> dict[str, Any]:
    try:
        value = parse_json(raw)
    except ValueError as error:
        raise ProtocolError(f"manifest: not valid JSON: {error}") from error
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise ProtocolError("manifest: schemaVersion is not 2")
    claimed = value.get("mediaType")
    if claimed is not None and claimed != media_type:
        raise ProtocolError(f"manifest: served as {media_type}, but its mediaType is another")
    # Image spec: a document with both would be read as either, depending on the client.
    if "manifests" in value and "layers" in value:
        raise ProtocolError("manifest: has both layers and manifests")
    return value


def _subject(value: dict[str, Any]) -> Descriptor | None:
    subject = value.get("subject")
    return None if subject is None else parse_descriptor(subject, "subject")


def _text(value: dict[str, Any], key: str, where: str) -> str | None:
    text = value.get(key)
    if text is not None and not isinstance(text, str):
        raise ProtocolError(f"{where}: {key} is not text")
    return text


def _annotations(value: dict[str, Any], where: str) -> Mapping[str, str]:
    annotations = value.get("annotations")
    if annotations is None:
        return _EMPTY
    if not isinstance(annotations, dict) or not all(
        isinstance(item, str) for item in annotations.values()
    ):
        raise ProtocolError(f"{where}: annotations are not text by text")
    return MappingProxyType(annotations)
