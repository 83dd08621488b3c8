"""``ocistate sign``: put a signature beside an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, note, output_option, result
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.cli.trust.keys import Load, required_signer, signer_facts, signer_options
from ocistate.errors import UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.keys import Signer


@click.command("sign")
@click.argument("reference", type=REFERENCE, metavar="REF")
@signer_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "legacy", "both"]),
    default="bundle",
    show_default=True,
    help="A sigstore bundle, cosign's older simple signing, or both.",
)
@store_options
@output_option("name", "json", "yaml")
def sign_command(
    reference: Reference,
    load: Load | None,
    form: str,
    connect: OpenRepository,
    output: str,
) -> None:
    """Sign an artifact by its digest.

    With --key, or with --identity as the CI job that this runs in, without any key to keep.
    Prints the REPOSITORY@DIGEST that was signed. The signature is a sigstore bundle that refers to
    the artifact; cosign verifies it too. The older format is for readers that know no bundles,
    such as skopeo; where others' bundles refer to the artifact, a bundle is written beside it,
    since cosign looks at those alone.
    """
    target = required_target(reference, "sign")
    signer = required_signer(load)
    who = signer_facts(signer)
    if who["identity"] and form != "bundle":
        raise UsageError("an identity signs bundles only", hint="leave --format out")
    done = run_async(_sign(connect(reference), target, signer, form))
    name = str(reference.with_digest(done["digest"]))
    if form == "legacy" and "bundle" in done["written"]:
        note("Others' bundles refer to this artifact, so a bundle was written as well.")
    if "legacy" in done["kept"]:
        note("It has a signature by this key in the older format already.")
    if done["written"]:
        by = who["identity"] or f"key {who['key'][:12]}"
        note(f"Signed {reference} as {by} ({', '.join(done['written'])})")
    if output == "name":
        result(name)
    else:
        emit({"reference": name, **done, **who}, output)


async def _sign(
    store: Store, target: str, signer: Signer | IdentitySigner, form: str
) -> dict[str, Any]:
    from ocistate.ops.signing.legacy import lacks_bundle, sign_legacy
    from ocistate.ops.signing.sign import sign_artifact
    from ocistate.signing.identity import IdentitySigner

    written: list[str] = []
    kept: list[str] = []
    async with store:
        subject = await store.resolve(target)
        # The bundle first: cut short in between, no reader is left with the older format alone.
        if (
            isinstance(signer, IdentitySigner)
            or form != "legacy"
            or await lacks_bundle(store, subject.digest, signer.public_key)
        ):
            await sign_artifact(store, subject, signer)
            written.append("bundle")
        if form != "bundle" and not isinstance(signer, IdentitySigner):
            new = await sign_legacy(store, subject, signer)
            (written if new else kept).append("legacy")
    return {"digest": subject.digest, "written": written, "kept": kept}
