"""Who stalled, on invented arrivals."""

import pytest

from loadgen.afterwards.stalls import find_stalls
from loadgen.ledger import SessionLedger, Stall
from loadgen.messages import GatewayError, Message, Partial
from loadgen.samples import Row, Table, merge, tabulate

WATCHED_S = 20.0


def partial(oldest: int, newest: int) -> Message:
    return Partial(oldest, newest, 0.0, 0, 0.0, 0, "now")


def rows(session: int, answers: list[tuple[float, int]]) -> list[Row]:
    """One partial at each (arrival, newest frame)."""
    made: list[Row] = []
    oldest = 1
    for at_s, newest in answers:
        made.append((session, at_s, partial(oldest, newest)))
        oldest = newest + 1
    return made


def steady(session: int, late_s: float = 0.1, until_s: float = WATCHED_S) -> list[Row]:
    """Started at 0, a partial a second, its newest frame due `late_s` before it arrives."""
    times = [float(second) for second in range(1, int(until_s) + 1)]
    return rows(session, [(at_s, round((at_s - late_s) * 50) + 1) for at_s in times if at_s > late_s])


def table(*of_sessions: list[Row], due: int = 900) -> Table:
    every = [row for session in of_sessions for row in session]
    sessions = {session for session, _, _ in every}
    return merge([tabulate(every, dict.fromkeys(sessions, 0.0), dict.fromkeys(sessions, due))])


def ledger(session: int, due: int = 900, watched_s: float = WATCHED_S) -> SessionLedger:
    return SessionLedger(session, start_s=0.0, watched_until_s=watched_s, due=due)


def test_steady_sessions_do_not_stall() -> None:
    assert find_stalls([ledger(0), ledger(1)], table(steady(0), steady(1))) == {}


def test_a_session_that_stops_for_good() -> None:
    samples = table(steady(0), rows(1, [(1.0, 45), (2.0, 96)]))
    assert find_stalls([ledger(0), ledger(1)], samples) == {1: Stall(1, 5.0, recovered=False)}


def test_a_session_that_recovers_is_still_counted() -> None:
    samples = table(steady(0), rows(1, [(1.0, 45), (5.0, 240), (6.0, 290), *[(s, s * 50) for s in range(7, 21)]]))
    assert find_stalls([ledger(0), ledger(1)], samples) == {1: Stall(1, 4.0, recovered=True)}


def test_two_stalls_count_once_with_the_first_time_and_the_last_end() -> None:
    samples = table(steady(0), rows(1, [(1.0, 45), (5.0, 240)]))
    assert find_stalls([ledger(0), ledger(1)], samples) == {1: Stall(1, 4.0, recovered=False)}


@pytest.mark.parametrize(("gap_s", "stalled"), [(2.999, False), (3.0, True)])
def test_three_seconds_is_the_limit(gap_s: float, stalled: bool) -> None:
    samples = table(steady(0), rows(1, [(1.0, 45), (1.0 + gap_s, 190)]))
    assert (1 in find_stalls([ledger(0), ledger(1, due=190)], samples)) is stalled


def test_a_session_that_never_got_anything() -> None:
    assert find_stalls([ledger(0), ledger(1)], table(steady(0))) == {1: Stall(1, 3.0, recovered=False)}


def test_an_error_message_is_progress() -> None:
    own = rows(1, [(1.0, 45)])
    own.append((1, 3.5, GatewayError(46, 900, 0.0, "inference_request", "timeout", "x")))
    assert find_stalls([ledger(0), ledger(1)], table(steady(0), own)) == {}


def test_nothing_due_is_no_stall() -> None:
    samples = table(steady(0), rows(1, [(1.0, 45)]))
    assert find_stalls([ledger(0), ledger(1, due=45)], samples) == {}


def test_the_time_runs_from_the_first_uncovered_frames_due_time() -> None:
    # All 45 frames so far were answered at 0.9 s; frame 46 is due at 0.9 s as well, frame 301 only at 6 s.
    samples = table(steady(0), rows(1, [(1.0, 300)]))
    assert find_stalls([ledger(0), ledger(1)], samples) == {1: Stall(1, 9.0, recovered=False)}


def test_an_overloaded_gateway_stalls_nobody() -> None:
    assert find_stalls([ledger(0), ledger(1)], table(steady(0, late_s=1.2), rows(1, [(2.0, 40)]))) == {}


def test_one_slow_partial_in_many_does_not_hide_a_stall() -> None:
    others = [steady(session) for session in range(2, 12)]
    samples = table(steady(0, late_s=1.2), rows(1, [(2.0, 80)]), *others)
    assert find_stalls([ledger(1)], samples) == {}  # 3 of 33 partials are over 1 s: p95 is, too
    more = [steady(session) for session in range(2, 30)]
    samples = table(steady(0, late_s=1.2), rows(1, [(2.0, 80)]), *more)
    assert find_stalls([ledger(1)], samples) == {1: Stall(1, 5.0, recovered=False)}


def test_when_everything_stops_nobody_stalled() -> None:
    samples = table(rows(0, [(1.0, 45)]), rows(1, [(1.0, 45)]))
    assert find_stalls([ledger(0), ledger(1)], samples) == {}
    assert find_stalls([ledger(0)], table(rows(0, [(1.0, 45)]))) == {}
    assert find_stalls([ledger(0)], table()) == {}


def test_others_that_were_held_did_not_go_on_though_an_answer_came_just_after() -> None:
    """Their frames of the three seconds were answered much later: the gateway stood still for all of them."""
    held = rows(0, [(1.0, 46), (2.05, 98), (6.0, 296), *[(s, s * 50 - 4) for s in range(7, 21)]])
    assert find_stalls([ledger(1, due=440)], table(held, rows(1, [(2.0, 96), (9.0, 440)]))) == {}


def test_a_session_that_ended_or_never_began_does_not_stall() -> None:
    samples = table(steady(0), rows(1, [(1.0, 45)]))
    assert find_stalls([ledger(1, watched_s=3.9), SessionLedger(2)], samples) == {}
