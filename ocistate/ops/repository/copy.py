"""Copy a repository's artifacts, and its channels where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocistate.channel.record import Record, name_tag, number_tag, parse_record
from ocistate.concurrency import each
from ocistate.errors import ChannelError, ChannelFork, NotFound, ProtocolError, TrustError
from ocistate.oci.copy import AT_ONCE, CopyItem, CopyReport, copy
from ocistate.oci.store import Store
from ocistate.oci.tags import is_channel
from ocistate.ops.channel.reader import fetch_record
from ocistate.signing.envelope import parse_bundle, parse_statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A channel's record as a tag names it: unverified, None when it is none."""

    tag: str
    digest: str
    record: Record | None


async def copy_artifacts(
    source: Store,
    target: Store,
    wanted: Sequence[CopyItem],
    *,
    channels: bool = False,
    tags: Sequence[str] | None = None,
    dry_run: bool = False,
    at_once: int = AT_ONCE,
) -> CopyReport:
    """Copy artifacts; with ``channels`` all records too, and what the newest ones pin.

    ``tags`` are the source's, where they are known. Records are copied as they are: who follows
    them checks them. A channel of the target is never moved back. Raises StoreError, ChannelFork.
    """
    if not channels:
        return await copy(
            source, target, [wanted], dry_run=dry_run, at_once=at_once, source_tags=tags
        )
    if tags is None:
        tags = await source.tags()
    found = await read_records(source, [tag for tag in tags if is_channel(tag)])
    newest = [item for item in found if _names(item)]
    numbered = [item for item in found if item.record is not None and not _names(item)]
    await each(numbered, lambda item: _check_free(target, item))
    behind = await each(newest, lambda item: _is_behind(target, item))
    names = [item for item, old in zip(newest, behind, strict=True) if not old]
    report = await copy(
        source,
        target,
        [
            [*wanted, *[CopyItem(target=digest) for digest in await _pinned(source, names)]],
            [CopyItem(target=item.digest, tags=(item.tag,)) for item in numbered],
            [CopyItem(target=item.digest, tags=(item.tag,)) for item in names],
        ],
        dry_run=dry_run,
        at_once=at_once,
        source_tags=tags,
    )
    for item in found:
        if item.record is None:
            report.passed_over.append(f"the tag {item.tag} holds no channel's record")
    for item, old in zip(newest, behind, strict=True):
        if old:
            report.passed_over.append(f"the tag {item.tag}: the target has a newer record, {old}")
    return report


async def read_records(store: Store, tags: Sequence[str]) -> list[Tagged]:
    """What channel tags name, without a word on whether it is to be believed."""

    async def one(tag: str) -> Tagged:
        try:
            raw, digest = await fetch_record(store, tag)
            record = parse_record(parse_statement(parse_bundle(raw).payload))
        except (TrustError, ChannelError, ProtocolError):
            return Tagged(tag=tag, digest="", record=None)
        right = (name_tag(record.channel), number_tag(record.channel, *record.number))
        return Tagged(tag=tag, digest=digest, record=record if tag in right else None)

    return await each(tags, one)


def _names(item: Tagged) -> bool:
    return item.record is not None and item.tag == name_tag(item.record.channel)


async def _check_free(target: Store, item: Tagged) -> None:
    """One number, one record: another one under it is never written over."""
    try:
        held = (await target.resolve(item.tag)).digest
    except NotFound:
        return
    if held != item.digest:
        raise ChannelFork(
            f"{target.reference} holds another record under {item.tag}: {held}, and not "
            f"{item.digest}",
            hint="two histories have one name: copy into another repository, or remove one",
        )


async def _is_behind(target: Store, item: Tagged) -> str:
    """The target's record of a channel when it is newer than the source's, else empty."""
    try:
        (held,) = await read_records(target, [item.tag])
    except NotFound:
        return ""
    if held.record is None or item.record is None or held.record.number <= item.record.number:
        return ""
    return str(held.record)


async def _pinned(source: Store, newest: Sequence[Tagged]) -> list[str]:
    """The digests that records pin, as far as the source has them."""
    wanted = sorted({d for item in newest if item.record for d in item.record.digests})
    found = []
    for digest in wanted:
        try:
            found.append((await source.resolve(digest)).digest)
        except NotFound:
            continue  # a set pins artifacts of other repositories too
    return found
