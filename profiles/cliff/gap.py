"""What is left between mt and gil, taken apart step by step: differences of stored points, in µs per session-second.

Pure over a stored run. Each step is one factor; what the steps leave of the whole is named, not spread over them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from experiment.report import Spread, compare, markdown
from experiment.store import StoredRun

CHAIN = ("gil", "st-ft", "mt-one-loop", "mt")
"""Each row is the one before with one factor changed; a row that was not run is skipped."""
ASIDE = (("gil", "gil-picows"), ("st-ft", "threads-uvloop"), ("gil-picows", "threads-uvloop"))
WHAT = {
    ("gil", "st-ft"): "the free-threaded build: its reference counts, locks and allocator, the same single loop",
    ("st-ft", "mt-one-loop"): "Granian's mt runtime: its Rust threads and cross-thread wake-ups, the same single loop",
    ("mt-one-loop", "mt"): "a second event loop in a second thread on the same core: switches, contended counts",
    (
        "st-ft",
        "mt",
    ): "Granian's mt runtime and its second event loop: cross-thread wake-ups, switches, contended counts",
    ("gil", "gil-picows"): "without Granian, Starlette and FastAPI, on the GIL build",
    ("st-ft", "threads-uvloop"): "without Granian, Starlette and FastAPI, on the free-threaded build",
    ("gil-picows", "threads-uvloop"): "the free-threaded build, where no server stack is in between",
}


@dataclass(frozen=True, slots=True)
class Step:
    """From one row to another: the rounds' differences, in µs per session-second."""

    before: str
    after: str
    base: float
    change: Spread

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return self.change.median

    def line(self) -> list[str]:
        """For the table."""
        spread = f"{self.middle:+.0f} ({self.change.low:+.0f} … {self.change.high:+.0f})"
        what = WHAT.get((self.before, self.after), "several factors")
        return [f"{self.before} → {self.after}", what, spread, f"{self.middle / self.base:+.0%}"]


@dataclass(frozen=True, slots=True)
class Gap:
    """The whole, its steps, and what stands beside it."""

    sessions: int
    machine: str
    rounds: int
    whole: Step
    steps: tuple[Step, ...]
    aside: tuple[Step, ...]

    @property
    def unexplained(self) -> float:
        """What the steps' medians leave of the whole's."""
        return self.whole.middle - sum(step.middle for step in self.steps)

    def text(self) -> str:
        """As Markdown."""
        headings = ("from → to", "what changes", "µs per session-second (rounds' range)", "of the first row")
        lines = [step.line() for step in self.steps]
        lines.append(["not explained", "what the medians of the steps leave", f"{self.unexplained:+.0f}", ""])
        total = self.whole.line()
        lines.append([total[0], "the whole gap", *total[2:]])
        said = [
            f"At {self.sessions} sessions, {self.rounds} interleaved rounds, {self.machine}. gil costs "
            f"{self.whole.base:.0f} µs per session-second. A step whose range spans zero is not told from noise.",
            markdown(headings, lines),
        ]
        if self.aside:
            said += ["Beside the chain:", markdown(headings, [step.line() for step in self.aside])]
        return "\n\n".join(said)


def take_apart(run: StoredRun) -> Gap | None:
    """From a comparison that has gil and mt; None where it has not, or not at common sessions."""
    known = compare([run])
    costs = {row.name: known.costs(row) for row in run.rows}
    if not costs.get("gil") or not costs.get("mt") or known.sessions is None:
        return None
    chain = [name for name in CHAIN if costs.get(name)]
    whole = _step(costs, "gil", "mt")
    if whole is None:
        return None
    return Gap(
        known.sessions,
        run.machine,
        whole.change.count,
        whole,
        _steps(costs, list(pairwise(chain))),
        _steps(costs, ASIDE),
    )


def _steps(costs: Mapping[str, Mapping[str, float]], pairs: Sequence[tuple[str, str]]) -> tuple[Step, ...]:
    found = [_step(costs, before, after) for before, after in pairs if before in costs and after in costs]
    return tuple(step for step in found if step is not None)


def _step(costs: Mapping[str, Mapping[str, float]], before: str, after: str) -> Step | None:
    mine, theirs = costs[before], costs[after]
    change = Spread.of([theirs[key] - mine[key] for key in mine if key in theirs])
    return None if change is None else Step(before, after, median(mine.values()), change)
