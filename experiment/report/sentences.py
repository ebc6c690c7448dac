"""What two rows of a run amount to beside each other, in a sentence; and a run's tables, for pages of findings.

Pure: figures are `experiment.report.costs`' and `experiment.report.comparison`'s.
"""

from statistics import median

from experiment.report.comparison import HEADINGS, Comparison, compare
from experiment.report.costs import Spread, carried
from experiment.report.tables import markdown
from experiment.store import StoredRow, StoredRun

_LOAD_HEADINGS = ("row", "at a light load", "at most", "µs per session-s, light", "µs per session-s, at most")


def tables(evidence: str, run: StoredRun) -> list[str]:
    """A run's comparison, its rows at their lightest and fullest, where its evidence lies: Markdown, by paragraph."""
    known = compare([run])
    return [
        markdown(HEADINGS, known.lines()),
        f"{known.how}.",
        markdown(_LOAD_HEADINGS, [_load_line(row) for row in run.rows if row.points]),
        f"Evidence: `{evidence}`, begun {run.manifest['started']}.",
    ]


def receiving(run: StoredRun) -> list[str]:
    """Who pays for receiving, in words; nothing where an older run does not say."""
    return [f"receive = {' and '.join(run.receives)}"] if run.receives else []


def against_first(run: StoredRun) -> list[str]:
    """Each row against the run's first."""
    known = compare([run])
    first, *others = [row for row in run.rows if row.points]
    return [said for row in others if (said := beside(known, row, first)) is not None]


def beside(known: Comparison, row: StoredRow, first: StoredRow) -> str | None:
    """Sessions carried, and what a session-second costs where both are full, and at the same load.

    None where neither is known of both.
    """
    shape, base_shape = row.facts["shape"]["name"], first.facts["shape"]["name"]
    receive = row.facts["shape"].get("receive")
    where = f"{shape}, receive = {receive}" if receive else shape
    where = where if shape == base_shape else f"{shape} against {base_shape}"
    words = []
    if (times := carries(row, first, 2)) is not None:
        words.append(f"carries {times} times the sessions ({ceiling(row)}; {ceiling(first)})")
    mine, theirs = _loads(row)[-1:], _loads(first)[-1:]
    if mine and theirs and shape == base_shape and mine[0][0] != theirs[0][0]:
        words.append(
            f"{mine[0][1]:.0f} µs per session-second at {mine[0][0]} sessions against {theirs[0][1]:.0f} "
            f"at {theirs[0][0]}, each as full as it passes: 1/{theirs[0][1] / mine[0][1]:.1f}"
        )
    ratio = Spread.of(known.ratios(row, first))
    cost, base = (Spread.of(list(known.costs(each).values())) for each in (row, first))
    if ratio is not None and cost is not None and base is not None:
        each = " for each thread" if row.facts["shape"].get("threads") else ""
        words.append(
            f"{cost.median:.0f} against {base.median:.0f} µs at the same {known.sessions} sessions{each}, "
            f"× {ratio.text(3)}{_all_in(known, row, first)}"
        )
    return f"{row.name} beside {first.name}, {where}: {'; '.join(words)}." if words else None


def _all_in(known: Comparison, row: StoredRow, first: StoredRow) -> str:
    """The same with everything that ran on the gateway's CPUs, where that is known of both."""
    ratio = Spread.of(known.ratios(row, first, all_in=True))
    mine, theirs = (Spread.of(list(known.costs(each, all_in=True).values())) for each in (row, first))
    if ratio is None or mine is None or theirs is None:
        return ""
    return f" (all-in {mine.median:.0f} against {theirs.median:.0f}, × {ratio.text(3)})"


def carries(row: StoredRow, first: StoredRow, digits: int) -> str | None:
    """How many times the other's sessions: an interval from bracket to bracket; where the row's own end is not known,
    what it passes over the first fail that no pass of the other's lies above. None where neither is known."""
    if (interval := carried(row.bracket, first.bracket)) is not None:
        return f"{interval[0]:.{digits}f}–{interval[1]:.{digits}f}"
    most = most_passed(first)
    beyond = [point.sessions for point in first.points if point.status == "FAIL" and point.sessions > most]
    if row.bracket is None or not row.bracket.passed or not beyond:
        return None
    return f"more than {row.bracket.passed / min(beyond):.{digits}f}"


def ceiling(row: StoredRow) -> str:
    """The bracket; and where a single pass lies above its solid fail, that."""
    most = most_passed(row)
    beyond = row.bracket is not None and row.bracket.failed is not None and most > row.bracket.failed
    return f"{row.bracket}, passed once at {most}" if beyond else str(row.bracket)


def most_passed(row: StoredRow) -> int:
    """The most sessions of a point that passed; 0 where none did."""
    return max((point.sessions for point in row.points if point.status == "PASS"), default=0)


def _loads(row: StoredRow) -> list[tuple[int, float]]:
    """Numbers of sessions that passed, up to the bracket's, in order, each with the median µs per session-second."""
    costs: dict[int, list[float]] = {}
    most = None if row.bracket is None else row.bracket.passed
    for point in row.points:
        if point.status == "PASS" and point.cost_us is not None and (most is None or point.sessions <= most):
            costs.setdefault(point.sessions, []).append(point.cost_us)
    return [(sessions, median(costs[sessions])) for sessions in sorted(costs)]


def _load_line(row: StoredRow) -> tuple[str, ...]:
    """One line under _LOAD_HEADINGS."""
    known = _loads(row)
    if not known:
        return (row.name, "–", "–", "–", "–")
    (least, light), (most, full) = known[0], known[-1]
    return (row.name, str(least), str(most), f"{light:.0f}", f"{full:.0f}")
