"""``ocistate approve``: say, signed, that one digest may go into one channel."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ocistate.cli.channel_options import (
    channel_for,
    channel_trust_options,
    parse_lifetime,
    read_policies,
)
from ocistate.cli.keys import Load, required_signer, signer_facts, signer_options
from ocistate.cli.options import REFERENCE, run_async, store_options
from ocistate.cli.output import emit, note, output_option, result, warn
from ocistate.errors import UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.approval import Approval
    from ocistate.oci.store import Store
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy import TrustPolicy
    from ocistate.steps.channels import Channel


@click.command("approve")
@click.argument("reference", type=REFERENCE, metavar="REPO[:TAG|@DIGEST]")
@click.option("--channel", "name", required=True, metavar="CHANNEL", help="Where it may go.")
@click.option("--from", "from_", metavar="CHANNEL", help="Approve what this channel names now.")
@click.option("--digest", metavar="DIGEST", help="Approve this digest.")
@click.option("--tag", metavar="TAG", help="Approve what this tag names now.")
@click.option("--reason", required=True, help="Why; it is part of what is signed.")
@click.option("--expires", metavar="7d", help="How long it counts (d, h, m); else for ever.")
@signer_options
@channel_trust_options
@store_options
@output_option("name", "json", "yaml")
def approve_command(
    reference: Reference,
    name: str,
    from_: str | None,
    digest: str | None,
    tag: str | None,
    reason: str,
    expires: str | None,
    load: Load | None,
    policy: str | None,
    channel_keys: tuple[str, ...],
    connect: Callable[[Reference], Store],
    output: str,
) -> None:
    """Approve that an artifact goes into a channel, as a pipeline's gate may ask for.

    Prints the REPOSITORY@DIGEST. The approval is an attestation of the artifact that counts for
    this digest, this channel and this repository alone. With --policy the artifact must be signed.
    """
    from ocistate.channel.approval import MAX_TEXT
    from ocistate.channel.record import check_channel, show_time

    given = [reference.target, from_, digest, tag]
    if sum(value is not None for value in given) != 1:
        raise UsageError(
            "what to approve must be said once",
            hint="give one of --from CHANNEL, --digest, --tag, or write REPO:TAG",
        )
    check_channel(name)
    if len(reason) > MAX_TEXT:
        raise UsageError(f"--reason has more than {MAX_TEXT} characters")
    base = reference.base
    source = None
    if from_ is not None:
        source = channel_for(from_, base, policy=policy, channel_keys=channel_keys)
    elif digest:
        reference = base.with_digest(digest)
    elif tag:
        reference = base.with_tag(tag)
    lifetime = None if expires in (None, "never") else parse_lifetime(expires or "")
    policies = read_policies(policy)
    if not policies:
        warn("the artifact's signature is not checked; give --policy")
    signer = required_signer(load)
    now = datetime.now(UTC).replace(microsecond=0)

    async def approve() -> tuple[Approval, str]:
        async with connect(base) as store:
            target = await _target(store, source, reference)
            return await _approve(
                store, target, name, reason, policies, signer,
                now=now, expires=now + lifetime if lifetime else None,
            )  # fmt: skip

    approval, origin = run_async(approve())
    where = str(base.with_digest(approval.digest))
    until = f" until {show_time(approval.expires)}" if approval.expires else ""
    note(f"Approved {where} for {name}{until}")
    if output == "name":
        result(where)
    else:
        emit(
            {
                "reference": where,
                "approval": origin,
                "expires": "",
                **approval.predicate(),
                **signer_facts(signer),
            },
            output,
        )


async def _target(store: Store, source: Channel | None, reference: Reference) -> str:
    """The tag or digest to approve; that of a channel, if its record may be followed now."""
    from ocistate.channel.trust import check_policy, check_time
    from ocistate.steps.channels import follow_numbers, place_of, read_newest

    if source is None:
        return reference.target or ""
    record = (await follow_numbers(store, source, await read_newest(store, source))).record
    check_policy(record, source.trust)
    check_time(record, datetime.now(UTC))
    note(f"{record} names {record.digest_of(place_of(store.reference))}")
    return record.digest_of(place_of(store.reference))


async def _approve(
    store: Store,
    target: str,
    channel: str,
    reason: str,
    policies: tuple[TrustPolicy, ...],
    signer: Signer | IdentitySigner,
    *,
    now: datetime,
    expires: datetime | None,
) -> tuple[Approval, str]:
    from ocistate.channel.approval import PREDICATE, Approval
    from ocistate.steps.channels import place_of
    from ocistate.steps.sign import sign_artifact
    from ocistate.steps.verify import verify_artifact

    subject = await store.resolve(target)
    if policies:
        verified = await verify_artifact(store, subject.digest, policies)
        note(f"{subject.digest}: {verified.summary}")
    approval = Approval(
        channel=channel,
        repository=place_of(store.reference),
        digest=subject.digest,
        reason=reason,
        at=now,
        expires=expires,
    )
    written = await sign_artifact(
        store, subject, signer, predicate_type=PREDICATE, predicate=approval.predicate()
    )
    return approval, written.digest
