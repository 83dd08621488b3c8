"""``ocistate tag``: more names for an artifact, or an old artifact under its name again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ocistate.cli.options import REFERENCE, required_target, run_async, store_options
from ocistate.cli.output import note, result
from ocistate.reference import Reference, check_tag

if TYPE_CHECKING:
    from ocistate.oci.store import Store


@click.command("tag")
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@store_options
def tag_command(
    reference: Reference, tags: tuple[str, ...], connect: Callable[[Reference], Store]
) -> None:
    """Give an artifact more tags. A tag that names something else is moved."""
    names = [check_tag(tag) for tag in tags]
    digest = run_async(_tag(connect(reference), required_target(reference, "tag"), names))
    note(f"Tagged {digest} {', '.join(names)}")
    result(str(reference.with_digest(digest)))


async def _tag(store: Store, target: str, tags: list[str]) -> str:
    async with store:
        manifest = await store.fetch_manifest(target)
        for tag in tags:
            await store.push_manifest(manifest, tag)
        return manifest.descriptor.digest
