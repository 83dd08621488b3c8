"""Find what a channel, or one release of it, pins; and the artifacts to be promoted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocistate.channel.change import Pins
from ocistate.channel.history import Link, find_release
from ocistate.channel.record import (
    Record,
    RecordProvenance,
    name_tag,
    parse_record,
    read_number_text,
)
from ocistate.errors import ForeignRecord, NotFound, NotSigned, Untrusted
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import fetch_inventory, fetch_manifest
from ocistate.ops.channel.history import read_history
from ocistate.ops.channel.reader import (
    Channel,
    fetch_record,
    no_channel,
    read_newest,
    read_number,
    repository_of,
)
from ocistate.ops.signing.gather import gather_signatures
from ocistate.ops.signing.verify import verify_artifact
from ocistate.reference import Reference, parse_reference
from ocistate.signing.claims import read_claims
from ocistate.signing.envelope import parse_bundle, parse_statement
from ocistate.signing.policy.model import TrustPolicy

ConnectRepository = Callable[[Reference], Store]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An artifact that may be pinned: where, which, made from what, and who vouches for it."""

    place: str
    digest: str
    made: RecordProvenance
    trust: str


def reference_of(place: str) -> Reference:
    """The repository that a record's subject names. Raises InvalidReference."""
    if not place.startswith("/"):
        return parse_reference(place)
    scheme = "archive" if Path(place).is_file() else "layout"
    return parse_reference(f"{scheme}:{place}")


def pins_of(candidates: Sequence[Candidate]) -> Pins:
    """Candidates as a record pins them."""
    return {c.place: (c.digest, c.made) for c in candidates}


async def find_candidate(
    connect: ConnectRepository,
    reference: Reference,
    policies: Sequence[TrustPolicy],
    *,
    allow_unsigned: bool = True,
) -> Candidate:
    """An artifact by tag or digest, verified under the policies if there are any.

    Without any it must at least have a signature by somebody, unless ``allow_unsigned``. Raises
    TrustError, ArtifactError, StoreError.
    """
    async with connect(reference) as store:
        digest = (await store.resolve(reference.target or "")).digest
        trust = "not verified"
        if policies:
            verified = await verify_artifact(store, digest, policies)
            trust = verified.summary
        elif not allow_unsigned:
            await _check_signed(store, digest)
        inventory = await fetch_inventory(store, await fetch_manifest(store, digest))
    made = RecordProvenance(source=inventory.source, revision=inventory.revision)
    return Candidate(place=repository_of(reference), digest=digest, made=made, trust=trust)


async def _check_signed(store: Store, digest: str) -> None:
    """That somebody signed it, whoever it is. Raises NotSigned."""
    found = await gather_signatures(store, digest, legacy=True)
    claims = [read_claims(each, digest) for each in found]
    if not any(each.kind == "signature" and not each.fault for each in claims):
        raise NotSigned(
            f"{digest} is not signed, and a channel would have clusters follow it",
            hint="sign it: 'ocistate sign REF --key FILE'; or give --allow-unsigned",
        )


async def find_record(store: Store, channel: Channel, wanted: str = "") -> Record:
    """A channel's newest record, or the one of a number or pinning a digest.

    With keys in the channel's trust it is verified, without it is only read. Raises NotFound.
    """
    if not channel.trust.keys:
        return await _find_unverified(store, channel, wanted)
    if not wanted:
        return (await read_newest(store, channel)).record
    if (number := read_number_text(wanted)) is not None:
        return (await read_number(store, channel, *number)).record
    return (await find_link(store, channel, wanted)).record


async def find_link(store: Store, channel: Channel, wanted: str) -> Link:
    """A link of a channel's history by number or digest. Raises NotFound."""
    history = await read_history(store, channel)
    found = find_release(history.links, wanted)
    if found is None:
        raise NotFound(
            f"the channel {channel.name} of {channel.repository} never had {wanted}",
            hint="'ocistate history' shows its releases",
        )
    if channel.trust.keys and not found.signer:
        raise Untrusted(f"the record {found.digest} cannot be trusted: {found.problem}")
    return found


async def find_digest(store: Store, channel: Channel, wanted: str = "") -> str:
    """The digest that a channel, or one of its releases, pins for the store's repository."""
    record = await find_record(store, channel, wanted)
    return record.digest_of(repository_of(store.reference))


async def _find_unverified(store: Store, channel: Channel, wanted: str) -> Record:
    if wanted:
        return (await find_link(store, channel, wanted)).record
    try:
        raw, _ = await fetch_record(store, name_tag(channel.name))
    except NotFound:
        raise no_channel(store.reference, channel.name) from None
    record = parse_record(parse_statement(parse_bundle(raw).payload))
    if record.channel != channel.name:
        raise ForeignRecord(f"the channel {channel.name} holds a record of {record.channel}")
    return record
