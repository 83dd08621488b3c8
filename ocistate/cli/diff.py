"""``ocistate diff``: what one artifact has that another has not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.options import REFERENCE, required_target, run_async, store_options
from ocistate.cli.output import emit, note, output_option, result
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.steps.fetch import Content

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


@click.command("diff")
@click.argument("before", type=REFERENCE, metavar="REF")
@click.argument("after", type=REFERENCE, metavar="REF")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when they differ, as git does.")
@store_options
@output_option("table", "json", "yaml", "name")
def diff_command(
    before: Reference,
    after: Reference,
    exit_code: bool,
    connect: Callable[[Reference], Store],
    output: str,
) -> int:
    """Show what differs between two artifacts, resource by resource and field by field.

    The values of Secrets are never shown.
    """
    from ocistate.artifact.diff import diff_inventories, diff_objects, mask_secret

    old, new = run_async(_fetch_both(connect, before, after))
    differences = diff_inventories(old.inventory, new.inventory)
    left, right = old.resources(), new.resources()
    rows: list[dict[str, Any]] = []
    for difference in differences:
        fields = []
        if difference.change == "changed":
            fields = [
                {"pointer": field.pointer, "before": field.before, "after": field.after}
                for field in diff_objects(
                    mask_secret(left[difference.id].object),
                    mask_secret(right[difference.id].object),
                )
            ]
        rows.append(
            {
                "change": difference.change,
                "group": difference.id.group,
                "kind": difference.id.kind,
                "namespace": difference.id.namespace,
                "name": difference.id.name,
                "fields": fields,
            }
        )
    if output in ("json", "yaml"):
        emit({"before": old.digest, "after": new.digest, "resources": rows}, output)
    else:
        for difference, row in zip(differences, rows, strict=True):
            sign = "" if output == "name" else f"{_SIGNS[difference.change]} "
            result(f"{sign}{difference.id}")
            for field in row["fields"] if output == "table" else ():
                result(
                    f"    {field['pointer']}: {_show(field['before'])} → {_show(field['after'])}"
                )
    if not differences:
        note("No difference.")
    return 1 if exit_code and differences else 0


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


async def _fetch_both(
    connect: Callable[[Reference], Store], before: Reference, after: Reference
) -> tuple[Content, Content]:
    from ocistate.steps.fetch import fetch_content, fetch_manifest

    contents = []
    for reference in (before, after):
        async with connect(reference) as store:
            manifest = await fetch_manifest(store, required_target(reference, "diff"))
            contents.append(await fetch_content(store, manifest))
    return contents[0], contents[1]
