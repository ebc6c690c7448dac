"""The findings about memory: what a session weighs, and what a gateway weighs without one. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import linear_regression
from typing import Any

from experiment.report.sentences import receiving
from experiment.report.tables import markdown
from experiment.store import StoredRow, StoredRun

HEADINGS = ("row", "interpreter", "kB per session", "MiB without any", "RSS MiB at each load", "residual")
LADDERS = ("stock-and-threads", "foreign/run-2", "collector/ceilings")
"""Kept evidence with several loads of each row."""
LEAST_LOADS = 2
LINES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Weight:
    """A line through a row's points: RSS in bytes = `empty` + `per_session` · sessions."""

    per_session: float
    empty: float
    worst: float
    """How far a point lies from the line, as a share of its RSS."""


def weight(points: Sequence[tuple[int, float]]) -> Weight | None:
    """Least squares through (sessions, RSS in bytes); None where there are fewer than two numbers of sessions."""
    if len({sessions for sessions, _ in points}) < LEAST_LOADS:
        return None
    slope, intercept = linear_regression([sessions for sessions, _ in points], [rss for _, rss in points])
    worst = max(abs(rss - intercept - slope * sessions) / rss for sessions, rss in points)
    return Weight(slope, intercept, worst)


def weighed(row: StoredRow) -> list[tuple[int, float]]:
    """(sessions, highest RSS of the window in bytes, of all processes) of its points that passed."""
    return [
        (point.sessions, float(point.gateway.rss_bytes_max))
        for point in row.points
        if point.status == "PASS" and point.gateway is not None and point.gateway.rss_bytes_max is not None
    ]


def lines(run: StoredRun) -> list[list[str]]:
    """One for each row that was measured at two loads at least."""
    found = []
    for row in run.rows:
        points = sorted(weighed(row))
        line = weight(points)
        if line is None:
            continue
        at = [
            f"{sessions}: {'–'.join(f'{rss / 2**20:.0f}' for rss in sorted({rss for _, rss in same}))}"
            for sessions, same in groupby(points, key=lambda each: each[0])
        ]
        found.append(
            [
                row.name,
                row.interpreter,
                f"{line.per_session / 1000:.0f}",
                f"{line.empty / 2**20:.0f}",
                "; ".join(at),
                f"{line.worst:.1%}",
            ]
        )
    return found


def page(runs: Mapping[str, StoredRun], picture: str, profiles: Sequence[Mapping[str, Any]] = ()) -> str:
    """The findings as Markdown.

    Args:
        runs: with ladders, each with the path of its kept evidence.
        picture: of all of them.
        profiles: `{title, sessions, hottest, peak_bytes}` of `make profile PROFILER=memray`, as kept.
    """
    parts = ["# What does a session weigh?", _WHAT, f"![RSS over sessions]({picture})"]
    for evidence, run in runs.items():
        parts += [f"## {', '.join([*run.shapes, *receiving(run), run.timing])}, {run.manifest['started'][:10]}"]
        parts += [f"Measured on {run.machine}. Evidence: `{evidence}`.", markdown(HEADINGS, lines(run))]
    if profiles:
        parts += ["## Where it is", _WHERE, *(_profile(one) for one in profiles)]
    parts += ["## What to know before quoting this", _KNOW]
    return "\n\n".join(parts) + "\n"


def _profile(one: Mapping[str, Any]) -> str:
    peak_kb = one["peak_bytes"] / one["sessions"] / 1000
    said = f"{one['title']}: {peak_kb:.0f} kB per session at the peak of what the window allocated."
    lines = [[f"`{frame}`", f"{share:.0%}"] for frame, share in one["hottest"]]
    return f"{said}\n\n{markdown(('line', 'share'), lines)}"


def kept(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Of a profile.json of memray's, what the page shows."""
    peak = sum(process["peak_bytes"] for process in profile["facts"]["processes"])
    hottest = profile["hottest"]["stacks"][:LINES_SHOWN]
    return {**{key: profile[key] for key in ("title", "sessions")}, "peak_bytes": peak, "hottest": hottest}


_WHERE = """\
`make profile VARIANT=… PROFILER=memray`: what was allocated in the measured window and lived at its highest moment, by
the innermost Python line. What sessions had before the window (their objects, their transports) is not in it."""

_WHAT = """\
From the points that passed of the ladders that other pages stand on. RSS is the highest of the measured window, of
all the gateway's processes together (a main process that only waits included). A line through a row's points has a
slope, what one more session weighs, and an end, what the gateway weighs without any: modules, interpreter,
allocators. “Residual” is the point that lies farthest from that line."""

_KNOW = """\
- A session holds up to a second of audio (32 kB) between two flushes, and as much again while its request is in flight.
- A free-threaded CPython holds what waits for its maker until a collection frees it
  ([who-frees-it](who-frees-it.md)): on Granian that grows with the load, and is not a session's own.
- The kernel's socket buffers are not in RSS. `drain` lets them hold what others hold themselves.
- `make profile VARIANT=threads PROFILER=memray` says which lines hold it."""
