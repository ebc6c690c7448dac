"""The search on invented verdicts: where it goes, where it ends, what it then knows."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment.ask.schema import Ladder
from experiment.search.ladder import bracket, climb, points_to
from experiment.terms import Bracket, Status, Tried

SHORT = Ladder(start=200, growth=1.5, points=6, most=20000, confirm=False)
LONG = Ladder(start=200, growth=1.5, points=40, most=20000, confirm=True)


def run(ladder: Ladder, verdict: Callable[[int], Status]) -> list[Tried]:
    """Follow the search to its end."""
    history: list[Tried] = []
    while (sessions := climb(ladder, history).sessions) is not None:
        history.append(Tried(sessions, verdict(sessions)))
        assert len(history) <= ladder.points
    return history


def upto(ceiling: int) -> Callable[[int], Status]:
    return lambda sessions: "PASS" if sessions <= ceiling else "FAIL"


def listed(*verdicts: Status) -> Callable[[int], Status]:
    left = iter(verdicts)
    return lambda _: next(left)


def test_the_short_ladder_grows_to_the_first_fail_and_then_halves_the_gap() -> None:
    assert [point.sessions for point in run(SHORT, upto(560))] == [200, 300, 450, 675, 562, 506]
    assert str(bracket(run(SHORT, upto(560)))) == "passes 506 ↔ fails 562"


@pytest.mark.parametrize("ceiling", [0, 1, 3, 40, 199, 200, 299, 560, 1000, 3000])
def test_the_long_ladder_ends_with_a_confirmed_edge(ceiling: int) -> None:
    known = bracket(run(LONG, upto(ceiling)))
    low = known.passed or 0
    assert low <= ceiling
    assert known.failed is not None
    assert known.failed > ceiling
    assert known.failed - low <= max(5, 0.02 * known.failed)
    assert known.solid
    assert known.confirmed == (known.passed is not None)


def test_it_stops_early() -> None:
    assert len(run(LONG, upto(560))) == points_to(LONG, 560) <= 12


def test_a_fail_at_the_first_rung_searches_below_it() -> None:
    assert [point.sessions for point in run(LONG, upto(40))][:4] == [200, 100, 50, 25]


def test_a_pass_at_the_limit_is_confirmed_and_ends_the_search() -> None:
    ladder = LONG.model_copy(update={"most": 500})
    tried = run(ladder, upto(10**9))
    assert [point.sessions for point in tried] == [200, 300, 450, 500, 500]
    assert climb(ladder, tried).why == "no fail up to 500 sessions"
    assert bracket(tried) == Bracket(500, None, confirmed=True)


def test_it_never_takes_more_points_than_allowed() -> None:
    tried = run(SHORT, upto(10**9))
    assert len(tried) == SHORT.points
    assert climb(SHORT, tried).why == "all 6 points are used"


def test_an_invalid_point_is_repeated_once_and_then_the_search_goes_on_below() -> None:
    """Where everything below passes, the harness's own end is found as closely as a ceiling would be."""
    tried = run(LONG, lambda sessions: "PASS" if sessions < 292 else "INVALID")
    assert [point.sessions for point in tried] == [200, 300, 300, 250, 275, 287, 293, 293, 290, 290]
    assert climb(LONG, tried[:2]).why == "again: the last was INVALID"
    assert climb(LONG, tried).why == "harness ends at 293 sessions on this machine: INVALID twice"
    assert str(bracket(tried)) == "confirmed 290 (harness ends at 293 sessions on this machine)"


def test_a_harness_that_an_overloaded_gateway_takes_along_does_not_hide_the_gateways_ceiling() -> None:
    known = bracket(run(LONG, lambda sessions: "INVALID" if sessions > 600 else upto(560)(sessions)))
    assert str(known) == "confirmed 555 ↔ solid fail 562"


def test_an_invalid_point_that_goes_well_the_second_time_changes_nothing() -> None:
    tried = run(SHORT, listed("INVALID", "PASS", "FAIL", "PASS", "PASS", "FAIL"))
    assert [point.sessions for point in tried] == [200, 200, 300, 250, 275, 287]


def test_all_invalid_ends_after_two() -> None:
    tried = run(LONG, lambda _: "INVALID")
    assert len(tried) == 2
    assert str(bracket(tried)) == "no pass (harness ends at 200 sessions on this machine)"


def test_a_repeat_that_disagrees_makes_a_rung_borderline() -> None:
    ladder = LONG.model_copy(update={"start": 100, "growth": 1.05})
    history = [Tried(100, "PASS"), Tried(105, "FAIL"), Tried(100, "PASS"), Tried(105, "PASS")]
    known = bracket(history)
    assert (known.passed, known.borderline, known.failed) == (100, (105,), None)
    assert climb(ladder, history).sessions == 110


def test_a_chance_fail_at_a_low_rung_is_found_out() -> None:
    seen: set[int] = set()

    def verdict(sessions: int) -> Status:
        first = sessions == 200 and sessions not in seen
        seen.add(sessions)
        return "FAIL" if first or sessions > 600 else "PASS"

    known = bracket(run(LONG, verdict))
    assert known.failed is not None
    assert 600 < known.failed <= 612
    assert known.confirmed
    assert known.solid


@pytest.mark.parametrize(
    ("verdicts", "known"),
    [
        ([(300, "PASS"), (200, "FAIL")], Bracket(None, 200)),
        ([(100, "PASS"), (200, "FAIL"), (300, "PASS")], Bracket(100, 200)),
        ([(100, "INVALID")], Bracket(None, None)),
        ([(100, "PASS"), (100, "PASS"), (110, "FAIL"), (110, "PASS"), (120, "FAIL"), (120, "FAIL")], None),
    ],
)
def test_a_pass_above_a_fail_does_not_count(verdicts: list[tuple[int, Status]], known: Bracket | None) -> None:
    expected = known or Bracket(100, 120, confirmed=True, solid=True, borderline=(110,))
    assert bracket([Tried(*point) for point in verdicts]) == expected


def test_a_bracket_reads_as_one() -> None:
    assert str(Bracket(450, 562)) == "passes 450 ↔ fails 562"
    assert str(Bracket(None, None)) == "no pass ↔ no fail"
    assert str(Bracket(450, 470, True, True, (459, 464))) == "confirmed 450 ↔ borderline 459–464 ↔ solid fail 470"


@given(st.data(), st.integers(1, 5000), st.floats(0, 0.3), st.integers(1, 3000), st.sampled_from([SHORT, LONG]))
def test_noisy_ceilings(data: st.DataObject, ceiling: int, noise: float, start: int, ladder: Ladder) -> None:
    """Near the ceiling anything may come, INVALID included; the search ends, and its bracket holds what was seen."""
    ladder = ladder.model_copy(update={"start": start})

    def verdict(sessions: int) -> Status:
        if abs(sessions - ceiling) <= noise * ceiling:
            return data.draw(st.sampled_from(("PASS", "FAIL", "PASS", "FAIL", "INVALID")))
        return upto(ceiling)(sessions)

    history = run(ladder, verdict)
    known = bracket(history)
    valid = [point for point in history if point.status != "INVALID"]
    tries = {n: [point.status for point in history if point.sessions == n] for n in {p.sessions for p in history}}
    assert all(len([status for status in seen if status != "INVALID"]) <= 2 for seen in tries.values())
    assert all(seen.count("INVALID") <= 3 for seen in tries.values())
    if known.passed is not None and known.failed is not None:
        assert known.passed < known.failed
    assert all((known.passed or 0) < n < (known.failed or 10**9) for n in known.borderline)
    if known.passed is not None:
        assert set(tries[known.passed]) <= {"PASS", "INVALID"}
        assert known.confirmed == (tries[known.passed].count("PASS") == 2)
    if known.failed is not None:
        assert known.solid == (tries[known.failed].count("FAIL") == 2)
        below = [p.sessions for p in valid if p.status == "FAIL" and p.sessions < known.failed]
        assert all("PASS" in tries[n] for n in below)


@given(st.lists(st.sampled_from(("PASS", "FAIL", "INVALID")), min_size=40, max_size=40), st.integers(1, 20000))
def test_any_verdicts_at_all_end_it(verdicts: list[Status], start: int) -> None:
    tried = run(LONG.model_copy(update={"start": start}), listed(*verdicts))
    assert len(tried) <= LONG.points
    assert climb(LONG, tried).sessions is None
