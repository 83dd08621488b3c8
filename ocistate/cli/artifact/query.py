"""``ocistate query``: find objects in the artifacts of many repositories and channels."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.artifact.ls import registry_of, repositories_of
from ocistate.cli.channel.options import ChannelTrustOptions, channel_trust_options
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, table, warn
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.errors import UsageError
from ocistate.reference import Reference, parse_reference

if TYPE_CHECKING:
    from ocistate.ops.repository.query import Hit, Query, QueryResult


@click.command("query")
@click.argument("places", nargs=-1, required=True, metavar="REF|REPOSITORY|REGISTRY…")
@click.option("--channel", metavar="GLOB", help="Search these channels; all by default.")
@click.option("--tag", metavar="GLOB", help="Search these tags instead of channels.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND[.GROUP]", help="Repeatable.")
@click.option("-n", "--namespace", default="", metavar="GLOB", help="The objects' namespace.")
@click.option("--name", default="", metavar="GLOB", help="The objects' name.")
@click.option(
    "--image", default="", metavar="GLOB", help="An image the object uses, with or without tag."
)
@click.option("--where", default="", metavar="CEL", help="An expression over 'object'.")
@channel_trust_options
@store_options
@output_option("table", "json", "yaml", "name")
def query_command(
    places: tuple[str, ...],
    channel: str | None,
    tag: str | None,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
    **criteria: Any,
) -> int:
    """Find objects in artifacts: every Deployment in any prod channel with an image of this name.

    Searches what the channels of each repository name now, tags with --tag, or the one artifact of
    a reference. Layers are only fetched for --image and --where, and cached by digest.
    Exits with 1 when nothing is found, as grep does.

    \b
        ocistate query registry.example.com --channel prod --image '*/web'
        ocistate query registry.example.com/shop --where 'object.spec.replicas > 3'
    """
    from ocistate.ops.repository.query import Query

    if channel and tag:
        raise UsageError("--channel and --tag cannot be combined", hint="leave one out")
    query = Query(**criteria)
    if query.where:
        from ocistate.cel import check_syntax

        if problem := check_syntax(query.where):
            raise UsageError(f"--where {query.where!r} {problem}")
    answers = run_async(_search(places, query, channel, tag, trust, connect))
    hits = [hit for answer in answers for hit in answer.hits]
    for answer in answers:
        for problem in answer.problems:
            warn(problem)
    if output in ("json", "yaml"):
        emit([_facts(hit) for hit in hits], output)
    elif output == "name":
        for hit in hits:
            result(f"{hit.location.repository}@{hit.location.digest} {hit.entry.id}")
    elif hits:
        with_images = bool(query.image)
        table(
            ("repository", "at", "object", *(("images",) if with_images else ())),
            [
                (
                    hit.location.repository,
                    ", ".join(hit.location.pointers) or hit.location.digest[:19],
                    str(hit.entry.id),
                    *((", ".join(hit.images),) if with_images else ()),
                )
                for hit in hits
            ],
        )
    looked = sum(answer.artifacts for answer in answers)
    note(f"{len(hits)} objects in {looked} artifacts.")
    return 0 if hits else 1


async def _search(
    places: tuple[str, ...],
    query: Query,
    channel: str | None,
    tag: str | None,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
) -> list[QueryResult]:
    from ocistate.ops.channel.reader import channels_in
    from ocistate.ops.repository.query import (
        ArtifactLocation,
        QueryResult,
        locations_of_channels,
        locations_of_tags,
        search,
    )

    references: list[Reference] = []
    for location in places:
        registry = registry_of(location)
        if registry is None:
            references.append(parse_reference(location))
        else:
            names = await repositories_of(connect, registry)
            references += [parse_reference(f"{registry}/{name}") for name in names]
    answers = []
    for reference in references:
        async with connect(reference) as store:
            problems: list[str] = []
            if reference.target is not None:
                digest = (await store.resolve(reference.target)).digest
                pointers = (f":{reference.tag}",) if reference.tag else ()
                found = [
                    ArtifactLocation(
                        repository=str(reference.base), pointers=pointers, digest=digest
                    )
                ]
            elif tag:
                found = await locations_of_tags(store, tag)
            else:
                names = [
                    name
                    for name in channels_in(await store.tags())
                    if fnmatchcase(name, channel or "*")
                ]
                found, problems = await locations_of_channels(
                    store,
                    [trust.channel(name, reference, required=False) for name in names],
                )
            answer = await search(store, found, query)
            answers.append(
                QueryResult(
                    hits=answer.hits,
                    artifacts=answer.artifacts,
                    problems=(*problems, *answer.problems),
                )
            )
    return answers


def _facts(hit: Hit) -> dict[str, Any]:
    id = hit.entry.id
    return {
        "repository": hit.location.repository,
        "digest": hit.location.digest,
        "pointers": list(hit.location.pointers),
        "apiVersion": hit.entry.api_version,
        "kind": id.kind,
        "namespace": id.namespace,
        "name": id.name,
        "images": list(hit.images),
    }
