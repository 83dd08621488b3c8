"""Channels for the tests: keys, records signed at will, a layout to keep them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ocistate.channel.change import Why, begun, promoted
from ocistate.channel.record import Record, RecordProvenance
from ocistate.channel.record import sign_record as sign
from ocistate.channel.trust import ChannelTrust, Trusted, authenticate
from ocistate.signing.envelope import PAYLOAD_TYPE, build_bundle, build_named_statement, pae
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustedKey
from tests.support.factories.keys import make_signer

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
SHOP = "registry.example.com/shop"
DIGESTS = ["sha256:" + f"{number:02x}" * 32 for number in range(16)]


ALICE, MALLORY = make_signer(), make_signer()


def trust(*signers: KeySigner, epoch: int | None = None, least: int = 0) -> ChannelTrust:
    names = {ALICE.public_key.fingerprint: "alice", MALLORY.public_key.fingerprint: "mallory"}
    keys = tuple(
        TrustedKey(name=names.get(s.public_key.fingerprint, "?"), key=s.public_key)
        for s in signers or (ALICE,)
    )
    return ChannelTrust(keys=keys, epoch=epoch, min_sequence=least)


def record(sequence: int = 1, **fields: Any) -> Record:
    given: dict[str, Any] = {
        "channel": "prod",
        "repository": SHOP,
        "epoch": 1,
        "sequence": sequence,
        "previous": "" if sequence == 1 else DIGESTS[0],
        "issued_at": NOW,
        "subjects": {SHOP: DIGESTS[sequence % 16]},
        "reason": "because",
    }
    return Record(**{**given, **fields})


def trusted(record: Record, signer: KeySigner = ALICE) -> Trusted:
    return authenticate(sign(record, signer), digest_of(record), trust(signer))


def digest_of(record: Record) -> str:
    """A digest for a record that is nowhere stored."""
    return f"sha256:{record.epoch:032x}{record.sequence:032x}"


def raw_record(
    signer: KeySigner = ALICE,
    *,
    predicate: Any = None,
    subjects: list[tuple[str, str]] | None = None,
    kind: str = "https://ocistate.dev/channel/v1",
    **fields: Any,
) -> bytes:
    """A signed statement that need not be a record anyone would make; None removes a field."""
    if predicate is None:
        good: Mapping[str, Any] = {
            "channel": "prod",
            "repository": SHOP,
            "epoch": 1,
            "sequence": 1,
            "previous": "",
            "issuedAt": "2026-05-01T12:00:00Z",
            "reason": "because",
        }
        predicate = {k: v for k, v in {**good, **fields}.items() if v is not None}
    payload = build_named_statement(
        [(SHOP, DIGESTS[1])] if subjects is None else subjects, kind, predicate
    )
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    return build_bundle(payload, signature, signer.public_key.fingerprint)


def why(reason: str = "because", *, days: float | None = None, **fields: Any) -> Why:
    lifetime = None if days is None else timedelta(days=days)
    return Why(now=fields.pop("now", NOW), reason=reason, lifetime=lifetime, **fields)


def pins(number: int, repository: str = SHOP) -> dict[str, tuple[str, RecordProvenance]]:
    made = RecordProvenance(
        source="https://git.example.com/shop", revision=f"main@sha1:{number:040x}"
    )
    return {repository: (DIGESTS[number], made)}


def first(number: int = 1, name: str = "prod") -> Callable[[Trusted | None], Record | None]:
    return lambda newest: begun(name, SHOP, pins(number), why())


def to(number: int, **options: Any) -> Callable[[Trusted | None], Record | None]:
    def make(newest: Trusted | None) -> Record | None:
        assert newest is not None
        return promoted(newest, pins(number), why(f"to {number}"), **options)

    return make
