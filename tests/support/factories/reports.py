"""Signed reports of clusters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ocistate.channel.report import Report
from ocistate.signing.policy.model import TrustedKey
from tests.support.factories.keys import make_signer
from tests.support.factories.records import DIGESTS, NOW, SHOP

EAST, WEST = make_signer(), make_signer()


REPORTERS = (
    TrustedKey(name="east", key=EAST.public_key),
    TrustedKey(name="west", key=WEST.public_key),
)


MINUTE = timedelta(minutes=1)


def report(**fields: Any) -> Report:
    given: dict[str, Any] = {
        "cluster": "east",
        "stack": "shop/shop",
        "channel": "prod",
        "records": SHOP,
        "repository": SHOP,
        "digest": DIGESTS[1],
        "epoch": 1,
        "sequence": 1,
        "state": "Healthy",
        "since": NOW - 10 * MINUTE,
        "at": NOW - MINUTE,
        "every": 300,
    }
    return Report(**{**given, **fields})
