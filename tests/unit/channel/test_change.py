"""What may become of a channel next."""

from __future__ import annotations

import pytest

from ocistate.channel.change import succeed
from ocistate.errors import (
    EpochRefused,
)
from tests.unit.channel.parts import (
    digest_of,
    record,
    trusted,
)


def test_a_successor_is_numbered_and_linked() -> None:
    first = trusted(succeed(None, record(9)))
    assert (first.record.number, first.record.previous) == ((1, 1), "")
    assert succeed(None, record(9), epoch=3).number == (3, 1)
    second = succeed(first, record(9))
    assert (second.number, second.previous) == ((1, 2), digest_of(first.record))
    bumped = succeed(first, record(9), epoch=4)
    assert (bumped.number, bumped.previous) == ((4, 1), digest_of(first.record))
    with pytest.raises(EpochRefused, match="epoch 1 only"):
        succeed(trusted(bumped), record(9), epoch=1)
    with pytest.raises(EpochRefused, match="last sequence"):
        succeed(trusted(record(2**53 - 1)), record(9))
    assert succeed(trusted(record(2**53 - 1)), record(9), epoch=2).number == (2, 1)
    assert succeed(trusted(record(2**53 - 2)), record(9)).sequence == 2**53 - 1
