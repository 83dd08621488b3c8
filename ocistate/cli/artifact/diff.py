"""``ocistate diff``: what one artifact has that another has not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from ocistate.cli.channel.options import ChannelTrustOptions, channel_trust_options
from ocistate.cli.cluster.stacks import Where, cluster_options
from ocistate.cli.common.differences import difference_rows, print_differences, summary_of
from ocistate.cli.common.options import OpenRepository, required_target, run_async, source_options
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.errors import UsageError
from ocistate.reference import Reference, parse_reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.ops.artifact.compare import ObjectDiff


@click.command("diff")
@click.argument("operands", nargs=-1, metavar="REF REF | REPO A B | [REF] --live")
@click.option("--live", is_flag=True, help="Compare one artifact with a cluster.")
@click.option("--stack", "stack_name", default="", help="With --live: as this Stack applies it.")
@cluster_options
@click.option("--exit-code", is_flag=True, help="Exit with 1 when they differ, as git does.")
@channel_trust_options
@source_options
@output_option("table", "json", "yaml", "name")
def diff_command(
    operands: tuple[str, ...],
    live: bool,
    stack_name: str,
    where: Where,
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
        from ocistate.cli.cluster.live_diff import show_live_diff

        if len(operands) > 1 or not (operands or stack_name):
            raise UsageError(
                "--live compares one artifact",
                hint="write 'ocistate diff REF --live', or 'ocistate diff --live --stack NAME'",
            )
        given = parse_reference(operands[0]) if operands else None
        return show_live_diff(given, connect, where, stack_name, exit_code, output)
    if stack_name or where.namespace or where.context or where.kubeconfig:
        raise UsageError("options of a cluster have a meaning with --live only")
    if len(operands) == 2:
        before, after = (parse_reference(text) for text in operands)
        pointers = (required_target(before, "diff"), required_target(after, "diff"))
    elif len(operands) == 3:
        before = after = parse_reference(operands[0]).base
        pointers = (operands[1], operands[2])
    else:
        raise UsageError(
            "two things to compare are needed",
            hint="write 'ocistate diff REF REF', or 'ocistate diff REPO prod staging'",
        )

    async def target(store: Store, reference: Reference, pointer: str) -> str:
        if len(operands) == 2:
            return pointer
        return await _resolve(store, reference, pointer, trust)

    async def both() -> tuple[str, str, tuple[ObjectDiff, ...]]:
        from ocistate.ops.artifact.compare import compare, open_side

        async with contextlib.AsyncExitStack() as opened:
            sides = []
            for reference, pointer in zip((before, after), pointers, strict=True):
                store = await opened.enter_async_context(connect(reference))
                sides.append(await open_side(store, await target(store, reference, pointer)))
            differences = await compare(*sides, fields=output != "name")
            return sides[0].digest, sides[1].digest, differences

    old, new, differences = run_async(both())
    if output in ("json", "yaml"):
        emit({"before": old, "after": new, "resources": difference_rows(differences)}, output)
    elif output == "name":
        for item in differences:
            result(str(item.difference.id))
    else:
        print_differences(differences)
    note(f"{summary_of(differences)}." if differences else "No difference.")
    return 1 if exit_code and differences else 0


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
