"""``ocistate diff``: what differs between two artifacts, or an artifact and a cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    channel_read_options,
)
from ocistate.cli.common.cluster import ClusterOptions, cluster_options
from ocistate.cli.common.differences import difference_rows, print_differences, summary_of
from ocistate.cli.common.options import required_target, run_async
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.cli.common.registry import OpenRepository
from ocistate.errors import UsageError
from ocistate.reference import Reference, parse_reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.ops.artifact.compare import ObjectDiff


@click.command("diff")
@click.argument("operands", nargs=-1, metavar="REF REF | REPO A B | [REF] --live")
@click.option("--live", is_flag=True, help="Compare one artifact with a cluster.")
@click.option(
    "--stack", "stack_name", default="", help="With --live: compare as this Stack applies it."
)
@cluster_options
@click.option("--exit-code", is_flag=True, help="Exit with 1 when they differ, as git does.")
@channel_read_options
@output_option("table", "json", "yaml", "name")
def diff_command(
    operands: tuple[str, ...],
    live: bool,
    stack_name: str,
    where: ClusterOptions,
    exit_code: bool,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> int:
    """Show what differs between two artifacts, object by object and field by field.

    Two references; or a repository and two of its channels (prod staging), releases of a channel
    (prod@41 prod@42), tags (:v1) or digests (sha256:…). The values of Secrets are never shown.

    With --live, one reference: every object is sent to the API server as a dry run, and compared
    with what is there. With --stack and no reference, that is what this Stack has applied.
    """
    if live:
        return _live(operands, where, stack_name, connect, exit_code, output)
    if stack_name or where.is_given:
        raise UsageError("--stack and the options of a cluster require --live", hint="add --live")
    sides = _sides(operands)
    old, new, differences = run_async(_compare(sides, trust, connect, fields=output != "name"))
    if output in ("json", "yaml"):
        emit({"before": old, "after": new, "resources": difference_rows(differences)}, output)
    elif output == "name":
        for item in differences:
            result(str(item.difference.id))
    else:
        print_differences(differences)
    note(f"{summary_of(differences)}." if differences else "No difference.")
    return 1 if exit_code and differences else 0


def _live(
    operands: tuple[str, ...],
    where: ClusterOptions,
    stack_name: str,
    connect: OpenRepository,
    exit_code: bool,
    output: str,
) -> int:
    from ocistate.cli.cluster.live_diff import show_live_diff

    if len(operands) > 1 or not (operands or stack_name):
        raise UsageError(
            "--live compares one artifact",
            hint="write 'ocistate diff REF --live', or 'ocistate diff --live --stack NAME'",
        )
    given = parse_reference(operands[0]) if operands else None
    return show_live_diff(given, connect, where, stack_name, exit_code, output)


class _Operand(NamedTuple):
    """One side: its repository, and what names the artifact in it."""

    reference: Reference
    pointer: str
    is_target: bool
    """Whether the pointer is a tag or digest, and need not be resolved."""


def _sides(operands: tuple[str, ...]) -> tuple[_Operand, _Operand]:
    """The two sides to compare. Raises UsageError."""
    if len(operands) == 2:
        before, after = (parse_reference(text) for text in operands)
        return (
            _Operand(before, required_target(before, "diff"), True),
            _Operand(after, required_target(after, "diff"), True),
        )
    if len(operands) == 3:
        base = parse_reference(operands[0]).base
        return _Operand(base, operands[1], False), _Operand(base, operands[2], False)
    raise UsageError(
        "diff needs two artifacts to compare",
        hint="write 'ocistate diff REF REF', or 'ocistate diff REPO prod staging'",
    )


async def _compare(
    operands: tuple[_Operand, _Operand],
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    *,
    fields: bool,
) -> tuple[str, str, tuple[ObjectDiff, ...]]:
    """The digests of both sides, and the objects that differ."""
    from ocistate.ops.artifact.compare import compare, open_side

    async with contextlib.AsyncExitStack() as opened:
        sides = []
        for reference, pointer, is_target in operands:
            store = await opened.enter_async_context(connect(reference))
            target = pointer if is_target else await _resolve(store, reference, pointer, trust)
            sides.append(await open_side(store, target))
        differences = await compare(*sides, fields=fields)
        return sides[0].digest, sides[1].digest, differences


async def _resolve(
    store: Store, repository: Reference, pointer: str, trust: ChannelTrustOptions
) -> str:
    """The tag or digest that a pointer inside a repository means."""
    if pointer.startswith("sha256:"):
        return repository.with_digest(pointer).target or ""
    if pointer.startswith(":"):
        return repository.with_tag(pointer[1:]).target or ""
    from ocistate.ops.channel.releases import find_digest

    name, _, wanted = pointer.partition("@")
    return await find_digest(store, trust.channel(name, repository, required=False), wanted)
