"""``ocistate sign``: put a signature beside an artifact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.options import REFERENCE, required_target, run_async, store_options
from ocistate.cli.output import emit, note, output_option, result
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.keys import Signer

_KEY_HELP = "The private key: a file, env://NAME, or exec:COMMAND for a KMS or HSM."


@click.command("sign")
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option("--key", required=True, metavar="KEY", help=_KEY_HELP)
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
    key: str,
    form: str,
    connect: Callable[[Reference], Store],
    output: str,
) -> None:
    """Sign an artifact by its digest.

    Prints the REPOSITORY@DIGEST that was signed. The signature is a sigstore bundle that refers to
    the artifact; cosign verifies it too. The older format is for readers that know no bundles,
    such as skopeo; where others' bundles refer to the artifact, a bundle is written beside it,
    since cosign looks at those alone.
    """
    from ocistate.cli.keys import load_signer_for

    target = required_target(reference, "sign")
    signer = load_signer_for(key)
    done = run_async(_sign(connect(reference), target, signer, form))
    name = str(reference.with_digest(done["digest"]))
    if form == "legacy" and "bundle" in done["written"]:
        note("Others' bundles refer to this artifact, so a bundle was written as well.")
    if "legacy" in done["kept"]:
        note("It has a signature by this key in the older format already.")
    if done["written"]:
        note(f"Signed {reference} with {key.partition(' ')[0]} ({', '.join(done['written'])})")
    if output == "name":
        result(name)
    else:
        emit({"reference": name, **done, "key": signer.public_key.fingerprint}, output)


async def _sign(store: Store, target: str, signer: Signer, form: str) -> dict[str, Any]:
    from ocistate.steps.sign import sign_artifact
    from ocistate.steps.sign_legacy import lacks_bundle, sign_legacy

    written: list[str] = []
    kept: list[str] = []
    async with store:
        subject = await store.resolve(target)
        # The bundle first: cut short in between, no reader is left with the older format alone.
        if form != "legacy" or await lacks_bundle(store, subject.digest, signer.public_key):
            await sign_artifact(store, subject, signer)
            written.append("bundle")
        if form != "bundle":
            new = await sign_legacy(store, subject, signer)
            (written if new else kept).append("legacy")
    return {"digest": subject.digest, "written": written, "kept": kept}
