"""``ocistate pull``: an artifact's files into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import note, result
from ocistate.cli.common.registry import OpenRepository, source_options
from ocistate.errors import InvalidManifest
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.ops.artifact.fetch import Content


@click.command("pull")
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR|-",
    help="A new or empty folder; '-' prints all documents to stdout.",
)
@source_options
def pull_command(reference: Reference, output: str, connect: OpenRepository) -> None:
    """Fetch an artifact's files into a new folder, all or nothing.

    Every digest is checked. Who signed it is not: that is 'ocistate verify', or 'apply'.
    """
    from ocistate.ops.artifact.extract import extract

    content = run_async(_fetch(connect(reference), required_target(reference, "pull")))
    if output == "-":
        documents = [_text(path, content.files[path]).strip("\n") for path in sorted(content.files)]
        click.echo("\n---\n".join(documents))
        return
    extract(content.files, Path(output))
    note(f"{len(content.files)} files in {output}")
    result(str(reference.with_digest(content.digest)))


def _text(path: str, data: bytes) -> str:
    from ocistate.documents.text import decode

    try:
        return decode(path, data)
    except InvalidManifest:
        return data.decode("utf-8", "replace")


async def _fetch(store: Store, target: str) -> Content:
    from ocistate.ops.artifact.fetch import fetch_content, fetch_manifest

    async with store:
        return await fetch_content(store, await fetch_manifest(store, target))
