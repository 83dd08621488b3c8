"""Which of some trusted keys made a bundle's signature."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from ocistate.signing.envelope import Bundle
from ocistate.signing.policy.model import TrustedKey


def signer_of(bundle: Bundle, keys: Iterable[TrustedKey]) -> TrustedKey | None:
    """The key whose signature over the bundle holds; None when it is none of them."""
    keys = tuple(keys)
    # The hint only orders the tries: it is not signed, and may lie.
    hinted = [trusted for trusted in keys if trusted.key.fingerprint == bundle.hint]
    others = (trusted for trusted in keys if trusted.key.fingerprint != bundle.hint)
    signed = bundle.signed
    return next((t for t in chain(hinted, others) if t.key.verify(bundle.signature, signed)), None)
