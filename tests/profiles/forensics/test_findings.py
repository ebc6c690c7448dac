"""What two looks mean, and the queues of both ends of a connection."""

from dataclasses import replace

import pytest

from profiles.forensics.findings import Look, SocketLook, TaskLook, ThreadLook, classify, parse_tcp, thread_look

TASK = TaskLook(1, "Task-7", ("app (a.py:1)", "receive (b.py:2)"), 9, "granian.Future", True, False)


def _look(
    *tasks: TaskLook, after_s: float | None = 0.01, state: str = "S", sockets: tuple[SocketLook, ...] = ()
) -> Look:
    return Look((ThreadLook(5, after_s, state, tasks),), sockets)


def _kinds(first: Look, second: Look) -> list[str]:
    return [finding.kind for finding in classify(first, second)]


def test_done_pending_and_nothing_queued_is_a_lost_wake_up() -> None:
    (finding,) = classify(_look(TASK), _look(TASK))
    assert finding.kind == "lost wake-up"
    assert "granian.Future" in finding.what
    assert finding.stack == TASK.stack


def test_uvloop_does_not_show_its_queue_and_two_looks_decide() -> None:
    unknown = replace(TASK, queued=None)
    assert _kinds(_look(unknown), _look(unknown)) == ["lost wake-up"]


@pytest.mark.parametrize(
    "second",
    [
        replace(TASK, waiter_id=10),
        replace(TASK, waiter_done=False),
        replace(TASK, id=2),
        replace(TASK, queued=True),
        replace(TASK, waiter_id=None, waiter_done=None),
    ],
)
def test_a_task_that_moved_is_not_stalled(second: TaskLook) -> None:
    assert _kinds(_look(TASK), _look(second)) == []


def test_a_wake_up_that_stays_queued_is_starved() -> None:
    queued = replace(TASK, queued=True)
    assert _kinds(_look(queued), _look(queued)) == ["starved"]


@pytest.mark.parametrize(
    ("after_s", "state", "kinds"),
    [(None, "S", ["blocked"]), (None, "R", ["starved"]), (0.5, "R", ["starved"]), (0.1, "S", [])],
)
def test_a_loop_that_does_not_come_by(after_s: float | None, state: str, kinds: list[str]) -> None:
    look = _look(after_s=after_s, state=state)
    assert _kinds(look, look) == kinds


def test_one_late_answer_is_no_finding() -> None:
    assert _kinds(_look(after_s=None), _look()) == []


def test_a_gateway_that_holds_a_closed_connection() -> None:
    gone = SocketLook("gateway", 4000, "CLOSE_WAIT", 0, 0)
    assert _kinds(_look(sockets=(gone,)), _look(sockets=(gone,))) == ["peer gone"]
    assert _kinds(_look(), _look(sockets=(gone,))) == []
    client = replace(gone, side="client")
    assert _kinds(_look(sockets=(client,)), _look(sockets=(client,))) == []


def test_the_mechanism_comes_first() -> None:
    gone = (SocketLook("gateway", 4000, "CLOSE_WAIT", 640, 0),)
    assert _kinds(_look(TASK, sockets=gone), _look(TASK, sockets=gone)) == ["lost wake-up", "peer gone"]


def test_a_thread_that_said_nothing() -> None:
    assert thread_look(5, "S", 10.0, None) == ThreadLook(5, None, "S")
    assert thread_look(5, "S", 10.0, {"at_s": 10.5, "tasks": []}).answered_after_s == 0.5


def test_queues_of_both_ends() -> None:
    text = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0\n"
        "   1: 0100007F:1F90 0100007F:C350 01 00000000:00001900 00:00000000 00000000 0 0 2 1 0 20 4 30 10 -1\n"
        "   2: 0100007F:C350 0100007F:1F90 01 00000280:00000000 01:00000014 00000000 0 0 3 2 0 20 4 1 10 -1\n"
        "   3: 0100007F:0016 0100007F:C351 01 00000000:00000000 00:00000000 00000000 0 0 4 1 0 20 4 30 10 -1\n"
    )
    assert parse_tcp(text, 0x1F90) == (
        SocketLook("gateway", 50000, "ESTABLISHED", 6400, 0),
        SocketLook("client", 50000, "ESTABLISHED", 0, 640),
    )
