"""``ocistate approve``: sign an approval of one digest for one channel."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ocistate.cli.channel.options import (
    ChannelTrustOptions,
    ChosenArtifact,
    channel_trust_options,
    choice_options,
    parse_lifetime,
)
from ocistate.cli.common.options import run_async
from ocistate.cli.common.output import emit, note, output_option, result, warn
from ocistate.cli.common.registry import OpenRepository, store_options
from ocistate.cli.trust.keys import Load, required_signer, signer_facts, signer_options
from ocistate.errors import NotFound, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.channel.approval import Approval
    from ocistate.oci.store import Store
    from ocistate.ops.channel.reader import Channel
    from ocistate.signing.identity import IdentitySigner
    from ocistate.signing.keys import Signer
    from ocistate.signing.policy.model import TrustPolicy


@click.command("approve")
@choice_options("approve")
@click.option(
    "--channel", "name", required=True, metavar="CHANNEL", help="The channel it is approved for."
)
@click.option("--reason", required=True, help="The reason; it is part of the signed approval.")
@click.option("--expires", metavar="7d", help="How long it is valid (d, h, m); default: for ever.")
@signer_options
@channel_trust_options
@store_options
@output_option("name", "json", "yaml")
def approve_command(
    choice: ChosenArtifact,
    name: str,
    reason: str,
    expires: str | None,
    load: Load | None,
    trust: ChannelTrustOptions,
    connect: OpenRepository,
    output: str,
) -> None:
    """Approve an artifact for a channel, for a pipeline's approval gate.

    Prints the REPOSITORY@DIGEST. The approval is an attestation of the artifact, valid only for
    this digest, channel and repository. With --policy the artifact must be signed.
    """
    from ocistate.channel.approval import MAX_TEXT
    from ocistate.reference import check_channel
    from ocistate.times import format_time

    check_channel(name)
    if len(reason) > MAX_TEXT:
        raise UsageError(f"--reason has more than {MAX_TEXT} characters")
    base = choice.reference.base
    source = trust.channel(choice.channel, base) if choice.channel is not None else None
    lifetime = None if expires in (None, "never") else parse_lifetime(expires or "")
    policies = trust.policies()
    if not policies:
        warn("the artifact's signature is not checked; give --policy")
    signer = required_signer(load)
    now = datetime.now(UTC).replace(microsecond=0)

    async def approve() -> tuple[Approval, str]:
        async with connect(base) as store:
            target = await _target(store, source, choice.reference)
            return await _approve(
                store, target, name, reason, policies, signer,
                now=now, expires=now + lifetime if lifetime else None,
            )  # fmt: skip

    approval, origin = run_async(approve())
    where = str(base.with_digest(approval.digest))
    until = f" until {format_time(approval.expires)}" if approval.expires else ""
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
    from ocistate.ops.channel.reader import follow_numbers, read_newest, repository_of

    if source is None:
        return reference.target or ""
    record = (await follow_numbers(store, source, await read_newest(store, source))).record
    check_policy(record, source.trust)
    check_time(record, datetime.now(UTC))
    note(f"{record} names {record.digest_of(repository_of(store.reference))}")
    return record.digest_of(repository_of(store.reference))


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
    from ocistate.channel.record import name_tag
    from ocistate.ops.channel.reader import no_channel, repository_of
    from ocistate.ops.signing.sign import sign_artifact
    from ocistate.ops.signing.verify import verify_artifact

    try:
        await store.resolve(name_tag(channel))
    except NotFound:
        raise no_channel(store.reference, channel) from None
    subject = await store.resolve(target)
    if policies:
        verified = await verify_artifact(store, subject.digest, policies)
        note(f"{subject.digest}: {verified.summary}")
    approval = Approval(
        channel=channel,
        repository=repository_of(store.reference),
        digest=subject.digest,
        reason=reason,
        at=now,
        expires=expires,
    )
    written = await sign_artifact(
        store, subject, signer, predicate_type=PREDICATE, predicate=approval.predicate()
    )
    return approval, written.digest
