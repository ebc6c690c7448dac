"""How a row of a campaign chooses its points, and whose turn it is. Pure: what was tried in, the next point out.

`experiment`, `ladder`, `compare` and `reproduce` are campaigns that differ in their search alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiment.ask import Ladder
from experiment.search.ladder import Move, climb, points_to
from experiment.terms import Tried

TYPICAL_CEILINGS = (2.5, 5.0)
"""For estimates: a ceiling this many times the first rung."""


@dataclass(frozen=True, slots=True)
class Search:
    """First `listed` points, each `rounds` times; then the ladder, where there is one: it counts those points too."""

    listed: tuple[int, ...] = ()
    rounds: int = 1
    ladder: Ladder | None = None

    def next(self, history: Sequence[Tried]) -> tuple[Move, str]:
        """The next point and its purpose: "listed-<slot>" (slots count from 1) or "ladder"."""
        wanted = self.listed * self.rounds
        slot, retry = _slot(history, len(wanted))
        if slot < len(wanted):
            why = "again: the last was INVALID" if retry else f"{slot + 1} of {len(wanted)}"
            return Move(wanted[slot], why), f"listed-{slot + 1}"
        if self.ladder is None:
            return Move(None, "every point that was asked for was run"), "listed"
        # The limit of points is the ladder's own.
        given = len(history) if not wanted else _consumed(history, len(wanted))
        ladder = self.ladder.model_copy(update={"points": self.ladder.points + given}) if wanted else self.ladder
        return climb(ladder, history), "ladder"

    def points(self) -> tuple[int, int, int]:
        """An estimate: points with a typical ceiling, low and high, and the most there can be."""
        fixed = len(self.listed) * self.rounds
        if self.ladder is None:
            return fixed, fixed, 2 * fixed
        typical = sorted(points_to(self.ladder, int(self.ladder.start * times)) for times in TYPICAL_CEILINGS)
        return fixed + typical[0], fixed + typical[1], 2 * fixed + self.ladder.points


def _consumed(history: Sequence[Tried], slots: int) -> int:
    """How many tries the listed points took: a slot ends with a valid try, or with its second."""
    slot, retry, used = 0, False, 0
    for point in history:
        if slot == slots:
            break
        used += 1
        if point.status == "INVALID" and not retry:
            retry = True
        else:
            slot, retry = slot + 1, False
    return used


def _slot(history: Sequence[Tried], slots: int) -> tuple[int, bool]:
    """The slot that is next, from 0, and whether it is a repeat of an INVALID try."""
    slot, retry = 0, False
    for point in history[: _consumed(history, slots)]:
        if point.status == "INVALID" and not retry:
            retry = True
        else:
            slot, retry = slot + 1, False
    return slot, retry


def turn(rows: Sequence[str], taken: Mapping[str, int], open_rows: Iterable[str]) -> str | None:
    """Whose point is next: rounds in which every open row takes one, each beginning one row further on.

    `taken` counts the turns of each row so far. None when no row is open.
    """
    waiting = [row for row in rows if row in set(open_rows)]
    if not waiting:
        return None
    round_ = min(taken.get(row, 0) for row in waiting)
    first = round_ % len(rows)
    order = [*rows[first:], *rows[:first]]
    return next(row for row in order if row in waiting and taken.get(row, 0) == round_)
