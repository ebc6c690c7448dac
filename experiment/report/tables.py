"""Tables at the end of a campaign: a line per point of a stored run, or any lines of text. It judges nothing."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.report.statistics import failure_rate, per_100k, trials_needed
from experiment.store import Load, Percentiles, Point

NOT_OBSERVED = "not observed"
WIDTH_UNKNOWN = 100
"""Columns that a table fits into where no terminal says how wide it is."""
WIDEST_NAME = 44
"""A first column up to this is never folded."""
_STYLES = {"PASS": "green", "FAIL": "red", "INVALID": "yellow"}
_POINT_HEADINGS = (
    *(
        "newest\np50/p95 ms",
        "oldest\np50/p95 ms",
        "failures",
        "rate, 95 %,\nin 100 000",
        "µs per session-s:\ngateway/all-in",
    ),
    "harness p99:\nlate/overshoot",
)


def report_console() -> Console:
    """Standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_UNKNOWN)


def pair_text(percentiles: Percentiles) -> str:
    """p50 and p95, whole milliseconds."""
    p50, p95 = percentiles.p50, percentiles.p95
    return "–" if p50 is None or p95 is None else f"{p50:.0f} / {p95:.0f}"


def number_text(value: float | None, form: str, missing: str = "–") -> str:
    """A number in a format; `missing` for None."""
    return missing if value is None else format(value, form)


def cost_text(point: Point, between: str) -> str:
    """µs per session-second of the gateway's group; all-in after it, where that is known."""
    all_in = [] if point.all_in_us is None else [f"{point.all_in_us:.0f}"]
    return between.join([number_text(point.cost_us, ".0f"), *all_in])


def points_table(title: str, points: Sequence[Point], failure_ratio: float) -> Table:
    """One line per point, in the order they ran. `failure_ratio` is the SLO's. Reasons: `reason_lines`."""
    table = _table(title)
    table.add_column("sessions", justify="right")
    table.add_column("verdict")
    for heading in _POINT_HEADINGS:
        table.add_column(heading, justify="right")
    for point in points:
        stalled = f", {point.load.stalls} stalled" if point.load.stalls else ""
        table.add_row(
            str(point.sessions),
            f"[{_STYLES[point.status]}]{point.status}[/]",
            pair_text(point.load.newest_ms),
            pair_text(point.load.oldest_ms),
            number_text(point.load.failures_total, "d") + stalled,
            rate_text(point.load, failure_ratio),
            NOT_OBSERVED if point.gateway is None else cost_text(point, " / "),
            " / ".join(number_text(gate.measured, ".1f") for gate in point.harness) or "–",
        )
    return table


def reason_lines(points: Sequence[Point]) -> list[str]:
    """Why each point is no PASS, and what else is to be known of it; nothing for the others."""
    said = [(point, "; ".join([*point.reasons, *point.notes])) for point in points]
    return [f"{point.sessions} {point.status}: {why}" for point, why in said if why]


def rate_text(load: Load, failure_ratio: float) -> str:
    """The failures' interval, and a mark where the count cannot resolve the limit."""
    known = failure_rate(load, failure_ratio)
    if known is None:
        return "–"
    return f"{per_100k(known.low)}–{per_100k(known.high)}" + ("" if known.resolves else " †")


def resolution_note(failure_ratio: float) -> str:
    """What the mark of `rate_text` means."""
    return (
        f"† too few partials to resolve {failure_ratio * 1e5:g} in 100 000: that takes {trials_needed(failure_ratio)} "
        "without a failure (95 %); the verdict is the contract's all the same"
    )


def lines_table(title: str, headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Any lines of text under headings; long ones are folded, and a column that holds nothing is left out."""
    kept = [place for place in range(len(headings)) if any(line[place] not in ("", "–") for line in lines)]
    table = _table(title)
    for place in kept:
        table.add_column(headings[place], overflow="fold", no_wrap=place == 0 and _widest(lines, 0) <= WIDEST_NAME)
    for line in lines:
        table.add_row(*(line[place] for place in kept))
    return table


def _widest(lines: Sequence[Sequence[str]], place: int) -> int:
    return max((len(line[place]) for line in lines), default=0)


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same lines as a Markdown table."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _table(title: str) -> Table:
    return Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, collapse_padding=True)
