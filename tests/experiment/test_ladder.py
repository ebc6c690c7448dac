"""The search on invented verdicts: where it goes, where it ends, what it then knows."""

import pytest

from experiment.ladder import Bracket, Tried, bracket, next_sessions
from experiment.tables import Ladder
from experiment.verdict import Status

LADDER = Ladder(start=200, growth=1.5, points=6)


def climb(ceiling: int, ladder: Ladder = LADDER) -> list[Tried]:
    tried: list[Tried] = []
    while (sessions := next_sessions(ladder, tried)) is not None:
        tried.append(Tried(sessions, "PASS" if sessions <= ceiling else "FAIL"))
    return tried


def test_it_grows_to_the_first_fail_and_then_halves_the_gap() -> None:
    assert [point.sessions for point in climb(560)] == [200, 300, 450, 675, 562, 506]


@pytest.mark.parametrize("ceiling", [1, 3, 40, 199, 200, 299, 560, 1000, 3000])
def test_the_bracket_holds_the_ceiling(ceiling: int) -> None:
    known = bracket(climb(ceiling, Ladder(start=200, growth=1.5, points=40)))
    assert (known.passed or 0) <= ceiling
    assert known.failed is not None
    assert known.failed > ceiling
    assert known.failed - (known.passed or 0) <= max(5, 0.02 * known.failed)


def test_a_fail_at_the_first_rung_searches_below_it() -> None:
    assert [point.sessions for point in climb(40)][:4] == [200, 100, 50, 25]


def test_it_never_takes_more_points_than_allowed() -> None:
    assert len(climb(10**9)) == LADDER.points
    assert bracket(climb(10**9)).failed is None


def test_an_invalid_point_ends_the_search_and_says_nothing() -> None:
    tried = [Tried(200, "PASS"), Tried(300, "INVALID")]
    assert next_sessions(LADDER, tried) is None
    assert bracket(tried) == Bracket(200, None)


@pytest.mark.parametrize(
    ("verdicts", "known"),
    [
        ([(300, "PASS"), (200, "FAIL")], Bracket(None, 200)),
        ([(100, "PASS"), (200, "FAIL"), (300, "PASS")], Bracket(100, 200)),
        ([(100, "INVALID")], Bracket(None, None)),
    ],
)
def test_a_pass_above_a_fail_does_not_count(verdicts: list[tuple[int, Status]], known: Bracket) -> None:
    assert bracket([Tried(*point) for point in verdicts]) == known


def test_a_bracket_reads_as_one() -> None:
    assert str(Bracket(450, 562)) == "passes 450 ↔ fails 562"
    assert str(Bracket(None, None)) == "no pass ↔ no fail"
