"""Nearest rank, in lists and in histograms: the contract's percentile."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.histograms import Distribution
from loadgen.percentiles import nearest_rank


def test_two_of_thirty_nine_are_over_the_95th() -> None:
    values = [100.0] * 37 + [400.0] * 2
    assert nearest_rank(values, 95) == 400.0
    figure = Distribution()
    figure.add(values)
    assert figure.percentile_ms(95) == pytest.approx(400.0, rel=1e-3)
    assert figure.percentile_ms(94) == pytest.approx(100.0, rel=1e-3)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=300), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_histogram_gives_the_value_at_the_rank(values_us: list[int], percent: int) -> None:
    """Up to 2048 µs every microsecond has a bucket of its own, so the value is exact."""
    exact = sorted(values_us)[math.ceil(percent * len(values_us) / 100) - 1]
    assert nearest_rank(values_us, percent) == exact
    figure = Distribution()
    figure.add([value / 1000 for value in values_us])
    assert figure.percentile_ms(percent) == exact / 1000


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        nearest_rank([], 50)
