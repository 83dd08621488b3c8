"""``ocistate pack`` and ``ocistate push``: manifests in, an artifact out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, parse_annotations, run_async
from ocistate.cli.common.output import emit, note, output_option, result, warn
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.cli.trust.keys import PASSWORD_VARIABLES, Load, checked_load, signer_options
from ocistate.errors import InputError, UsageError
from ocistate.oci.tags import check_artifact_tag
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.artifact.pack import Packed
    from ocistate.oci.model import Descriptor
    from ocistate.oci.store import Store
    from ocistate.ops.artifact.push import Pushed
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.keys import Signer


def pack_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of packing; the same for both commands."""
    for option in reversed(
        [
            click.argument("inputs", nargs=-1, required=True, metavar="DIR|FILE…|-"),
            click.argument("reference", type=REFERENCE, metavar="REF"),
            click.option("-t", "--tag", "tags", multiple=True, help="One more tag; repeatable."),
            click.option("--source", help="Where the manifests come from; default: git's remote."),
            click.option("--revision", help="Their revision; default: git's branch and commit."),
            click.option(
                "--annotation", "annotations", multiple=True, metavar="K=V", help="One annotation."
            ),
            click.option(
                "--allow-secrets",
                is_flag=True,
                help="Let Secrets with plain data into the artifact.",
            ),
            click.option(
                "--include-hooks",
                is_flag=True,
                help="Pack Helm's delete, rollback and test hooks too.",
            ),
            click.option("--strict", is_flag=True, help="Treat warnings as errors."),
        ]
    ):
        command = option(command)
    return command


@click.command("pack")
@pack_options
@click.option("--dry-run", is_flag=True, help="Check and pack, but write nothing.")
@output_option("name", "json", "yaml")
def pack_command(
    inputs: tuple[str, ...], reference: Reference, output: str, dry_run: bool, **options: Any
) -> None:
    """Pack manifests into a layout folder or an archive, without pushing.

    REF is layout:PATH[:TAG] or archive:FILE[:TAG]. A folder is read whole; '-' reads standard
    input.
    """
    if reference.scheme == "oci":
        raise UsageError(
            f"{reference} is in a registry",
            hint="write layout:PATH:TAG or archive:FILE:TAG, or use 'ocistate push'",
        )
    tags = _tags(reference, options.pop("tags"))
    packed = _pack(inputs, **options)
    pushed = None if dry_run else run_async(_push(_layout(reference), packed, tags))[0]
    _report(reference, packed, pushed, tags, output)


@click.command("push")
@pack_options
@click.option("--sign", is_flag=True, help="Sign the artifact too, with --key or --identity.")
@signer_options
@click.option("--dry-run", is_flag=True, help="Check and pack, but send nothing.")
@store_options
@output_option("name", "json", "yaml")
def push_command(
    inputs: tuple[str, ...],
    reference: Reference,
    sign: bool,
    load: Load | None,
    connect: OpenRepository,
    output: str,
    dry_run: bool,
    **options: Any,
) -> None:
    """Pack manifests and push the artifact to a registry or a layout.

    Prints REPOSITORY@DIGEST. A tag that holds the same content and metadata already is left alone.
    """
    if sign:
        load = checked_load(load)
    elif load:
        raise UsageError("signing options require --sign", hint="add --sign")
    tags = _tags(reference, options.pop("tags"))
    # Both before anything is sent, so that a wrong password or manifest leaves no trace.
    unlocked = _unlock(load) if load else None
    packed = _pack(inputs, **options)
    signer = unlocked() if unlocked else None
    pushed, signed = None, False
    if not dry_run:
        pushed, signed = run_async(_push(connect(reference), packed, tags, signer))
    _report(reference, packed, pushed, tags, output, signed=signed)


def _tags(reference: Reference, more: tuple[str, ...]) -> list[str]:
    if reference.digest:
        raise UsageError(
            f"{reference} names a digest, which only the content decides", hint="name a tag instead"
        )
    tags = [*([reference.tag] if reference.tag else []), *more]
    return list(dict.fromkeys(check_artifact_tag(tag) for tag in tags))


def _unlock(load: Load) -> Load:
    """Load the signer: in a thread when no one has to be asked, since stretching the password takes
    as long as packing does."""
    if not any(name in os.environ for name in PASSWORD_VARIABLES):
        signer = load()
        return lambda: signer
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    loading = pool.submit(load)
    pool.shutdown(wait=False)
    return loading.result


def _pack(
    inputs: tuple[str, ...],
    source: str | None,
    revision: str | None,
    annotations: tuple[str, ...],
    allow_secrets: bool,
    include_hooks: bool,
    strict: bool,
) -> Packed:
    from ocistate.artifact.pack import PackOptions, Provenance, pack
    from ocistate.artifact.unpack import DEFAULT_LIMITS
    from ocistate.ops.artifact.collect import collect
    from ocistate.ops.artifact.gitsource import find_provenance

    stdin = None
    if inputs == ("-",):
        if sys.stdin.isatty():
            raise InputError(
                "'-' reads standard input, and that is the terminal", hint="pipe it in"
            )
        stdin = sys.stdin.buffer.read(DEFAULT_LIMITS.total_bytes + 1)
    collected = collect(inputs, stdin=stdin)
    found = find_provenance(collected.origin)
    packed = pack(
        collected.files,
        provenance=Provenance(
            source=found.source if source is None else source,
            revision=found.revision if revision is None else revision,
            created=found.created,
        ),
        options=PackOptions(
            allow_secrets=allow_secrets,
            include_hooks=include_hooks,
            strict=strict,
            annotations=parse_annotations(annotations),
        ),
    )
    for warning in packed.warnings:
        warn(warning)
    return packed


def _layout(reference: Reference) -> Store:
    from ocistate.oci import open_store

    return open_store(reference.base)


async def _push(
    store: Store, packed: Packed, tags: list[str], signer: Signer | IdentitySigner | None = None
) -> tuple[Pushed, bool]:
    """Push, signed first where there is a signer; and whether a signature was written."""
    from ocistate.ops.artifact.push import push_artifact

    signed = False

    async def sign(subject: Descriptor, held: bool) -> None:
        nonlocal signed
        assert signer is not None
        if not (held and await _is_signed(store, subject, signer)):
            from ocistate.ops.signing.sign import sign_artifact

            await sign_artifact(store, subject, signer)
            signed = True

    async with store:
        # Signed first, tagged last, so that the tag never names an unsigned artifact.
        pushed = await push_artifact(store, packed, tags, before=sign if signer else None)
    return pushed, signed


async def _is_signed(store: Store, subject: Descriptor, signer: Signer | IdentitySigner) -> bool:
    """Whether the key has signed it already: a job that runs each hour adds nothing each hour."""
    from ocistate.ops.signing.verify import explain
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.policy.model import policy_of_flags

    if isinstance(signer, IdentitySigner):
        return False  # it says, too, that the job has run
    decision = await explain(store, subject.digest, policy_of_flags([signer.public_key]))
    return decision.error is None


def _report(
    reference: Reference,
    packed: Packed,
    pushed: Pushed | None,
    tags: list[str],
    output: str,
    *,
    signed: bool = False,
) -> None:
    digest = pushed.descriptor.digest if pushed else packed.manifest.descriptor.digest
    name = str(reference.with_digest(digest))
    inventory = packed.inventory
    unchanged = pushed is not None and bool(tags) and set(pushed.unchanged) == set(tags)
    size = len(packed.layer) + len(packed.config)
    what = f"{len(inventory.resources)} resources, {size / 1024:.1f} KiB"
    if inventory.revision:
        what += f", {inventory.revision}"
    verb = "Would push" if pushed is None else "Unchanged" if unchanged else "Pushed"
    note(f"{verb} {reference.base}{''.join(f' :{tag}' for tag in tags)} ({what})")
    if unchanged:
        sent = "one more signature" if signed else "nothing"
        note(f"The tag already holds this content and metadata; {sent} was sent.")
    if output == "name":
        result(name)
        return
    emit(
        {
            "reference": name,
            "repository": str(reference.base),
            "digest": digest,
            "contentDigest": inventory.content_digest,
            "tags": tags,
            "unchanged": unchanged,
            "resources": len(inventory.resources),
            "source": inventory.source,
            "revision": inventory.revision,
            "warnings": list(packed.warnings),
        },
        output,
    )
