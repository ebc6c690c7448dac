"""Tables at the end of a campaign: a line per point of a stored run, or any lines of text. It judges nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.report.statistics import per_100k, rate, trials_needed

NOT_OBSERVED = "not observed"
_STYLES = {"PASS": "green", "FAIL": "red", "INVALID": "yellow"}


def report_console() -> Console:
    """Standard output, wide enough for a table where no terminal says how wide it is."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=180)


def _pair(distribution: Mapping[str, Any] | None) -> str:
    p50, p95 = ((distribution or {}).get(key) for key in ("p50", "p95"))
    return "–" if p50 is None or p95 is None else f"{p50:.0f} / {p95:.0f}"


def _number(value: float | None, form: str, missing: str = "–") -> str:
    return missing if value is None else format(value, form)


def points_table(title: str, points: Sequence[Mapping[str, Any]], failure_ratio: float) -> Table:
    """One line per point summary (`experiment.run.point`), in the order they ran. `failure_ratio` is the SLO's."""
    table = _table(title)
    table.add_column("sessions", justify="right")
    table.add_column("verdict")
    for heading in (
        "newest p50/p95 ms",
        "oldest p50/p95 ms",
        "failures",
        "rate, 95 %, in 100 000",
        "stalls",
        "gateway µs per session-s",
        "RSS MiB",
        "harness: late / overshoot p99 ms",
    ):
        table.add_column(heading, justify="right")
    table.add_column("why", overflow="fold")
    for point in points:
        load, gateway = point["load"] or {}, point["gateway"]
        unseen = NOT_OBSERVED if gateway is None else "–"
        gateway = gateway or {}
        rss_bytes = gateway.get("rss_bytes_max")
        status = point["status"]
        table.add_row(
            str(point["sessions"]),
            f"[{_STYLES[status]}]{status}[/]",
            _pair(load.get("newest_ms")),
            _pair(load.get("oldest_ms")),
            _number(load.get("failures_total"), "d"),
            rate_text(load, failure_ratio),
            _number((load.get("stalls") or {}).get("count"), "d"),
            _number(gateway.get("us_per_session_second"), ".0f", unseen),
            _number(None if rss_bytes is None else rss_bytes / 2**20, ".0f", unseen),
            " / ".join(_number(gate["measured"], ".1f") for gate in point["harness"]) or "–",
            "; ".join([*point["reasons"], *(point["notes"] or ())]),
        )
    return table


def rate_text(load: Mapping[str, Any], failure_ratio: float) -> str:
    """The failures' interval, and a mark where the count cannot resolve the limit."""
    partials, failures = load.get("partials"), load.get("failures_total")
    known = None if partials is None or failures is None else rate(failures, partials, failure_ratio)
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
    """Any lines of text under headings; the first column to the left, long ones folded."""
    table = _table(title)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same lines as a Markdown table."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _table(title: str) -> Table:
    return Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
