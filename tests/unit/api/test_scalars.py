import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.api.scalars import Duration
from ocistate.documents.fields import MOST_SECONDS


@given(st.integers(min_value=0, max_value=int(MOST_SECONDS) * 1000))
def test_a_duration_is_read_as_it_is_written(millis: int) -> None:
    duration = Duration(millis / 1000)
    assert Duration.read(duration.text) == pytest.approx(duration)


@given(st.text(alphabet="0123456789hms.inf-+e ", max_size=500))
def test_no_text_makes_a_duration_out_of_bounds(text: str) -> None:
    try:
        found = Duration.read(text)
    except ValueError:
        return
    assert 0 <= found <= MOST_SECONDS


@pytest.mark.parametrize("text", ["9" * 400 + "h", "9" * 400 + "s", "infs", "1e9s", "-1s", ""])
def test_a_number_is_bounded_before_it_is_converted(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration.read(text)
