"""The one table of a campaign with several rows, and of several stored runs: figures from `costs`, as text.

It measures and stores nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiment.ask import ConfigError
from experiment.report.costs import Spread, by_round, carried, common_sessions, neighbours, paired, unpaired
from experiment.store import StoredRow, StoredRun, differences, facts_of
from experiment.terms import Bracket

HEADINGS = (
    "row",
    "interpreter",
    "gateway µs per session-s",
    "ratio to first",
    "bracket",
    "ceiling ÷ first's",
    "harness: worst late / overshoot p99 ms",
    "note",
)


SCREEN_HEADINGS = (
    *("row", "CPython", "gateway µs\nper session-s", "ratio\nto first", "bracket", "ceiling ÷\nfirst's"),
    "harness p99:\nlate/overshoot",
)
"""The same but for the note, with lines for narrow columns."""
_NARROW = re.compile(r", n=\d+| sessions on this machine")
"""What a narrow column leaves out: the method says it, or the table's last line."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows side by side."""

    rows: tuple[StoredRow, ...]
    runs: tuple[str, ...]
    """The name of each row's run."""
    sessions: int | None
    """The number of sessions (for each thread, in shapes of threads) at which costs are compared; None where no rows
    share one."""

    @property
    def interleaved(self) -> bool:
        """Whether all rows are of one run, so that ratios can be taken round by round."""
        return len(set(self.runs)) == 1

    def _named(self, of_run: Mapping[str, object]) -> list[str]:
        """The rows' names: where there are several runs, each with what its run is called."""
        pairs = zip(self.rows, self.runs, strict=True)
        return [row.name if self.interleaved else f"{row.name} ({of_run[run]})" for row, run in pairs]

    @property
    def names(self) -> list[str]:
        """Of the rows, as they stand in a page's table: with their run's name where there are several runs."""
        return self._named({run: run for run in self.runs})

    def lines(self) -> list[tuple[str, ...]]:
        """One line per row, under HEADINGS."""
        base = next((row for row in self.rows if row.points), None)
        return [
            (
                name,
                row.interpreter,
                self._cost(row),
                "1" if row is base else self._ratio(row, base),
                "–" if row.bracket is None else str(row.bracket),
                "1" if row is base else _interval(row, base),
                _health(row),
                row.refused or "; ".join([*labels(row), *self._overloaded(row)]),
            )
            for name, row in zip(self.names, self.rows, strict=True)
        ]

    def _cost(self, row: StoredRow) -> str:
        """Of the gateway's group, and all-in where that is known."""
        all_in = Spread.of(list(self.costs(row, all_in=True).values()))
        own = _text(Spread.of(list(self.costs(row).values())), 0)
        return own if all_in is None else f"{own}; all-in {all_in.text(0)}"

    def _ratio(self, row: StoredRow, base: StoredRow | None) -> str:
        """Of a row's cost to the first's, and beside it what the first's to itself came out as."""
        ratio = Spread.of(self.ratios(row, base))
        return "; ".join([_text(ratio, 3), *(self._apart(ratio) if _again(row) is None else [])])

    def _apart(self, ratio: Spread | None) -> list[str]:
        """A/A: the reach of a ratio of nothing, and whether this one lies in it; empty where no row was run twice."""
        reach = self.reach
        if reach is None or ratio is None:
            return []
        said = f"A/A {reach[0]:.3f}–{reach[1]:.3f}"
        return [said, "not told apart"] if reach[0] <= ratio.median <= reach[1] else [said]

    def told(self, ratio: Spread) -> str:
        """A ratio of costs, and beside it what a ratio of nothing came out as, where a row was run twice."""
        return "; ".join([ratio.text(3), *self._apart(ratio)])

    @property
    def reach(self) -> tuple[float, float] | None:
        """The ratios, round by round, of a row to its own repeat, taken both ways: which of the two came first in a
        round says nothing."""
        by_name = {row.name: row for row in self.rows} if self.interleaved else {}
        ratios = [
            ratio
            for row in by_name.values()
            if (first := by_name.get(str(_again(row)))) is not None
            for ratio in self.ratios(row, first)
        ]
        both = [*ratios, *(1 / ratio for ratio in ratios)]
        return (min(both), max(both)) if both else None

    def screen(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Headings and lines for a terminal: what `lines` has in fewer and narrower columns; `remarks` has the rest."""
        cells = [[_NARROW.sub("", cell).replace("; ", "\n") for cell in line[1:-1]] for line in self.lines()]
        return SCREEN_HEADINGS, [(name, *line) for name, line in zip(self._named(self._numbers()), cells, strict=True)]

    def remarks(self) -> list[str]:
        """What must be said of single rows and of the runs that they are of."""
        runs = [] if self.interleaved else [f"({number}) {run}" for run, number in self._numbers().items()]
        notes = zip(self._named(self._numbers()), (line[-1] for line in self.lines()), strict=True)
        return [*runs, *(f"{name}: {note}" for name, note in notes if note)]

    def _numbers(self) -> dict[str, int]:
        """By run: what stands for its name where columns are narrow."""
        return {run: number for number, run in enumerate(dict.fromkeys(self.runs), 1)}

    def costs(self, row: StoredRow, *, all_in: bool = False) -> dict[str, float]:
        """µs per session-second, by round."""
        return {} if self.sessions is None else by_round(row.points, self.sessions * _threads(row), all_in=all_in)

    def ratios(self, row: StoredRow, base: StoredRow | None, *, all_in: bool = False) -> list[float]:
        """Of a row's cost to another's; empty where one of them is not known."""
        if base is None:
            return []
        divided = paired if self.interleaved else unpaired
        return divided(self.costs(row, all_in=all_in), self.costs(base, all_in=all_in))

    def _overloaded(self, row: StoredRow) -> list[str]:
        """That a cost was taken where the row failed: a gateway that is behind does less for its CPU time."""
        points = [point for point in row.points if point.purpose in self.costs(row)]
        failed = sum(point.status == "FAIL" for point in points)
        return [f"{failed} of {len(points)} cost points FAIL"] if failed else []

    def factors(self) -> list[str]:
        """A sentence for every pair of rows that differ in one factor."""
        said = []
        for name, one, other in self._neighbours():
            mine, theirs = self.costs(one), self.costs(other)
            change = Spread.of([theirs[slot] - mine[slot] for slot in mine if slot in theirs])
            ratio = Spread.of(paired(theirs, mine))
            if change is not None and ratio is not None:
                tags = one.interpreter, other.interpreter
                build = f" (CPython {tags[0]} → {tags[1]})" if tags[0] != tags[1] else ""
                said.append(
                    f"{name}, {one.name} → {other.name}{build}: {change.median:+.0f} µs "
                    f"({change.low:+.0f} to {change.high:+.0f}), × {self.told(ratio)}"
                )
        return said

    def factor_ratios(self) -> list[tuple[str, str, str, float]]:
        """The factor, the two rows and the median ratio of their costs, for every such pair."""
        return [
            (name, one.name, other.name, ratio.median)
            for name, one, other in self._neighbours()
            if (ratio := Spread.of(paired(self.costs(other), self.costs(one)))) is not None
        ]

    def _neighbours(self) -> list[tuple[str, StoredRow, StoredRow]]:
        """Pairs of rows that differ in one factor, with its name; none where costs cannot be paired."""
        rows = {row.name: row for row in self.rows if self.costs(row)} if self.interleaved else {}
        pairs = neighbours({name: row.facts for name, row in rows.items()})
        return [(name, rows[one], rows[other]) for one, other, name in pairs]

    def overlaps(self) -> list[str]:
        """For each row that several runs have: whether all its brackets have numbers of sessions in common."""
        repeats: dict[str, list[StoredRow]] = {}
        for row in self.rows:
            repeats.setdefault(row.name, []).append(row)
        said = []
        for name, rows in repeats.items():
            known = [row.bracket for row in rows if row.bracket is not None]
            if len(known) < 2:
                continue
            low = max(bracket.passed or 0 for bracket in known)
            high = min((bracket.failed for bracket in known if bracket.failed is not None), default=None)
            both = ", ".join(str(bracket) for bracket in known)
            if high is None:
                verdict = "none has an upper end, so they cannot disagree"
            else:
                verdict = (
                    f"they overlap ({low}–{high})"
                    if low < high
                    else f"they do not overlap ({low} passed, {high} failed)"
                )
            said.append(f"{name}: {both}: {verdict}")
        return said

    def bars(self) -> list[tuple[str, Bracket | None, Spread | None]]:
        """For a picture: each row with its interpreter, bracket and cost."""
        return [
            (f"{name}\n{row.interpreter}", row.bracket, Spread.of(list(self.costs(row).values())))
            for name, row in zip(self.names, self.rows, strict=True)
            if row.points
        ]

    @property
    def how(self) -> str:
        """What the ratios are."""
        at = "no number of sessions that all rows share" if self.sessions is None else f"{self.sessions} sessions"
        if any(_threads(row) > 1 for row in self.rows):
            at += " for each thread"
        if self.interleaved:
            return f"cost at {at}; ratios are paired round by round: median (lowest–highest)"
        return f"cost at {at}; runs of different times, not interleaved: ratios of all pairs, median (lowest–highest)"


def compare(runs: Sequence[StoredRun]) -> Comparison:
    """Put runs together.

    Raises:
        ConfigError: they differ in a fact that a comparison needs; each is named.
    """
    named = {run.name: run.manifest for run in runs}
    if len(named) < len(runs):
        raise ConfigError("RUNS: expected different runs, got one twice")
    if unlike := differences(named):
        raise ConfigError("\n".join([f"these runs cannot be compared; they differ in {facts_of(unlike)}", *unlike]))
    rows = [(run, row) for run in runs for row in run.rows]
    return Comparison(
        rows=tuple(row for _, row in rows),
        runs=tuple(run.name for run, _ in rows),
        sessions=common_sessions([(row.points, _threads(row)) for _, row in rows]),
    )


def _threads(row: StoredRow) -> int:
    """Threads of a shape that gives each its own."""
    return int(row.facts["shape"].get("threads") or 1)


def _again(row: StoredRow) -> str | None:
    """The name of the row that this one repeats (A/A)."""
    again: str | None = row.facts.get("again_of")
    return again


def _text(spread: Spread | None, digits: int) -> str:
    return "–" if spread is None else spread.text(digits)


def _interval(row: StoredRow, base: StoredRow | None) -> str:
    ends = None if base is None else carried(row.bracket, base.bracket)
    return "–" if ends is None else f"{ends[0]:.2f}–{ends[1]:.2f}"


def _health(row: StoredRow) -> str:
    worst: dict[str, float] = {}
    for point in row.points:
        for gate in point.harness:
            if gate.measured is not None:
                worst[gate.key] = max(worst.get(gate.key, 0.0), gate.measured)
    invalid = sum(point.status == "INVALID" for point in row.points)
    text = " / ".join(f"{value:.1f}" for value in worst.values()) or "–"
    return f"{text}; {invalid} INVALID" if invalid else text


def labels(row: StoredRow) -> list[str]:
    """What must be said of a row's results wherever they stand."""
    said = {
        f"A/A: {_again(row)} again": _again(row) is not None,
        "verdict external": row.verdict.get("external"),
        f"{row.verdict.get('conformance')}": row.verdict.get("conformance") not in (None, "conforms"),
        "harness shares the gateway's cores: no ceiling": row.verdict.get("harness_shared"),
    }
    return [label for label, holds in said.items() if holds]
