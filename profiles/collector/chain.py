"""What the points of `make collector` say: each cell's rounds, the steps from gil to mt, and what stands for itself.

Pure over the evidence. A step is the rounds' differences; beside it stands how far a row comes out from itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from experiment.report import Spread

Evidence = Mapping[str, Any]
Point = Mapping[str, Any]

CHAIN = ("gil", "gil-gc-off", "st-ft-gc-off", "mt-one-loop-gc-off", "mt-gc-off", "mt")
"""From gil to mt, one factor at a time: each row is the one before with one thing changed."""
WHAT = {
    ("gil", "gil-gc-off"): "no collections on the GIL build",
    ("gil-gc-off", "st-ft-gc-off"): "the free-threaded build, nothing collected",
    ("st-ft-gc-off", "mt-one-loop-gc-off"): "Granian's mt runtime, the same single loop",
    ("mt-one-loop-gc-off", "mt-gc-off"): "a second event loop on the same core",
    ("mt-gc-off", "mt"): "the collections",
}
QUANTITIES = ("p50", "p95")
"""Of the newest frame's latency, in ms."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Points of one row in one set, at one load and slice."""

    points: tuple[Point, ...]

    def spread(self, quantity: str) -> Spread | None:
        """Over its rounds: "p50" or "p95" of the newest frames in ms, "cost" in µs per session-second, or a key of a
        point that is a number."""
        return Spread.of([value for point in self.points if (value := value_of(point, quantity)) is not None])

    @property
    def statuses(self) -> str:
        """How its points ended: "3 PASS, 1 FAIL"."""
        every = [str(point["status"]) for point in self.points]
        return ", ".join(f"{every.count(status)} {status}" for status in dict.fromkeys(every))

    @property
    def pause_ms_per_s(self) -> Spread | None:
        """How long collections ran in a second, in its processes together."""
        return self._a_second(lambda _, took_s, __: took_s * 1000)

    @property
    def freed(self) -> Spread | None:
        """Objects that collections freed, for each session-second."""
        spread = self._a_second(lambda _, __, freed: freed)
        sessions = self.points[0]["sessions"]
        return spread and Spread(spread.median / sessions, spread.low / sessions, spread.high / sessions, spread.count)

    @property
    def longest_ms(self) -> float | None:
        """Its longest collection."""
        every = [took_s * 1000 for point in self.points for _, took_s, _ in collections(point)]
        return max(every, default=None)

    @property
    def collections_per_s(self) -> Spread | None:
        """How many."""
        return self._a_second(lambda _, __, ___: 1)

    def _a_second(self, of: Callable[[float, float, int], float]) -> Spread | None:
        """The sum over a point's collections, for a second of its window; of points that were looked at."""
        return Spread.of(
            [
                sum(of(*each) for each in collections(point)) / max(one["window_s"] for one in point["processes"])
                for point in self.points
                if point["processes"]
            ]
        )


def collections(point: Point) -> list[tuple[float, float, int]]:
    """Of a point's window: when each began and how long it took, in seconds, and how many objects it freed.

    A callback that is put in while a collection runs hears its end alone. It ignores that now; the run of 25 November
    2026 kept two such ends, as collections that began with the machine's clock.
    """
    return [(at_s, took_s, freed) for at_s, took_s, freed in point["collections"] if at_s > 0]


def value_of(point: Point, quantity: str) -> float | None:
    """See `Cell.spread`."""
    found: float | None
    if quantity in QUANTITIES:
        found = (point["newest_ms"] or {}).get(quantity)
    elif quantity == "cost":
        found = (point["gateway"] or {}).get("us_per_session_second")
    else:
        found = point.get(quantity)
    return found


def cells(evidence: Evidence, of_set: str) -> dict[tuple[str, int, int, float | None], Cell]:
    """Of one set: (row, how often it stood there before, sessions, slice in ms) → its valid points, in order."""
    found: dict[tuple[str, int, int, float | None], list[Point]] = {}
    for point in evidence["points"]:
        if point["set"] == of_set and point["refused"] is None and point["status"] != "INVALID":
            key = (point["row"], point["again"], point["sessions"], point["slice_ms"])
            found.setdefault(key, []).append(point)
    return {key: Cell(tuple(points)) for key, points in found.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """From one row to another at one load: the rounds' differences of one quantity."""

    before: str
    after: str
    change: Spread

    @property
    def what(self) -> str:
        """The factor."""
        return WHAT.get((self.before, self.after), "several factors")


@dataclass(frozen=True, slots=True)
class Apart:
    """The way from gil to mt at one load, for one quantity."""

    sessions: int
    quantity: str
    base: Spread
    """gil's."""
    whole: Step
    steps: tuple[Step, ...]
    itself: Mapping[str, Spread]
    """Of each row that was measured twice: its second value less its first."""

    @property
    def reach(self) -> float:
        """The largest difference of a row from itself, either way: a change within it is not told from none."""
        return max((max(abs(each.low), abs(each.high)) for each in self.itself.values()), default=0.0)

    def share(self, step: Step) -> float | None:
        """Of the whole, by medians; None where the whole is nothing."""
        return step.change.median / self.whole.change.median if self.whole.change.median else None

    def is_told(self, step: Step) -> bool:
        """Whether the step's median is beyond what a row differs from itself."""
        return abs(step.change.median) > self.reach


def take_apart(evidence: Evidence, sessions: int, quantity: str, of_set: str = "chain") -> Apart | None:
    """None where gil or mt is not there."""
    rows, twice = (_rows(evidence, of_set, sessions, quantity, again) for again in (0, 1))
    whole = _step(rows, "gil", "mt")
    base = Spread.of(list(rows.get("gil", {}).values()))
    if whole is None or base is None:
        return None
    chain = [row for row in CHAIN if row in rows]
    steps = tuple(step for before, after in pairwise(chain) if (step := _step(rows, before, after)) is not None)
    itself = {row: change for row in twice if (change := _change(rows.get(row, {}), twice[row])) is not None}
    return Apart(sessions, quantity, base, whole, steps, itself)


def between(
    evidence: Evidence, sessions: int, quantity: str, before: str, after: str, of_set: str = "chain"
) -> Step | None:
    """The step from one row of a set to another; None where one of them was not measured."""
    return _step(_rows(evidence, of_set, sessions, quantity, 0), before, after)


def _rows(evidence: Evidence, of_set: str, sessions: int, quantity: str, again: int) -> dict[str, dict[int, float]]:
    """Of the rows that stand in a set for the first (0) or second (1) time, at one load: row → round → value."""
    found = cells(evidence, of_set)
    return {
        row: values
        for (row, times, load, _), cell in found.items()
        if load == sessions and times == again and (values := _by_round(cell.points, quantity))
    }


def _by_round(points: Sequence[Point], quantity: str) -> dict[int, float]:
    return {point["round"]: value for point in points if (value := value_of(point, quantity)) is not None}


def _step(rows: Mapping[str, Mapping[int, float]], before: str, after: str) -> Step | None:
    change = _change(rows.get(before, {}), rows.get(after, {}))
    return None if change is None else Step(before, after, change)


def _change(before: Mapping[int, float], after: Mapping[int, float]) -> Spread | None:
    return Spread.of([after[number] - before[number] for number in before if number in after])
