"""What a stored run says, as lines of figures: capacity.csv, a Markdown table and the picture. It judges nothing."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment.report.comparison import HEADINGS, compare
from experiment.report.costs import Spread
from experiment.report.statistics import rate
from experiment.report.tables import markdown, rate_text, resolution_note
from experiment.store.runs import StoredRow, StoredRun

COLUMNS = (
    *("row", "interpreter", "shape", "timing", "sessions", "purpose", "verdict", "newest_p50_ms", "newest_p95_ms"),
    *("oldest_p50_ms", "oldest_p95_ms", "partials", "failures", "failure_rate_low", "failure_rate_high"),
    *("resolves_limit", "gateway_us_per_session_second", "gateway_rss_bytes_max", "send_lateness_p99_ms"),
    *("simulator_overshoot_p99_ms", "reasons"),
)
POINT_HEADINGS = (
    *("row", "sessions", "verdict", "newest p50/p95 ms", "oldest p50/p95 ms", "failures", "rate, 95 %, in 100 000"),
    *("gateway µs per session-s", "why"),
)


def title(run: StoredRun) -> str:
    """Rows, shapes, timing and interpreters: what a figure must say of itself."""
    rows = run.rows[0].name if len(run.rows) == 1 else f"{len(run.rows)} rows"
    tags = sorted({row.interpreter for row in run.rows if row.interpreter != "–"})
    on = f"CPython {', '.join(tags)}" if tags else "verdict external"
    return " · ".join([rows, *run.shapes, run.timing, on])


def figures(run: StoredRun) -> list[dict[str, Any]]:
    """One mapping per point, under COLUMNS; what was not measured is None."""
    return [_figures(run, row, point) for row in run.rows for point in row.points]


def _figures(run: StoredRun, row: StoredRow, point: Mapping[str, Any]) -> dict[str, Any]:
    load, gateway = point["load"] or {}, point["gateway"] or {}
    gates = {gate["name"]: gate["measured"] for gate in point["harness"]}
    partials, failures = load.get("partials"), load.get("failures_total")
    known = None if partials is None or failures is None else rate(failures, partials, run.slo.failure_ratio)
    latencies = {
        f"{name}_{key}_ms": (load.get(f"{name}_ms") or {}).get(key)
        for name in ("newest", "oldest")
        for key in ("p50", "p95")
    }
    return {
        "row": row.name,
        "interpreter": None if row.interpreter == "–" else row.interpreter,
        "shape": row.facts["shape"]["name"],
        "timing": run.timing,
        "sessions": point["sessions"],
        "purpose": point["purpose"],
        "verdict": point["status"],
        **latencies,
        "partials": partials,
        "failures": failures,
        "failure_rate_low": None if known is None else known.low,
        "failure_rate_high": None if known is None else known.high,
        "resolves_limit": None if known is None else known.resolves,
        "gateway_us_per_session_second": gateway.get("us_per_session_second"),
        "gateway_rss_bytes_max": gateway.get("rss_bytes_max"),
        "send_lateness_p99_ms": gates.get("send lateness p99 ms"),
        "simulator_overshoot_p99_ms": gates.get("simulator overshoot p99 ms"),
        "reasons": "; ".join(point["reasons"]),
    }


def text(run: StoredRun) -> str:
    """The run in Markdown: where the rows' ceilings lie, then every point."""
    harness = run.manifest["interpreters"]["harness"]
    parts = [
        f"# {title(run)}",
        f"Run `{run.name}`, begun {run.manifest['started']}, on {run.machine}; harness on CPython "
        f"{harness.get('tag') or harness['version']}." + ("" if run.finished else " **Not finished.**"),
    ]
    if len(run.rows) > 1:
        known = compare([run])
        parts += [markdown(HEADINGS, known.lines()), f"{known.how}."]
    else:
        row = run.rows[0]
        ended = row.verdict.get("ended") or "not finished"
        bracket = "none" if row.bracket is None else str(row.bracket)
        parts.append(f"Bracket ({run.shapes[0]}, {run.timing}): **{bracket}** ({ended}).")
    parts += [markdown(POINT_HEADINGS, point_lines(run)), resolution_note(run.slo.failure_ratio) + "."]
    if (speed := core_speed(run)) is not None:
        parts.append(f"{speed}.")
    return "\n\n".join(parts) + "\n"


def core_speed(run: StoredRun) -> str | None:
    """How fast the gateway's core was before each point: what a drifting machine does to all of them."""
    known = [speed for row in run.rows for point in row.points if (speed := point.get("core_speed"))]
    busy, after = (Spread.of([speed[key] for speed in known]) for key in ("busy_us", "after_pause_us"))
    if busy is None or after is None:
        return None
    return (
        f"The gateway's core before the points: the same piece of Python took {busy.text(1)} µs busy, "
        f"{after.text(1)} µs after a pause"
    )


def point_lines(run: StoredRun) -> list[list[str]]:
    """One line per point, under POINT_HEADINGS."""
    lines = []
    for found in figures(run):
        load = {"partials": found["partials"], "failures_total": found["failures"]}
        cells = [
            *(found["row"], str(found["sessions"]), found["verdict"]),
            *(_pair(found[f"{name}_p50_ms"], found[f"{name}_p95_ms"]) for name in ("newest", "oldest")),
            _text(found["failures"], "d"),
            rate_text(load, run.slo.failure_ratio),
            _text(found["gateway_us_per_session_second"], ".0f"),
            found["reasons"],
        ]
        lines.append(cells)
    return lines


def write_capacity(run: StoredRun, folder: Path) -> list[Path]:
    """Write capacity.csv, capacity.md and latency.svg into `folder`; returns them."""
    table, prose, picture = folder / "capacity.csv", folder / "capacity.md", folder / "latency.svg"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(figures(run))
    prose.write_text(text(run), encoding="utf-8")
    draw(run, picture)
    return [table, prose, picture]


def draw(run: StoredRun, path: Path) -> None:
    """The picture of all rows that have points."""
    from experiment.report.figures import (
        latency_figure,  # half of the command line's start, which most verbs can do without
    )

    latency_figure(title(run), {row.name: row.points for row in run.rows if row.points}, run.slo, path)


def _pair(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.0f} / {high:.0f}"


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
