"""The timers against a sorted list: nothing early, nothing late by more than a grain, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variants.drain.timers import GRAIN_S, Timers

times = st.floats(1000.0, 1010.0)


@given(dues=st.lists(times, max_size=50), step_s=st.floats(0.001, 3.0))
def test_each_item_comes_once_and_within_a_grain_of_its_time(dues: list[float], step_s: float) -> None:
    timers: Timers[int] = Timers()
    for item, due_s in enumerate(dues):
        timers.add(due_s, item)
    seen: list[int] = []
    now_s = 1000.0
    while timers.next_s is not None:
        now_s = max(now_s + step_s, 0)
        taken = timers.take_due(now_s)
        for item in taken:
            assert now_s - step_s - GRAIN_S - 1e-9 < dues[item] <= now_s + 1e-9
        seen += taken
    assert sorted(seen) == list(range(len(dues)))


def test_what_falls_due_together_waits_for_the_end_of_its_grain() -> None:
    timers: Timers[str] = Timers()
    timers.add(10.0001, "a")
    timers.add(10.0049, "b")
    assert timers.next_s == pytest.approx(10.005)
    assert timers.take_due(10.0049) == []
    assert timers.take_due(10.0051) == ["a", "b"]
    assert timers.next_s is None
