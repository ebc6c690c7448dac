"""The table at the end of an experiment: one row per point, from the points' summaries. It judges nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

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


def points_table(title: str, points: Sequence[Mapping[str, Any]]) -> Table:
    """One row per point summary (`experiment.point`), in the order they ran."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("sessions", justify="right")
    table.add_column("verdict")
    for heading in (
        "newest p50/p95 ms",
        "oldest p50/p95 ms",
        "failures",
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
            _number((load.get("stalls") or {}).get("count"), "d"),
            _number(gateway.get("us_per_session_second"), ".0f", unseen),
            _number(None if rss_bytes is None else rss_bytes / 2**20, ".0f", unseen),
            " / ".join(_number(gate["measured"], ".1f") for gate in point["harness"]) or "–",
            "; ".join([*point["reasons"], *point["notes"]]),
        )
    return table
