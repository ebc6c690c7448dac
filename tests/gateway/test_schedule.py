"""The flush schedule: no drift, nothing made up, lateness from the earliest tick that a late one covers."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import FlushSchedule


def test_the_first_tick_is_one_interval_after_start_and_phase() -> None:
    schedule = FlushSchedule(100.0, 250.0, 1000.0)
    assert schedule.next_due_s == 101.25
    assert schedule.pass_due(101.249) is None
    assert schedule.next_due_s == 101.25
    assert schedule.pass_due(101.25) == 0.0
    assert schedule.next_due_s == 102.25


def test_no_drift_over_a_million_ticks() -> None:
    """0.1 s has no exact binary form: a schedule that adds interval to interval is a microsecond off by the end."""
    start_s, phase_ms, interval_ms = 12345.678, 333.3, 100.0
    schedule = FlushSchedule(start_s, phase_ms, interval_ms)
    for k in range(1, 1_000_001):
        late_s = (k % 7) * 0.01
        lateness_ms = schedule.pass_due(schedule.next_due_s + late_s)
        assert lateness_ms is not None
        assert abs(lateness_ms - late_s * 1000) < 1e-4
    exact_s = Fraction(start_s) + Fraction(phase_ms) / 1000 + 1_000_001 * Fraction(interval_ms) / 1000
    assert abs(Fraction(schedule.next_due_s) - exact_s) < Fraction(1, 10**9)


def test_missed_ticks_are_not_made_up() -> None:
    schedule = FlushSchedule(0.0, 0.0, 1000.0)
    assert schedule.pass_due(4.5) == 3500.0  # ticks 1, 2, 3 and 4: counted from tick 1
    assert schedule.pass_due(4.5) is None
    assert schedule.next_due_s == 5.0
    assert schedule.pass_due(5.25) == 250.0


def test_a_tick_on_the_next_due_time_covers_both() -> None:
    schedule = FlushSchedule(0.0, 0.0, 1000.0)
    assert schedule.pass_due(2.0) == 1000.0
    assert schedule.next_due_s == 3.0


@pytest.mark.parametrize("late_s", [10.0, 1e4, 1e7])
def test_a_long_pause_costs_no_long_loop(late_s: float) -> None:
    schedule = FlushSchedule(0.0, 0.0, 1.0)
    lateness_ms = schedule.pass_due(late_s)
    assert lateness_ms == pytest.approx(late_s * 1000 - 1)
    assert late_s < schedule.next_due_s <= late_s + 0.0011


@settings(deadline=None)
@given(
    start_s=st.floats(0, 1e6),
    phase_ms=st.floats(0, 1000, exclude_max=True),
    interval_ms=st.sampled_from([1.0, 20.0, 100.0, 333.3, 1000.0, 1500.0]),
    steps_s=st.lists(st.one_of(st.floats(0, 0.01), st.floats(0, 10), st.just(1.0)), max_size=40),
)
def test_any_clock(start_s: float, phase_ms: float, interval_ms: float, steps_s: list[float]) -> None:
    schedule = FlushSchedule(start_s, phase_ms, interval_ms)
    first_s, interval_s = Fraction(start_s) + Fraction(phase_ms) / 1000, Fraction(interval_ms) / 1000
    now_s = start_s
    for step_s in steps_s:
        now_s += step_s
        due_s = schedule.next_due_s
        lateness_ms = schedule.pass_due(now_s)
        k = round((Fraction(schedule.next_due_s) - first_s) / interval_s)
        rounding_s = 4 * math.ulp(now_s + 1)
        assert k >= 1
        assert abs(Fraction(schedule.next_due_s) - first_s - k * interval_s) < rounding_s
        if now_s < due_s:
            assert lateness_ms is None
            assert schedule.next_due_s == due_s
        else:
            assert lateness_ms == (now_s - due_s) * 1000
            assert now_s < schedule.next_due_s
            assert schedule.next_due_s - float(interval_s) <= now_s + rounding_s
