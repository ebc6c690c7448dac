"""Where ladders begin by what a session-second costs at a small load."""

import pytest

from experiment.ask.schema import Ladder
from experiment.search import starting_near
from experiment.search.ladder import climb, points_to
from experiment.terms import Tried

LADDER = Ladder(start=200, growth=1.5, points=40, most=20_000, confirm=True)


@pytest.mark.parametrize(
    ("cost_us", "vcpus", "start"), [(2500.0, 1.0, 200), (100.0, 1.0, 5000), (100.0, 16.0, 20_000), (9e9, 0.1, 200)]
)
def test_the_first_rung_is_a_share_of_what_would_fill_the_vcpus(cost_us: float, vcpus: float, start: int) -> None:
    assert starting_near(LADDER, cost_us, vcpus, 0.5) == LADDER.model_copy(update={"start": start})


def test_a_fast_gateway_on_many_cores_takes_no_more_points_than_a_slow_one_on_one() -> None:
    """Costs as they were seen: gil 2500 µs at 40 sessions and a ceiling near 450 on one vCPU, drain 260 µs at 40 (102
    at 1600), which on 15 vCPUs would fill them at some 140 000 sessions."""
    wide = LADDER.model_copy(update={"most": 200_000})
    slow = points_to(starting_near(LADDER, 2500.0, 1.0, 0.5), 450)
    fast = points_to(starting_near(wide, 260.0, 15.0, 0.5), 140_000)
    assert fast <= slow + 3
    assert points_to(wide, 140_000) > fast + 5


def test_listed_points_that_pass_below_it_are_left_behind_at_once() -> None:
    near = starting_near(LADDER, 100.0, 1.0, 0.5)
    assert climb(near, [Tried(200, "PASS")]).sessions == 5000
    assert climb(near, [Tried(200, "PASS"), Tried(5000, "FAIL")]).sessions == 2600
