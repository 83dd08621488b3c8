"""``ocistate sign``: put a signature beside an artifact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ocistate.cli.options import REFERENCE, required_target, run_async, store_options
from ocistate.cli.output import note, result
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.keys import Signer


@click.command("sign")
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option("--key", required=True, metavar="KEY", help="The private key: a file or env://NAME.")
@store_options
def sign_command(reference: Reference, key: str, connect: Callable[[Reference], Store]) -> None:
    """Sign an artifact by its digest.

    Prints the REPOSITORY@DIGEST that was signed. The signature is a sigstore bundle that refers to
    the artifact; cosign verifies it too.
    """
    from ocistate.cli.keys import load_signer_for

    target = required_target(reference, "sign")
    signer = load_signer_for(key)
    digest = run_async(_sign(connect(reference), target, signer))
    note(f"Signed {reference} with {key}")
    result(str(reference.with_digest(digest)))


async def _sign(store: Store, target: str, signer: Signer) -> str:
    from ocistate.steps.sign import sign_artifact

    async with store:
        subject = await store.resolve(target)
        await sign_artifact(store, subject, signer)
        return subject.digest
