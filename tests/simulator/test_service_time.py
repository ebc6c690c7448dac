"""The service-time model: repeatable from its seed, and distributed as PROTOCOL says."""

import math
import statistics

import pytest

from simulator.service_time import ServiceTimeModel, ServiceTimeSettings


def draws(count: int, seed: int = 1, **changed: float) -> list[float]:
    model = ServiceTimeModel(ServiceTimeSettings(**changed), seed)
    return [model.draw_s() for _ in range(count)]


def test_a_seed_repeats_its_draws_and_another_does_not() -> None:
    assert draws(100, seed=7) == draws(100, seed=7)
    assert draws(100, seed=7) != draws(100, seed=8)


def test_the_uniform_part() -> None:
    waits = draws(20_000, model_delay_ms=0)
    assert 0 <= min(waits) < 0.0005
    assert 0.0195 < max(waits) <= 0.020
    assert statistics.mean(waits) == pytest.approx(0.010, rel=0.02)


def test_the_log_normal_part() -> None:
    logs = [math.log(seconds) for seconds in draws(20_000, batch_wait_max_ms=0, slow_probability=0)]
    assert math.exp(statistics.median(logs)) == pytest.approx(0.075, rel=0.01)
    assert statistics.stdev(logs) == pytest.approx(0.15, rel=0.03)


def test_one_in_a_hundred_is_three_times_as_long() -> None:
    usual = draws(50_000, batch_wait_max_ms=0, slow_probability=0)
    mixed = draws(50_000, batch_wait_max_ms=0)
    factors = [after / before for before, after in zip(usual, mixed, strict=True)]
    slow = [factor for factor in factors if factor > 1]
    assert len(slow) / len(factors) == pytest.approx(0.01, rel=0.2)
    assert slow == pytest.approx([3.0] * len(slow))


def test_the_wait_for_a_batch_is_not_multiplied() -> None:
    assert draws(1000, model_delay_ms=0, slow_probability=0) == draws(1000, model_delay_ms=0, slow_probability=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_wait_max_ms", -1),
        ("model_delay_ms", math.inf),
        ("sigma", math.nan),
        ("slow_probability", 1.1),
        ("slow_factor", -3),
    ],
)
def test_refuses_settings_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must .*got {value}"):
        ServiceTimeSettings(**{name: value})
