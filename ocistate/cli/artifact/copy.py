"""``ocistate copy``: artifacts from one store to another, with all that refers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, run_async
from ocistate.cli.common.output import emit, note, output_option, result, warn
from ocistate.cli.common.registry import OpenRepository, two_store_options
from ocistate.errors import NotFound, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.copy import CopyItem, CopyReport
    from ocistate.oci.store import Store


@click.command("copy")
@click.argument("source", type=REFERENCE, metavar="SRC")
@click.argument("target", type=REFERENCE, metavar="DST")
@click.option("--all-tags", is_flag=True, help="All artifacts that have a tag.")
@click.option(
    "--tags",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="The tags that match a glob ('rel-*') or a range of versions ('>=1.2 <2'); repeatable.",
)
@click.option(
    "--channels", is_flag=True, help="The channels' records too, with what the newest ones pin."
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="How many requests are under way at once.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@two_store_options
@output_option("name", "json", "yaml")
def copy_command(
    source: Reference,
    target: Reference,
    all_tags: bool,
    patterns: tuple[str, ...],
    channels: bool,
    jobs: int,
    dry_run: bool,
    connect_from: OpenRepository,
    connect_to: OpenRepository,
    output: str,
) -> None:
    """Copy artifacts between registries, layouts and archives, with all that refers to them.

    Signatures, attestations and whatever else refers to an artifact come along, in old forms too.
    Digests stay what they are; tags come last. What DST holds already is not sent again. Options
    with --from-… and --to-… apply to one of the two registries.

    \b
      ocistate copy reg.example.com/shop:v1 archive:shop.tar
      ocistate copy archive:shop.tar:v1 reg.internal/shop
      ocistate copy --tags '^1.4' reg.example.com/shop mirror.example.com/shop
    """
    many = all_tags or bool(patterns) or channels
    _check(source, target, many, all_tags and bool(patterns))
    report = run_async(
        _copy(
            connect_from(source),
            connect_to(target),
            source,
            target,
            patterns=patterns if not all_tags else ("*",),
            channels=channels,
            jobs=jobs,
            dry_run=dry_run,
        )
    )
    for what in report.passed_over:
        warn(f"left out: {what}")
    if output == "name":
        for artifact in report.artifacts:
            result(str(target.base.with_digest(artifact.digest)))
        note(_summary(report, dry_run))
    else:
        emit(_facts(source, target, report, dry_run), output)


def _check(source: Reference, target: Reference, many: bool, both: bool) -> None:
    from ocistate.oci.tags import check_artifact_tag, is_channel

    if both:
        raise UsageError("--all-tags and --tags cannot be combined", hint="leave one out")
    if source.target is None and not many:
        raise UsageError(
            f"{source} names no tag and no digest",
            hint="name one, or use --all-tags, --tags PATTERN or --channels",
        )
    if source.tag and not source.digest and is_channel(source.tag):
        raise UsageError(
            f"{source} is a channel's record",
            hint=f"copy the repository's channels: --channels {source.base}",
        )
    if target.tag:
        check_artifact_tag(target.tag)
    if target.digest:
        raise UsageError(
            f"{target} names a digest, which stays what it is in {source}", hint="name a tag"
        )
    if target.tag and source.target is None:
        raise UsageError(
            f"{target} names a tag, and many are to be copied", hint="name the repository only"
        )


async def _copy(
    source_store: Store,
    target_store: Store,
    source: Reference,
    target: Reference,
    *,
    patterns: tuple[str, ...],
    channels: bool,
    jobs: int,
    dry_run: bool,
) -> CopyReport:
    from ocistate.oci.copy import CopyItem
    from ocistate.oci.tags import is_channel, names_artifact, select_tags
    from ocistate.ops.repository.copy import copy_artifacts

    async with source_store, target_store:
        wanted: list[CopyItem] = []
        if source.target is not None:
            tag = target.tag or source.tag
            wanted.append(CopyItem(target=source.target, tags=(tag,) if tag else ()))
        tags = None
        if patterns or channels:
            tags = await source_store.tags()
            chosen = select_tags(filter(names_artifact, tags), patterns)
            wanted += [CopyItem(target=tag, tags=(tag,)) for tag in chosen]
            if not chosen and not channels:
                raise NotFound(
                    f"no tag of {source} matches {', '.join(patterns)}",
                    hint=f"'ocistate ls {source.base}' shows the tags",
                )
            if not wanted and not any(map(is_channel, tags)):
                raise NotFound(
                    f"{source.base} has no channels", hint="leave --channels out, or name others"
                )
        return await copy_artifacts(
            source_store,
            target_store,
            wanted,
            channels=channels,
            tags=tags,
            dry_run=dry_run,
            at_once=jobs,
        )


def _summary(report: CopyReport, dry_run: bool) -> str:
    return (
        f"{'Would copy' if dry_run else 'Copied'} {_count(len(report.artifacts), 'artifact')} and "
        f"{report.referrers} that refer to them: {_count(report.manifests_sent, 'manifest')} and "
        f"{_count(report.blobs_sent, 'blob')} ({report.bytes_sent / 1024**2:.1f} MiB) sent, "
        f"{_count(report.blobs_mounted, 'blob')} mounted, "
        f"{_count(report.manifests_present, 'manifest')} and "
        f"{_count(report.blobs_present, 'blob')} there already."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _facts(
    source: Reference, target: Reference, report: CopyReport, dry_run: bool
) -> dict[str, Any]:
    return {
        "source": str(source),
        "target": str(target.base),
        "dryRun": dry_run,
        "artifacts": [
            {
                "digest": artifact.digest,
                "tags": list(artifact.tags),
                "unchanged": list(artifact.unchanged),
            }
            for artifact in report.artifacts
        ],
        "referrers": report.referrers,
        "manifests": {"sent": report.manifests_sent, "present": report.manifests_present},
        "blobs": {
            "sent": report.blobs_sent,
            "mounted": report.blobs_mounted,
            "present": report.blobs_present,
        },
        "bytes": report.bytes_sent,
        "passedOver": report.passed_over,
    }
