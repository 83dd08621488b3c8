"""Owner ids: what is legal as a label's value."""

from __future__ import annotations

import pytest

from ocistate.labels import check_owner


@pytest.mark.parametrize("owner", ["a", "A9", "a-b_c.d", "0" * 63])
def test_an_owner_that_can_be_a_label_is_returned(owner: str) -> None:
    assert check_owner(owner) == owner


@pytest.mark.parametrize("owner", ["", "-a", "a-", "a b", "ä", "a/b", "0" * 64, "a\n"])
def test_any_other_owner_is_refused(owner: str) -> None:
    with pytest.raises(ValueError, match="not legal as a label value"):
        check_owner(owner)
