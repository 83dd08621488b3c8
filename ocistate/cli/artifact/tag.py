"""``ocistate tag``: more names for an artifact, or an old artifact under its name again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import NotFound
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store


@click.command("tag")
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@click.option("--dry-run", is_flag=True, help="Show what would be tagged, and change nothing.")
@store_options
@output_option("name", "json", "yaml")
def tag_command(
    reference: Reference,
    tags: tuple[str, ...],
    dry_run: bool,
    connect: OpenRepository,
    output: str,
) -> None:
    """Add tags to an artifact. A tag that names something else is moved."""
    from ocistate.oci.tags import check_artifact_tag

    names = list(dict.fromkeys(check_artifact_tag(tag) for tag in tags))
    target = required_target(reference, "tag")
    digest, before = run_async(_tag(connect(reference), target, names, dry_run))
    for tag, held in before.items():
        if held == digest:
            note(f"{tag} names {digest} already.")
        else:
            was = f", which named {held}" if held else ""
            note(f"{'Would tag' if dry_run else 'Tagged'} {digest} {tag}{was}.")
    if output == "name":
        result(str(reference.with_digest(digest)))
    else:
        emit(_facts(reference, digest, before, dry_run), output)


async def _tag(
    store: Store, target: str, tags: Sequence[str], dry_run: bool
) -> tuple[str, dict[str, str]]:
    """The artifact's digest, and what each tag named before: empty where it named nothing."""
    before: dict[str, str] = {}
    async with store:
        manifest = await store.fetch_manifest(target)
        digest = manifest.descriptor.digest
        for tag in tags:
            try:
                before[tag] = (await store.resolve(tag)).digest
            except NotFound:
                before[tag] = ""
            if before[tag] != digest and not dry_run:
                await store.push_manifest(manifest, tag)
        return digest, before


def _facts(
    reference: Reference, digest: str, before: dict[str, str], dry_run: bool
) -> dict[str, Any]:
    return {
        "reference": str(reference.with_digest(digest)),
        "digest": digest,
        "dryRun": dry_run,
        "tags": [{"tag": tag, "before": held} for tag, held in before.items()],
    }
