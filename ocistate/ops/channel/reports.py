"""Write a cluster's report into the registry, and read those of all clusters of a channel.

A report is a manifest of its own with the signed bundle embedded, so that reading one is one
request, and it has a tag of its own that only its agent moves. It is no referrer of the artifact:
without the referrers API a thousand clusters would rewrite one list of them against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ocistate.channel.fleet import Fleet, TaggedReport, assess
from ocistate.channel.record import Record
from ocistate.channel.report import (
    MAX_REPORT_BYTES,
    REPORT_TYPE,
    Report,
    report_tag,
    report_tags,
    sign_report,
    verify_report,
)
from ocistate.concurrency import each
from ocistate.errors import (
    DigestMismatch,
    InvalidReport,
    LimitExceeded,
    NotFound,
    OcistateError,
    ProtocolError,
    TrustError,
)
from ocistate.oci.model import EMPTY_CONFIG, Manifest, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.ops.channel.reader import Channel
from ocistate.signing.envelope import BUNDLE_TYPE
from ocistate.signing.keys import Signer
from ocistate.signing.policy.model import TrustedKey


async def write_report(store: Store, report: Report, signer: Signer) -> str:
    """Replace a Stack's report by a newer one; the tag it has. Raises StoreError, InvalidReport."""
    bundle = sign_report(report, signer)
    layer = describe(bundle, BUNDLE_TYPE, embed=True)
    manifest = build_manifest(artifact_type=REPORT_TYPE, config=EMPTY_CONFIG, layers=(layer,))
    tag = report_tag(report.channel, report.cluster, report.stack)
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(layer, bundle)
    await store.push_manifest(manifest, tag)
    return tag


async def read_reports(
    store: Store, channel: Channel, reporters: Sequence[TrustedKey]
) -> list[TaggedReport]:
    """All reports on a channel that a repository holds, each verified or told of why not.

    The repository need not be the channel's own. Raises StoreError.
    """

    async def one(tag: str) -> TaggedReport | None:
        try:
            raw = await _fetch(store, tag)
            report = verify_report(
                raw,
                channel=channel.name,
                records=channel.repository,
                reporters=reporters,
            )
        except NotFound:
            return None
        except (TrustError, ProtocolError, DigestMismatch, LimitExceeded) as error:
            return TaggedReport(tag=tag, problem=error.message)
        except OcistateError:
            raise
        except Exception as error:  # one cluster's report must not hide those of all others
            return TaggedReport(tag=tag, problem=f"it cannot be read: {type(error).__name__}")
        if tag != report_tag(report.channel, report.cluster, report.stack):
            return TaggedReport(
                tag=tag, problem=f"it holds the report of {report.cluster}'s own tag"
            )
        return TaggedReport(tag=tag, report=report)

    found = await each(report_tags(await store.tags(), channel.name), one)
    return [item for item in found if item is not None]


async def read_fleet(
    store: Store, channel: Channel, reporters: Sequence[TrustedKey], record: Record, now: datetime
) -> Fleet:
    """How the clusters are that follow a channel, whose newest record is given."""
    return assess(
        await read_reports(store, channel, reporters),
        [trusted.name for trusted in reporters],
        record=record,
        now=now,
    )


async def _fetch(store: Store, tag: str) -> bytes:
    manifest = await store.fetch_manifest(tag)
    if (
        not isinstance(manifest, Manifest)
        or manifest.artifact_type != REPORT_TYPE
        or len(manifest.layers) != 1
    ):
        raise InvalidReport("it is no report")
    return await store.fetch_blob(manifest.layers[0], limit=MAX_REPORT_BYTES)
