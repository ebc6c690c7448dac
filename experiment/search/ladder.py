"""Which number of sessions to try next, and the bracket that the tries so far give. Pure: verdicts in, numbers out.

Every rung is tried at most twice (an INVALID try is repeated once), so that the search ends whatever the verdicts are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiment.ask import Ladder
from experiment.terms import Bracket, Status, Tried

STEP_RATIO = 0.02
STEP_SESSIONS = 5
"""A gap of 2 % or 5 sessions, whichever is larger, is not divided further."""


@dataclass(frozen=True, slots=True)
class Move:
    """What a search does next; it has ended where `sessions` is None. `why` is for a person."""

    sessions: int | None
    why: str


def bracket(history: Iterable[Tried]) -> Bracket:
    """The highest clean pass below the lowest clean fail, that fail, and what is mixed between. INVALID says nothing.

    A pass above the lowest clean fail does not count.
    """
    rungs = _rungs(history)
    fails = {rung: tries for rung, tries in rungs.items() if set(tries) == {"FAIL"}}
    failed = min(fails, default=None)
    below = {rung: tries for rung, tries in rungs.items() if failed is None or rung < failed}
    passes = {rung: tries for rung, tries in below.items() if set(tries) == {"PASS"}}
    passed = max(passes, default=None)
    ends = min(_given_up(history), default=None)
    mixed = tuple(sorted(rung for rung, tries in below.items() if len(set(tries)) == 2 and rung > (passed or 0)))
    return Bracket(
        passed,
        failed,
        confirmed=passed is not None and len(passes[passed]) >= 2,
        solid=failed is not None and len(fails[failed]) >= 2,
        borderline=mixed,
        harness_ends=ends if ends is not None and (failed is None or ends < failed) else None,
    )


def climb(ladder: Ladder, history: Sequence[Tried]) -> Move:
    """The next rung.

    It grows by `ladder.growth`, and at once to `ladder.start`, to the first FAIL (a fail at the first rung halves
    downwards), then halves the gap at either side of what is mixed until it is too small to divide; with
    `ladder.confirm` it then repeats the edge: a repeat that disagrees makes the rung borderline, and the search goes on
    beside it. It ends with the edge known, at `ladder.most` sessions, or after `ladder.points` points. Where a point is
    INVALID twice the search goes no higher, but on below: it may have been the gateway's overload that took the harness
    along. Where even the first rung is INVALID twice it ends.
    """
    if not history:
        return Move(ladder.start, "first rung")
    known, given_up = bracket(history), _given_up(history)
    ends = min(given_up, default=None)
    ended = f"harness ends at {ends} sessions on this machine: INVALID twice"
    if ends is not None and not _rungs(history):
        return Move(None, ended)
    if len(history) >= ladder.points:
        return Move(None, f"all {ladder.points} points are used")
    if history[-1].status == "INVALID" and history[-1].sessions not in given_up:
        return Move(history[-1].sessions, "again: the last was INVALID")
    low, high = known.passed or 0, known.failed
    top = max([low, *known.borderline])
    if high is None and ends is None and top < ladder.most:
        return Move(min(ladder.most, max(round(top * ladder.growth), top + 1, ladder.start)), "grows to the first fail")
    first_doubt = known.borderline[0] if known.borderline else high
    for lower, upper in ((low, first_doubt), (top, high)):
        if ends is not None and lower < ends and (upper is None or ends < upper):
            upper = ends
        if upper is not None and not _too_small(lower, upper):
            return Move((lower + upper) // 2, f"halves {lower} ↔ {upper}")
    if ladder.confirm and known.passed is not None and not known.confirmed and known.passed not in given_up:
        return Move(known.passed, f"repeats {known.passed}, which passed once")
    if ladder.confirm and high is not None and not known.solid and high not in given_up:
        return Move(high, f"repeats {high}, which failed once")
    if known.harness_ends is not None:
        return Move(None, ended)
    return Move(None, "the edge is found" if high is not None else f"no fail up to {ladder.most} sessions")


def points_to(ladder: Ladder, ceiling: int) -> int:
    """How many points the search takes where everything up to `ceiling` passes and nothing above it does."""
    history: list[Tried] = []
    while (sessions := climb(ladder, history).sessions) is not None:
        history.append(Tried(sessions, "PASS" if sessions <= ceiling else "FAIL"))
    return len(history)


def _too_small(lower: int, upper: int) -> bool:
    return upper - lower <= max(STEP_SESSIONS, STEP_RATIO * upper)


def _rungs(history: Iterable[Tried]) -> dict[int, list[Status]]:
    """The valid tries of every rung."""
    rungs: dict[int, list[Status]] = {}
    for point in history:
        if point.status != "INVALID":
            rungs.setdefault(point.sessions, []).append(point.status)
    return rungs


def _given_up(history: Iterable[Tried]) -> set[int]:
    """The rungs whose last two tries were INVALID."""
    tries: dict[int, list[Status]] = {}
    for point in history:
        tries.setdefault(point.sessions, []).append(point.status)
    return {rung for rung, seen in tries.items() if seen[-2:] == ["INVALID"] * 2}
