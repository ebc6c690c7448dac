"""Exact intervals against known values, and when a count is too small to say anything."""

import pytest

from experiment.report.statistics import rate, trials_needed


@pytest.mark.parametrize(
    ("failures", "trials", "low", "high"),
    # scipy.stats.binomtest(k, n).proportion_ci(method="exact")
    [(0, 100, 0.0, 0.03621669264517642), (1, 10, 0.002528578544461617, 0.4450161174284546), (5, 5, 0.478176249, 1.0)],
)
def test_intervals_are_clopper_pearsons(failures: int, trials: int, low: float, high: float) -> None:
    found = rate(failures, trials - failures, 1e-5)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)


def test_nothing_tried_has_no_rate() -> None:
    assert rate(0, 0, 1e-5) is None


def test_300_thousand_are_needed_for_1_in_100_thousand() -> None:
    assert trials_needed(1e-5) == 299_572
    few, enough = rate(0, 299_571, 1e-5), rate(0, 299_572, 1e-5)
    assert few is not None
    assert enough is not None
    assert not few.resolves
    assert enough.resolves
    assert "too few to resolve 1 (needs 299572)" in str(few)
    assert str(enough) == "0/299572: 0–1.23 in 100 000"
