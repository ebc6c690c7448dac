"""What a stored run says, as lines of figures: capacity.csv, a Markdown table and the picture. It judges nothing."""

import csv
from pathlib import Path
from typing import Any

from experiment.report.comparison import HEADINGS, compare
from experiment.report.costs import Spread
from experiment.report.figures import latency_figure
from experiment.report.sentences import receiving
from experiment.report.statistics import failure_rate
from experiment.report.tables import cost_text, markdown, number_text, pair_text, rate_text, resolution_note
from experiment.store import Point, StoredRow, StoredRun, kept_environment

COLUMNS = (
    *("row", "interpreter", "shape", "timing", "sessions", "purpose", "verdict", "newest_p50_ms", "newest_p95_ms"),
    *("oldest_p50_ms", "oldest_p95_ms", "partials", "failures", "failure_rate_low", "failure_rate_high"),
    *("resolves_limit", "gateway_us_per_session_second", "gateway_rss_bytes_max", "send_lateness_p99_ms"),
    *("simulator_overshoot_p99_ms", "reasons", "receive", "all_in_us_per_session_second"),
)
POINT_HEADINGS = (
    *("row", "sessions", "verdict", "newest p50/p95 ms", "oldest p50/p95 ms", "failures", "rate, 95 %, in 100 000"),
    *("gateway µs per session-s", "why"),
)


def title(run: StoredRun) -> str:
    """Rows, shapes, timing, interpreters, and variables kept by name: what a figure must say of itself."""
    rows = run.rows[0].name if len(run.rows) == 1 else f"{len(run.rows)} rows"
    tags = sorted({row.interpreter for row in run.rows if row.interpreter != "–"})
    on = f"CPython {', '.join(tags)}" if tags else "verdict external"
    kept = [f"{name}={value}" for name, value in kept_environment(run.manifest).items()]
    return " · ".join([rows, *run.shapes, *receiving(run), run.timing, on, *kept])


def figures(run: StoredRun) -> list[dict[str, Any]]:
    """One mapping per point, under COLUMNS; what was not measured is None."""
    return [_figures(run, row, point) for row in run.rows for point in row.points]


def _figures(run: StoredRun, row: StoredRow, point: Point) -> dict[str, Any]:
    load, gates = point.load, {gate.key: gate.measured for gate in point.harness}
    known = failure_rate(load, run.slo.failure_ratio)
    return {
        "row": row.name,
        "interpreter": None if row.interpreter == "–" else row.interpreter,
        "shape": row.facts["shape"]["name"],
        "timing": run.timing,
        "sessions": point.sessions,
        "purpose": point.purpose,
        "verdict": point.status,
        "newest_p50_ms": load.newest_ms.p50,
        "newest_p95_ms": load.newest_ms.p95,
        "oldest_p50_ms": load.oldest_ms.p50,
        "oldest_p95_ms": load.oldest_ms.p95,
        "partials": load.partials,
        "failures": load.failures_total,
        "failure_rate_low": None if known is None else known.low,
        "failure_rate_high": None if known is None else known.high,
        "resolves_limit": None if known is None else known.resolves,
        "gateway_us_per_session_second": point.cost_us,
        "gateway_rss_bytes_max": None if point.gateway is None else point.gateway.rss_bytes_max,
        "send_lateness_p99_ms": gates.get("send_lateness_p99_ms"),
        "simulator_overshoot_p99_ms": gates.get("simulator_overshoot_p99_ms"),
        "reasons": "; ".join(point.reasons),
        "receive": row.facts["shape"].get("receive", "sender"),
        "all_in_us_per_session_second": point.all_in_us,
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
    known = [speed for row in run.rows for point in row.points if (speed := point.core_speed)]
    busy, after = (Spread.of([speed[key] for speed in known]) for key in ("busy_us", "after_pause_us"))
    if busy is None or after is None:
        return None
    return (
        f"The gateway's core before the points: the same piece of Python took {busy.text(1)} µs busy, "
        f"{after.text(1)} µs after a pause"
    )


def point_lines(run: StoredRun) -> list[list[str]]:
    """One line per point, under POINT_HEADINGS."""
    return [
        [
            *(row.name, str(point.sessions), point.status),
            *(pair_text(each) for each in (point.load.newest_ms, point.load.oldest_ms)),
            number_text(point.load.failures_total, "d"),
            rate_text(point.load, run.slo.failure_ratio),
            cost_text(point, ", all-in "),
            "; ".join(point.reasons),
        ]
        for row in run.rows
        for point in row.points
    ]


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
    latency_figure(title(run), {row.name: row.points for row in run.rows if row.points}, run.slo, path)
