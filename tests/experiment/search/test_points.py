"""Listed points, their repeats, the ladder after them, and whose turn it is."""

from experiment.ask.schema import Ladder
from experiment.search.points import Search, turn
from experiment.terms import Tried

LADDER = Ladder(start=200, growth=1.5, points=6, most=20000, confirm=False)


def test_listed_points_come_in_order_and_end() -> None:
    search = Search((20, 30))
    assert search.next([])[0].sessions == 20
    assert search.next([Tried(20, "FAIL")])[1] == "listed-2"
    assert search.next([Tried(20, "FAIL"), Tried(30, "PASS")])[0].sessions is None


def test_an_invalid_listed_point_is_repeated_once() -> None:
    search = Search((20,), rounds=2)
    one = Tried(20, "INVALID")
    assert search.next([one])[0].why == "again: the last was INVALID"
    assert search.next([one])[1] == "listed-1"
    assert search.next([one, one])[1] == "listed-2"
    assert search.next([one, one, one, one])[0].sessions is None


def test_the_ladder_goes_on_from_the_listed_points_and_has_points_of_its_own() -> None:
    search = Search((400,), rounds=3, ladder=LADDER)
    history = [Tried(400, "PASS")] * 3
    move, purpose = search.next(history)
    assert (move.sessions, purpose) == (600, "ladder")
    while (sessions := search.next(history)[0].sessions) is not None:
        history.append(Tried(sessions, "PASS"))
    assert len(history) == 3 + LADDER.points


def test_estimates_are_in_order() -> None:
    low, high, most = Search((100,), 3, LADDER).points()
    assert 3 < low <= high <= most


def test_rounds_rotate_and_skip_who_has_ended() -> None:
    rows, taken, order = ["a", "b", "c"], {"a": 0, "b": 0, "c": 0}, []
    for _ in range(9):
        row = turn(rows, taken, [name for name in rows if name != "b" or taken[name] < 2])
        assert row is not None
        order.append(row)
        taken[row] += 1
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "a"] or order[:6] == ["a", "b", "c", "b", "c", "a"]
    assert turn(rows, taken, []) is None
