"""Start offsets, phases and due times."""

import math

import pytest

from loadgen.schedule import FRAME_INTERVAL_S, SLOT_S, Timing, due_s, slot_of, start_offsets_s

FULL = Timing(ramp_s=30, spread_s=1, warmup_s=10, measure_s=45)


def test_phases_follow_each_other() -> None:
    assert FULL.phases() == [("ramp", 0.0), ("warmup", 31), ("measure", 41), ("drain", 86)]
    assert [FULL.measures(at_s) for at_s in (40.999, 41, 85.999, 86)] == [False, True, True, False]


@pytest.mark.parametrize("name", ["ramp_s", "spread_s", "warmup_s", "measure_s"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_timing_that_cannot_be_run_names_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected"):
        Timing(**({"ramp_s": 1.0, "spread_s": 1.0, "warmup_s": 1.0, "measure_s": 1.0} | {name: value}))


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="measure_s: expected more than 0 s"):
        Timing(ramp_s=1, spread_s=1, warmup_s=1, measure_s=0)


# 1550 over 31 s: plain even steps would be exactly 20 ms apart.
@pytest.mark.parametrize("sessions", [1, 7, 300, 775, 1200, 1550])
def test_starts_are_even_over_the_ramp_and_over_the_frame_interval(sessions: int) -> None:
    offsets = start_offsets_s(FULL, sessions)
    assert len(offsets) == sessions
    for session, offset in enumerate(offsets):
        assert 0 <= offset <= 31
        assert abs(offset - session * 31 / sessions) <= FRAME_INTERVAL_S
    in_slot = [0] * 20
    for offset in offsets:
        in_slot[int(offset % FRAME_INTERVAL_S / SLOT_S)] += 1
    assert max(in_slot) <= sessions / 20 + 3


def test_all_at_once_without_ramp() -> None:
    assert start_offsets_s(Timing(0, 0, 0, 1), 3) == [0, 0, 0]


def test_due_times_and_their_slots() -> None:
    assert due_s(2.5, 1) == 2.5
    assert due_s(2.5, 51) == pytest.approx(3.5)
    assert slot_of(0.0) == 0
    assert slot_of(0.0021) == 3
    # A frame's slot never begins before the frame is due.
    for thousandth in range(1, 3000):
        at_s = thousandth * 0.00037
        assert 0 <= slot_of(at_s) * SLOT_S - at_s + 1e-12 <= SLOT_S + 1e-9
