"""``ocistate attest``: sign an attestation of an artifact."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE, required_target, run_async
from ocistate.cli.common.output import emit, note, output_option, result, warn
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.cli.trust.keys import Load, required_signer, signer_facts, signer_options
from ocistate.errors import InputError, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.store import Store
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.keys import Signer


@click.command("attest")
@click.argument("reference", type=REFERENCE, metavar="REF")
@click.option(
    "--type",
    "kind",
    required=True,
    metavar="TYPE",
    help="A URI, or cosign's slsaprovenance, slsaprovenance1, spdx, spdxjson, cyclonedx, vuln, "
    "openvex, link or custom.",
)
@click.option(
    "--predicate",
    required=True,
    metavar="FILE",
    help="The file with the predicate; '-' reads stdin.",
)
@signer_options
@store_options
@output_option("name", "json", "yaml")
def attest_command(
    reference: Reference,
    kind: str,
    predicate: str,
    load: Load | None,
    connect: OpenRepository,
    output: str,
) -> None:
    """Sign an attestation of an artifact: its provenance, its SBOM, the result of a test.

    Prints the REPOSITORY@DIGEST. The attestation is a signed in-toto statement in a sigstore
    bundle that refers to the artifact; 'ocistate verify --attestation TYPE' and cosign
    verify-attestation check it.
    """
    from ocistate.signing.predicates import build_predicate, predicate_type

    target = required_target(reference, "attest")
    type_uri = predicate_type(kind)
    content = build_predicate(kind, _read(predicate), now=datetime.now(UTC), origin=predicate)
    signer = required_signer(load)
    digest, origin, hidden = run_async(
        _attest(connect(reference), target, signer, type_uri, content)
    )
    name = str(reference.with_digest(digest))
    note(f"Attested {type_uri} of {reference}")
    if hidden:
        warn(
            "this artifact is signed in the older format only, which cosign no longer looks at "
            "beside an attestation; sign it with --format bundle as well"
        )
    if output == "name":
        result(name)
    else:
        emit(
            {
                "reference": name,
                "digest": digest,
                "attestation": origin,
                "predicateType": type_uri,
                **signer_facts(signer),
            },
            output,
        )


def _read(source: str) -> bytes:
    if source == "-":
        if sys.stdin.isatty():
            raise UsageError("'-' reads standard input, and that is the terminal", hint="pipe it")
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"the predicate {source} cannot be read: {error.strerror}") from None


async def _attest(
    store: Store, target: str, signer: Signer | IdentitySigner, type_uri: str, content: Any
) -> tuple[str, str, bool]:
    from ocistate.ops.signing.gather import gather_signatures
    from ocistate.ops.signing.sign import sign_artifact
    from ocistate.signing.claims import read_claims

    async with store:
        subject = await store.resolve(target)
        written = await sign_artifact(
            store, subject, signer, predicate_type=type_uri, predicate=content
        )
        found = await gather_signatures(store, subject.digest, legacy=True)
    signatures = [item for item in found if read_claims(item, subject.digest).kind == "signature"]
    hidden = bool(signatures) and all(item.legacy for item in signatures)
    return subject.digest, written.digest, hidden
