"""Against published or closed-form values."""

import math

import pytest

from profiles.cliff.hazard import (
    chance_of_none,
    exposure_to_clear,
    poisson_rate,
    rate_ratio,
    reported_ceiling,
    survival,
)


@pytest.mark.parametrize(
    ("events", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390), (100, 81.36, 121.63)]
)
def test_garwood_limits_are_those_of_the_tables(events: int, low: float, high: float) -> None:
    rate = poisson_rate(events, 1.0)
    assert rate.low == pytest.approx(low, abs=0.006)
    assert rate.high == pytest.approx(high, abs=0.006)


def test_a_rate_is_per_exposure() -> None:
    rate = poisson_rate(11, 145_000)
    assert rate.rate * 1e6 == pytest.approx(75.9, abs=0.1)
    assert "11 in 145,000" in str(rate)


@pytest.mark.parametrize(("events", "exposure"), [(-1, 1.0), (1, 0.0), (0, math.nan)])
def test_nonsense_is_refused(events: int, exposure: float) -> None:
    with pytest.raises(ValueError, match="rate: expected"):
        poisson_rate(events, exposure)


def test_equal_rates_have_ratio_one() -> None:
    ratio = rate_ratio(poisson_rate(10, 100), poisson_rate(10, 100))
    assert ratio.ratio == pytest.approx(1)
    assert ratio.p_value == pytest.approx(1)
    assert ratio.low < 1 < ratio.high
    assert ratio.low * ratio.high == pytest.approx(1)


def test_a_ratio_to_none_has_a_lower_limit_and_a_p_value() -> None:
    ratio = rate_ratio(poisson_rate(11, 145_000), poisson_rate(0, 217_000))
    assert ratio.ratio is None
    assert ratio.high == math.inf
    assert ratio.p_value == pytest.approx((145 / 362) ** 11, rel=0.2)
    # 0.025 = share ** 11, the Clopper–Pearson limit where every event is on one side
    share = 0.025 ** (1 / 11)
    assert ratio.low == pytest.approx(share / (1 - share) * 217 / 145)


def test_no_events_at_all_say_nothing_about_a_ratio() -> None:
    with pytest.raises(ValueError, match="got none in both"):
        rate_ratio(poisson_rate(0, 1), poisson_rate(0, 1))


def test_kaplan_meier_by_hand() -> None:
    curve = survival([1, 2, 3, 4], [True, False, True, False])
    assert dict(zip(curve.frames, curve.share, strict=True)) == pytest.approx(
        {0: 1, 1: 0.75, 2: 0.75, 3: 0.375, 4: 0.375}
    )
    assert all(low <= share <= high for low, share, high in zip(curve.low, curve.share, curve.high, strict=True))


def test_chance_and_ceiling_are_each_others_inverse() -> None:
    rate = 1e-6
    ceiling = reported_ceiling(rate, seconds=86, chance=0.5)
    assert chance_of_none(rate, round(ceiling), 86) == pytest.approx(0.5, abs=0.01)
    assert reported_ceiling(0.0, 86) == math.inf


def test_what_it_takes_to_clear_a_version() -> None:
    reference = poisson_rate(24, 320_000)
    frames = exposure_to_clear(reference)
    assert rate_ratio(poisson_rate(0, frames), reference).high == pytest.approx(0.1)
    with pytest.raises(ValueError, match="reference with an event"):
        exposure_to_clear(poisson_rate(0, 1e6))
