"""Which of some trusted keys made a signature."""

from __future__ import annotations

from dataclasses import replace

from ocistate.channel.record import sign_record
from ocistate.signing.envelope import Bundle, parse_bundle
from ocistate.signing.policy.model import TrustedKey
from ocistate.signing.signer import signer_of
from tests.support.factories.records import ALICE, MALLORY, record

KEYS = [
    TrustedKey(name="alice", key=ALICE.public_key),
    TrustedKey(name="mallory", key=MALLORY.public_key),
]


def bundle() -> Bundle:
    return parse_bundle(sign_record(record(), ALICE))


def test_the_key_that_signed_is_found() -> None:
    for keys in (KEYS, KEYS[::-1], iter(KEYS)):
        found = signer_of(bundle(), keys)
        assert found is not None
        assert found.name == "alice"


def test_a_hint_that_lies_changes_nothing() -> None:
    for hint in ("", "unknown", MALLORY.public_key.fingerprint):
        found = signer_of(replace(bundle(), hint=hint), KEYS)
        assert found is not None
        assert found.name == "alice"


def test_no_other_key_counts() -> None:
    assert signer_of(bundle(), KEYS[1:]) is None
    assert signer_of(bundle(), []) is None
