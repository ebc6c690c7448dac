"""What is computed when: nothing on arrival, and the nearest due together."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.due import DuePredictions
from simulator.stub import OddBody, predict


def body_of(number: int) -> bytes:
    return number.to_bytes(2, "little") * (1 + number % 3)


def test_an_answer_is_computed_when_it_is_asked_for_and_the_next_due_with_it() -> None:
    owed = DuePredictions()
    later, first, *rest = (owed.add(body_of(n), 4, due_s) for n, due_s in enumerate((9.0, 1.0, 4.0, 3.0, 2.0, 5.0)))
    assert first.prediction is None
    assert owed.result(first) == predict(body_of(1), 4)
    assert [each.prediction is not None for each in (*rest, later)] == [True, True, True, False, False]
    assert owed.result(later) == predict(body_of(0), 4)


def test_requests_of_unlike_passes_are_not_mixed() -> None:
    owed = DuePredictions()
    pending = [owed.add(b"\x01\x00", passes, float(passes)) for passes in (1, 2, 1, 3)]
    assert [owed.result(each) for each in pending] == [predict(b"\x01\x00", passes) for passes in (1, 2, 1, 3)]


def test_refuses_what_is_no_audio_on_arrival() -> None:
    with pytest.raises(OddBody, match=r"got 3$"):
        DuePredictions().add(b"\x00\x00\x00", 4, 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=30), st.randoms())
def test_everybody_gets_his_own_answer_in_whatever_order_it_is_asked_for(
    requests: list[tuple[int, int]], order: random.Random
) -> None:
    owed = DuePredictions()
    pending = [(n, passes, owed.add(body_of(n), passes, float(due))) for n, (due, passes) in enumerate(requests)]
    order.shuffle(pending)
    for n, passes, each in pending:
        assert owed.result(each) == predict(body_of(n), passes)
        assert each.body is None
