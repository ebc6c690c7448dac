"""Which number of sessions to try next, and the bracket that the tries so far give. Pure: verdicts in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiment.tables import Ladder
from experiment.verdict import Status

STEP_RATIO = 0.02
STEP_SESSIONS = 5
"""A gap of 2 % or 5 sessions, whichever is larger, is not divided further."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One point of a run."""

    sessions: int
    status: Status


@dataclass(frozen=True, slots=True)
class Bracket:
    """What is known of the ceiling; None where no point says it.

    A single PASS is not confirmed and a single FAIL is not solid: both take two.
    """

    passed: int | None
    failed: int | None
    """The lowest number of sessions that failed above `passed`."""

    def __str__(self) -> str:
        low = "no pass" if self.passed is None else f"passes {self.passed}"
        high = "no fail" if self.failed is None else f"fails {self.failed}"
        return f"{low} ↔ {high}"


def bracket(history: Sequence[Tried]) -> Bracket:
    """The highest pass below the lowest fail, and that fail. INVALID points say nothing."""
    fails = [point.sessions for point in history if point.status == "FAIL"]
    failed = min(fails, default=None)
    passes = [
        point.sessions for point in history if point.status == "PASS" and (failed is None or point.sessions < failed)
    ]
    return Bracket(max(passes, default=None), failed)


def next_sessions(ladder: Ladder, history: Sequence[Tried]) -> int | None:
    """The next rung; None when the ladder has ended.

    It grows to the first FAIL, then halves the gap between the highest PASS and the lowest FAIL. A fail at the first
    rung halves downwards. It ends after `ladder.points` points, at a gap too small to divide, or at an INVALID point:
    the harness will not do better with more sessions.
    """
    if not history:
        return ladder.start
    if len(history) >= ladder.points or history[-1].status == "INVALID":
        return None
    known = bracket(history)
    if known.failed is None:
        return round(history[-1].sessions * ladder.growth)
    low = known.passed or 0
    if known.failed - low <= max(STEP_SESSIONS, STEP_RATIO * known.failed):
        return None
    return (low + known.failed) // 2
