"""``ocistate ls``: the artifacts of a repository, or the repositories of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import UsageError
from ocistate.reference import Reference, parse_reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.ops.repository.listing import Row


@click.command("ls")
@click.argument("place", metavar="REPOSITORY|REGISTRY")
@click.option(
    "-a", "--all", "everything", is_flag=True,
    help="The tags of channels' records and of signatures too.",
)  # fmt: skip
@store_options
@output_option("table", "json", "yaml", "name")
def ls_command(
    place: str,
    everything: bool,
    connect: OpenRepository,
    output: str,
) -> None:
    """List a repository's artifacts, the newest first; or the repositories of a registry.

    Time and revision are the artifact's own claims, and 'signed' only means that a signature
    exists: 'ocistate verify' checks whose it is.
    """
    registry = registry_of(place)
    if registry is not None:
        _print_repositories(registry, connect, output)
        return
    reference = parse_reference(place)
    if reference.target is not None:
        raise UsageError(
            f"{place} names one artifact", hint=f"'ocistate inspect {place}' shows what it holds"
        )
    rows = run_async(_list(connect(reference), everything))
    if output in ("json", "yaml"):
        emit([_facts(reference, row) for row in rows], output)
    elif output == "name":
        for row in rows:
            result(str(reference.with_tag(row.tag)))
    elif not rows:
        note(f"{reference} has no tags.")
    else:
        table(
            ("tag", "digest", "created", "signed", "revision"),
            [
                (
                    row.tag,
                    row.digest[:19],
                    row.created or "-",
                    "yes" if row.signed else "-",
                    row.problem or row.revision or "-",
                )
                for row in rows
            ],
        )


def registry_of(place: str) -> str | None:
    """The host, when only a registry is named and no repository in it."""
    host = place.removeprefix("oci://").removesuffix("/")
    if "/" in host or place.startswith(("layout:", "archive:")):
        return None
    return parse_reference(f"{host}/any").registry


def _print_repositories(registry: str, connect: OpenRepository, output: str) -> None:
    names = [f"{registry}/{name}" for name in run_async(repositories_of(connect, registry))]
    if output in ("json", "yaml"):
        emit([{"repository": name} for name in names], output)
    elif output == "name":
        for name in names:
            result(name)
    elif not names:
        note(f"{registry} has no repositories.")
    else:
        table(("repository",), [(name,) for name in names])


async def repositories_of(connect: OpenRepository, registry: str) -> list[str]:
    from ocistate.oci.registry.store import RegistryStore

    async with connect(parse_reference(f"{registry}/any")) as store:
        assert isinstance(store, RegistryStore)
        return await store.repositories()


async def _list(store: Store, everything: bool) -> list[Row]:
    from ocistate.ops.repository.listing import list_artifacts

    async with store:
        return await list_artifacts(store, everything=everything)


def _facts(reference: Reference, row: Row) -> dict[str, Any]:
    return {
        "reference": str(reference.with_tag(row.tag)),
        "tag": row.tag,
        "digest": row.digest,
        "artifactType": row.artifact_type,
        "created": row.created,
        "revision": row.revision,
        "signed": row.signed,
        "problem": row.problem,
    }
