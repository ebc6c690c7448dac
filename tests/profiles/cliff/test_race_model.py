"""The search itself, and what it must find. No Granian is needed."""

import pytest

from profiles.cliff.race_model import END, NEW, OLD, State, Step, main, report, search, successors


def test_the_old_order_loses_a_wake_up_and_shows_how() -> None:
    verdict = search(OLD)
    assert verdict.lost > 0
    assert verdict.shortest_loss is not None
    threads = [thread for thread, _ in verdict.shortest_loss]
    assert threads == ["waiter"] * 2 + ["setter"] * 5 + ["waiter"] * 3
    assert "sleeps for ever" in report("old", verdict)


def test_the_new_order_loses_none() -> None:
    verdict = search(NEW)
    assert (verdict.lost, verdict.woken_twice, verdict.deadlocks) == (0, 0, 0)


@pytest.mark.parametrize("order", [OLD, NEW])
def test_a_gil_hides_the_race(order: tuple[Step, ...]) -> None:
    verdict = search(order, gil=True)
    assert (verdict.lost, verdict.woken_twice, verdict.deadlocks) == (0, 0, 0)
    assert verdict.schedules > 2


def test_nothing_is_ever_woken_twice() -> None:
    assert search(OLD).woken_twice == 0


def test_the_losing_schedule_replays() -> None:
    schedule = search(OLD).shortest_loss
    assert schedule is not None
    state = State()
    for thread, step in schedule:
        state = next(after for who, what, after in successors(state, OLD) if (who, what) == (thread, step))
    assert state.pcs == (END, END)
    assert state.completed
    assert state.callback_stored
    assert state.wakes == 0


def test_a_lock_that_is_held_blocks() -> None:
    held = State(pcs=(3, 2), lock="setter")
    assert list(successors(held, OLD)) == []


def test_the_command_line_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert "wake-up lost in 0" in capsys.readouterr().out
