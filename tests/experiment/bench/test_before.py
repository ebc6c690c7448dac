"""A commit's draining loop beside this checkout's: both serve, each is paid for, and ratios are of the same round."""

import sys
from pathlib import Path

import pytest

from experiment.bench import before
from experiment.report.bench import before_lines
from experiment.run import checked_out
from experiment.setup import CHECKOUT, SetupError


def test_two_trees_serve_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before, "SESSIONS", 20)
    monkeypatch.setattr(before, "SECONDS", 1)
    us = before._at_once(Path(sys.executable), (CHECKOUT, checked_out("HEAD")), is_reversed=True)
    assert len(us) == 2
    assert all(each > 0 for each in us)


def test_a_commit_that_is_none_is_told() -> None:
    with pytest.raises(SetupError, match="BEFORE: expected a commit of this checkout, got 'no-such-commit'"):
        checked_out("no-such-commit")


def test_ratios_are_of_the_same_round() -> None:
    rounds = [
        {"tag": "3.14.7", "kind": kind, "round": number, "us": us}
        for number, pair in enumerate((([90.0, 100.0], [70.0, 70.0]), ([180.0, 200.0], [99.0, 99.0])))
        for kind, us in zip(("before", "a/a"), pair, strict=True)
    ]
    found = before_lines({"revision": "abc", "sessions": 500, "rounds": rounds})
    assert found[0] == ("CPython 3.14.7", "before", "135.0", "150.0", "0.900 (0.900–0.900, n=2)")
    assert found[1][1:] == ("a/a", "84.5", "84.5", "1.000 (1.000–1.000, n=2)")
