"""Cover, and each failure once under one name, on invented sessions."""

import pytest

from loadgen.ledger import ErrorSeen, Failure, SessionLedger, Stall, classify
from loadgen.messages import ProtocolViolation


def names(*args: object) -> list[tuple[int, str]]:
    return [(failure.session, failure.name) for failure in classify(*args)]  # type: ignore[arg-type]


def test_cover_counts_answered_and_errored() -> None:
    ledger = SessionLedger(0)
    ledger.cover(1, 50, sent=51, answered=True)
    ledger.cover(51, 100, sent=100, answered=False)
    ledger.due = 103
    assert (ledger.answered, ledger.errored, ledger.lost) == (50, 50, 3)


@pytest.mark.parametrize(
    ("oldest", "newest", "words"),
    [
        (52, 60, "gap in cover: expected frames from 51 on, got 52 … 60"),
        (50, 60, "overlap in cover: expected frames from 51 on, got 50 … 60"),
        (1, 50, "overlap in cover"),
        (51, 101, "expected frames up to 100 at most"),
    ],
)
def test_gap_overlap_and_frames_from_the_future(oldest: int, newest: int, words: str) -> None:
    ledger = SessionLedger(0)
    ledger.cover(1, 50, sent=100, answered=True)
    with pytest.raises(ProtocolViolation, match=words):
        ledger.cover(oldest, newest, sent=100, answered=True)
    assert (ledger.next_seq, ledger.answered) == (51, 50)


def test_the_last_sent_frame_may_be_covered() -> None:
    ledger = SessionLedger(0)
    ledger.cover(1, 100, sent=100, answered=True)
    assert ledger.next_seq == 101


def test_only_the_first_own_failure_counts() -> None:
    ledger = SessionLedger(4)
    ledger.fail("send", 9.0, "full")
    ledger.fail("close", 15.0, "no reply")
    assert classify([ledger], {}, []) == [Failure(4, "send", 9.0, "full")]


def test_a_stall_supersedes_what_comes_later_and_not_what_came_before() -> None:
    later, sooner = SessionLedger(1), SessionLedger(2)
    later.fail("send", 12.0, "full")
    sooner.fail("protocol", 7.0, "gap")
    stalls = {1: Stall(1, 10.0, False), 2: Stall(2, 10.0, True)}
    assert names([later, sooner], stalls, []) == [(2, "protocol"), (1, "stalled")]


def test_a_stalled_session_counts_as_nothing_later() -> None:
    ledger = SessionLedger(1, due=100, answered=40)
    ledger.errors = [ErrorSeen(5.0, "timeout", "a"), ErrorSeen(11.0, "timeout", "b")]
    wrong = [Failure(1, "protocol", 12.0, "wrong audio")]
    assert names([ledger], {1: Stall(1, 10.0, True)}, wrong) == [(1, "inference"), (1, "stalled")]


def test_every_error_is_one_inference_failure() -> None:
    ledger = SessionLedger(3)
    ledger.errors = [ErrorSeen(at_s, "http_5xx", "500") for at_s in (1.0, 2.0, 3.0)]
    ledger.fail("close", 9.0, "no reply")
    assert names([ledger], {}, []) == [(3, "inference")] * 3 + [(3, "close")]


def test_wrong_audio_counts_once_a_session_and_before_what_follows() -> None:
    ledger = SessionLedger(6)
    ledger.fail("close", 9.0, "no reply")
    wrong = [Failure(6, "protocol", at_s, f"wrong audio at {at_s}") for at_s in (4.0, 3.0, 5.0)]
    assert classify([ledger], {}, wrong) == [Failure(6, "protocol", 3.0, "wrong audio at 3.0")]


def test_lost_only_without_another_failure() -> None:
    bare = SessionLedger(0, due=100, answered=99, watched_until_s=8.0)
    errored = SessionLedger(1, due=100, answered=49, errored=50, watched_until_s=8.0)
    errored.errors = [ErrorSeen(2.0, "timeout", "x")]
    closed = SessionLedger(2, due=100, answered=99)
    closed.fail("close", 9.0, "no reply")
    whole = SessionLedger(3, due=100, answered=50, errored=50)
    assert names([bare, errored, closed, whole], {}, []) == [(1, "inference"), (0, "lost"), (2, "close")]
    (lost,) = classify([bare], {}, [])
    assert lost.at_s == 8.0
    assert "1 of 100 due frames" in lost.detail
