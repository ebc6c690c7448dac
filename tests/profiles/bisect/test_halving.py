"""Halving finds the two neighbours between which it changed, in as few decisions as there can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.bisect.halving import Change, Nothing, decisions, following
from profiles.bisect.sequential import Decision


@given(st.integers(2, 60).flatmap(lambda many: st.tuples(st.just(many), st.integers(1, many - 1), st.booleans())))
def test_it_finds_the_neighbours(drawn: tuple[int, int, bool]) -> None:
    many, first_after, gets_worse = drawn
    names = [f"1.{n}" for n in range(many)]
    known: dict[str, Decision | None] = {}
    while not isinstance(then := following(names, known), Change):
        assert then not in known
        known[then] = "changed" if (names.index(then) >= first_after) == gets_worse else "unchanged"
    assert then == Change(names[first_after - 1], names[first_after])
    assert len(known) <= decisions(many)


def test_alike_ends_and_ends_without_a_decision_are_no_change() -> None:
    with pytest.raises(Nothing, match="a and c are alike: unchanged"):
        following(["a", "b", "c"], {"a": "unchanged", "c": "unchanged"})
    with pytest.raises(Nothing, match="c gave no decision"):
        following(["a", "b", "c"], {"a": "unchanged", "c": None})


def test_a_candidate_without_a_decision_is_left_out() -> None:
    ends: dict[str, Decision | None] = {"a": "unchanged", "e": "changed"}
    assert following(list("abcde"), ends) == "c"
    assert following(list("abcde"), {**ends, "c": None}) == "b"
    assert following(list("abcde"), {**ends, "c": None, "b": "unchanged", "d": "changed"}) == Change("b", "d")
