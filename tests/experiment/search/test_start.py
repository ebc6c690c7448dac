"""Where ladders begin by what a session-second costs at a small load, and how far a passed point lets them jump."""

import pytest

from experiment.ask.schema import Ladder
from experiment.search import expected_rung
from experiment.search.ladder import climb, points_to
from experiment.terms import Tried

LADDER = Ladder(start=200, growth=1.5, points=40, most=20_000, confirm=True)


def from_rung(ladder: Ladder, rung: int) -> Ladder:
    return ladder.model_copy(update={"start": rung})


@pytest.mark.parametrize(
    ("cost_us", "vcpus", "start"), [(2500.0, 1.0, 200), (100.0, 1.0, 5000), (100.0, 16.0, 20_000), (9e9, 0.1, 200)]
)
def test_the_first_rung_is_a_share_of_what_would_fill_the_vcpus(cost_us: float, vcpus: float, start: int) -> None:
    assert expected_rung(LADDER, cost_us, vcpus, 0.5) == start


@pytest.mark.parametrize("ceiling", [100_000, 120_000, 140_000, 160_000])
def test_a_fast_gateway_on_many_cores_takes_no_more_points_than_a_slow_one_on_one(ceiling: int) -> None:
    """Costs as they were seen: gil 2500 µs at 40 sessions and a ceiling near 450 on one vCPU; drain 260 µs at 40 and
    102 at 1600 and beyond, which on 15 vCPUs would fill them at some 150 000 sessions. Each point that passes lets the
    ladder jump to what its cost says."""
    slow = points_to(from_rung(LADDER, expected_rung(LADDER, 2500.0, 1.0, 0.5)), 450)
    wide = LADDER.model_copy(update={"most": 200_000})
    near, history, failed = from_rung(wide, expected_rung(wide, 260.0, 15.0, 0.5)), list[Tried](), False
    while (sessions := climb(near, history).sessions) is not None:
        failed |= sessions > ceiling
        history.append(Tried(sessions, "FAIL" if sessions > ceiling else "PASS"))
        if sessions <= ceiling:
            near = from_rung(near, expected_rung(near, 102.0, 15.0, 0.5))
    assert failed
    assert len(history) <= slow
    assert points_to(wide, ceiling) > 2 * len(history)


def test_listed_points_that_pass_below_it_are_left_behind_at_once() -> None:
    near = from_rung(LADDER, expected_rung(LADDER, 100.0, 1.0, 0.5))
    assert climb(near, [Tried(200, "PASS")]).sessions == 5000
    assert climb(near, [Tried(200, "PASS"), Tried(5000, "FAIL")]).sessions == 2600
