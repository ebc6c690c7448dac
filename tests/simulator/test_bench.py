"""The bench: its conclusion from given points, and one short real run."""

import os
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from simulator.bench import PROTOCOLS, Point, app, conclusion, measure

GOOD = Point(
    protocol="h2c",
    offered_rate=1000,
    answered_rate=1000.0,
    failed=0,
    cpu_us_per_request=200.0,
    overshoot_p50_ms=1.0,
    overshoot_p99_ms=2.0,
    unseen_mean_ms=0.5,
    lateness_p99_ms=0.5,
)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "nothing measured"),
        ([GOOD], "overshoot p99 still 2.0 ms at 1000 req/s, the highest rate tried"),
        ([replace(GOOD, overshoot_p99_ms=11.0)], "overshoot p99 passes 10 ms below 1000 req/s"),
        (
            [GOOD, replace(GOOD, offered_rate=2000, overshoot_p99_ms=11.0)],
            "overshoot p99 passes 10 ms between 1000 and 2000 req/s",
        ),
        (
            [GOOD, replace(GOOD, offered_rate=2000, overshoot_p99_ms=11.0, lateness_p99_ms=10.5)],
            "the client ended first at 2000 req/s (its send lateness p99 10.5 ms); overshoot p99 there 11.0 ms",
        ),
    ],
)
def test_conclusion(points: list[Point], said: str) -> None:
    assert conclusion(points) == said


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_measures_a_real_simulator(protocol: str) -> None:
    core = min(os.sched_getaffinity(0))
    point = measure(protocol, rate=100, seconds=0.5, cores=(core, None))
    assert point.failed == 0
    assert point.cpu_us_per_request is not None
    assert point.cpu_us_per_request > 50  # the arithmetic alone
    assert point.overshoot_p99_ms is not None
    assert point.unseen_mean_ms is not None
    assert -5 < point.unseen_mean_ms < 50  # a lag counted twice could make it negative


@pytest.mark.parametrize("rates", ["fast", "0,100", ""])
def test_refuses_odd_rates(rates: str) -> None:
    result = CliRunner().invoke(app, ["--rates", rates])
    assert result.exit_code == 2
