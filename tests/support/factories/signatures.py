"""Keys, policies and signatures for the tests of signing."""

from __future__ import annotations

from typing import Any

from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    build_bundle,
    build_statement,
    pae,
)
from ocistate.signing.found import FoundSignature
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import parse_policy
from tests.support.factories.keys import make_signer

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


ALICE, BOB, MALLORY = make_signer(), make_signer(), make_signer()


def policy(name: str = "p", **spec: Any) -> TrustPolicy:
    """A policy that trusts Alice, for everything, unless it says otherwise."""
    keys = [{"name": "alice", "pem": ALICE.public_key.pem}]
    spec = {"repositories": ["**"], "keys": keys, **spec}
    return parse_policy({"metadata": {"name": name}, "spec": spec})


def signed(
    by: KeySigner = ALICE,
    digest: str = DIGEST,
    *,
    kind: str = SIGN_PREDICATE,
    predicate: Any = None,
    hint: str | None = None,
) -> FoundSignature:
    """A statement about a digest, signed; a signature of it unless ``kind`` says otherwise."""
    payload = build_statement(digest, kind, {} if predicate is None else predicate)
    raw = build_bundle(
        payload,
        by.sign(pae(PAYLOAD_TYPE, payload)),
        by.public_key.fingerprint if hint is None else hint,
    )
    return FoundSignature(origin="sha256:" + "ef" * 32, raw=raw)
