"""How a command moves a channel: show what changes, ask, write, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocistate.cli.common.consent import Consent
from ocistate.cli.common.differences import difference_rows, print_differences, summary_of
from ocistate.cli.common.output import emit, note, result, warn
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import NotFound

if TYPE_CHECKING:
    from ocistate.channel.record import Record
    from ocistate.channel.trust import Trusted
    from ocistate.ops.artifact.compare import ObjectDiff
    from ocistate.ops.channel.writer import Writer

NextRecord = Callable[["Trusted"], "Record | None"]
"""Makes the next record, not numbered yet, of the newest one; None where nothing is to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The result of a move: the record before, and the one there is now or would be."""

    before: Trusted
    after: Record
    digest: str
    signer: str
    changes: Mapping[str, tuple[ObjectDiff, ...]]
    dry_run: bool


async def newest_of(writer: Writer) -> Trusted:
    """The channel's newest record, which the next one follows. Raises NotFound."""
    from ocistate.ops.channel.reader import no_channel

    newest = await writer.newest()
    if newest is None:
        raise no_channel(writer.store.reference, writer.channel.name)
    return newest


async def move(
    connect: OpenRepository, writer: Writer, newest: Trusted, change: NextRecord, consent: Consent
) -> Moved:
    """Show what changes, ask, and write; after later records too, unless a person confirmed."""
    from ocistate.channel.change import succeed

    def make(old: Trusted | None) -> Record | None:
        if old is None:
            raise NotFound("the channel was deleted meanwhile")
        return change(old)

    draft = make(newest)
    if draft is None:
        return Moved(
            before=newest,
            after=newest.record,
            digest=newest.digest,
            signer=newest.signer,
            changes={},
            dry_run=consent.dry_run,
        )
    after = succeed(newest, draft, epoch=writer.channel.trust.epoch)
    changes = await _compare(connect, newest.record, after)
    _show(newest.record, after, changes)
    consent.confirm(f"Move {after.channel} to {after}?")
    if consent.dry_run:
        return Moved(
            before=newest, after=after, digest="", signer="", changes=changes, dry_run=True
        )
    written = await writer.write(make, base=newest.digest if consent.must_ask else "")
    return Moved(
        before=newest,
        after=written.record,
        digest=written.digest,
        signer=written.signer,
        changes=changes,
        dry_run=False,
    )


async def _compare(
    connect: OpenRepository, before: Record, after: Record
) -> dict[str, tuple[ObjectDiff, ...]]:
    """What changes in the objects, by repository."""
    from ocistate.ops.artifact.compare import compare, open_side
    from ocistate.ops.channel.releases import reference_of

    changes: dict[str, tuple[ObjectDiff, ...]] = {}
    for place, digest in after.subjects.items():
        old = before.subjects.get(place)
        if old is None or old == digest:
            continue
        async with connect(reference_of(place)) as store:
            try:
                left = await open_side(store, old)
            except NotFound:
                warn(f"{place}@{old} no longer exists: its changes cannot be shown")
                continue
            changes[place] = await compare(left, await open_side(store, digest))
    return changes


def _show(before: Record, after: Record, changes: Mapping[str, tuple[ObjectDiff, ...]]) -> None:
    note(f"{before} → {after}" + (", on hold" if after.hold else ""))
    if after.rollout is not None:
        note(f"in rings: {after.rollout} gets it now; the others are unchanged")
    for place in sorted({*before.subjects, *after.subjects}):
        old, new = before.subjects.get(place, "nothing"), after.subjects.get(place, "nothing")
        if old == new:
            note(f"{place}: stays at {new}")
            continue
        note(f"{place}: {old} → {new}")
        if place in changes:
            note(f"  {summary_of(changes[place])}")
            print_differences(changes[place], err=True)


def report(moved: Moved, output: str) -> None:
    """Print the result of a move."""
    after = moved.after
    unchanged = moved.digest == moved.before.digest
    if unchanged:
        note(f"{after} is unchanged; nothing was written.")
    elif moved.dry_run:
        note("Dry run: nothing was written.")
    else:
        note(f"{after.channel} is now at {after}, signed by {moved.signer}.")
    if output in ("json", "yaml"):
        from ocistate.cli.channel.records import record_row

        emit(
            {
                **record_row(after, moved.digest, moved.signer),
                "before": str(moved.before.record),
                "unchanged": unchanged,
                "dryRun": moved.dry_run,
                "changes": [
                    {
                        "repository": place,
                        "before": moved.before.record.subjects.get(place, ""),
                        "after": after.subjects.get(place, ""),
                        "resources": difference_rows(moved.changes.get(place, ())),
                    }
                    for place in sorted({*moved.before.record.subjects, *after.subjects})
                    if moved.before.record.subjects.get(place) != after.subjects.get(place)
                ],
            },
            output,
        )
    else:
        result(str(after))
