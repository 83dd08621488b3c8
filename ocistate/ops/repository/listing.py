"""List a repository's artifacts by their tags, the newest first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ocistate.concurrency import each
from ocistate.errors import NotFound, ProtocolError
from ocistate.oci.store import Store
from ocistate.oci.tags import legacy_tag, names_artifact, version_key
from ocistate.signing.envelope import BUNDLE_TYPE, SIGN_PREDICATE
from ocistate.times import parse_time

CREATED: Final = "org.opencontainers.image.created"
_REVISION: Final = "org.opencontainers.image.revision"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A tag and what it names. ``signed``: a signature is there, of whomever; no one checked it.

    ``created`` and ``revision`` are the artifact's own words; ``problem``: why it can't be read.
    """

    tag: str
    digest: str = ""
    artifact_type: str = ""
    created: str = ""
    revision: str = ""
    signed: bool = False
    problem: str = ""


async def list_artifacts(store: Store, *, everything: bool = False) -> list[Row]:
    """The tags of a repository, the newest artifact first; those without a time come last.

    With ``everything`` also the tags of channels' records and of what belongs to an artifact.
    """
    tags = await store.tags()
    chosen = tags if everything else list(filter(names_artifact, tags))
    known = frozenset(tags)

    async def one(tag: str) -> Row | None:
        try:
            return await _row(store, tag, known)
        except NotFound:
            return None  # removed since the tags were listed
        except ProtocolError as error:
            return Row(tag=tag, problem=error.message)

    rows = [row for row in await each(chosen, one) if row is not None]
    rows.sort(key=lambda row: version_key(row.tag), reverse=True)
    rows.sort(key=lambda row: read_created(row.created) or _NEVER, reverse=True)
    return rows


def read_created(text: str) -> datetime | None:
    """The time in an artifact's ``created`` annotation (RFC 3339); None for anything else."""
    try:
        return parse_time(text)
    except ValueError:
        return None


async def _row(store: Store, tag: str, tags: Collection[str]) -> Row:
    manifest = await store.fetch_manifest(tag)
    digest = manifest.descriptor.digest
    return Row(
        tag=tag,
        digest=digest,
        artifact_type=manifest.descriptor.artifact_type or manifest.descriptor.media_type,
        created=manifest.annotations.get(CREATED, ""),
        revision=manifest.annotations.get(_REVISION, ""),
        signed=legacy_tag(digest) in tags or await _has_signature(store, digest),
    )


async def _has_signature(store: Store, digest: str) -> bool:
    """Whether a signature is listed, and not only attestations in the same form."""
    return any(
        item.annotations.get(_PREDICATE, SIGN_PREDICATE) == SIGN_PREDICATE
        for item in await store.referrers(digest, BUNDLE_TYPE)
    )
