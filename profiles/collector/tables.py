"""The collector's tables, from stored evidence: headings and lines of text. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiment.report import Spread
from profiles.collector.chain import Apart, Cell, Evidence, Point, Step, cells

FRAMES_PER_S = 50
"""Of a session."""
ROW_HEADINGS = (
    "row",
    "sessions",
    "newest p50 ms",
    "newest p95 ms",
    "verdicts",
    "µs per session-s",
    "run-queue wait µs per session-s",
    "collections ms per s",
    "longest ms",
    "objects freed per session-s",
)
SCREEN_HEADINGS = (
    *("row", "sess.", "p50 ms", "p95 ms", "verdicts", "µs per\nsession-s", "run-queue\nwait"),
    *("GC ms\nper s", "longest", "freed"),
)
"""The same, for narrow columns."""
STEP_HEADINGS = ("from → to", "what changes", "change in ms (rounds' range)", "of the whole", "beyond A/A")
MET_HEADINGS = ("row", "sessions", "answers", "met by a collection", "their p50 / p95 ms", "the others' p50 / p95 ms")
OWNER_HEADINGS = (
    "row",
    "sessions",
    "thread that made them",
    "objects alive",
    "waiting for it",
    "the commonest of those",
)
FREED_HEADINGS = ("row", "objects that one more collection frees", "the commonest")
GROWTH_HEADINGS = ("row", "sessions", "objects tracked", "collections per s", "longest ms", "ms per s", "newest p95 ms")
THREAD_HEADINGS = (
    "row",
    "thread",
    "on CPU ms per s",
    "run-queue wait ms per s",
    "woken per s",
    "preempted per s",
    "mean wait ms",
)
STACK_HEADINGS = ("row", "sampler", "newest p50 / p95 ms", "samples", "the hottest frames, and their share")
REPRODUCED_HEADINGS = (
    "CPython",
    "answers are made",
    "freed by collections, of 1000 answers",
    "collections",
    "longest ms",
    "answer p50 µs",
    "answer max ms",
)


def text(spread: Spread | None, digits: int = 0) -> str:
    """Median and range, or a dash."""
    return "–" if spread is None else spread.text(digits)


def change(step: Step) -> str:
    """Median and the rounds' range."""
    return f"{step.change.median:+.0f} ({step.change.low:+.0f} … {step.change.high:+.0f})"


def number(value: float | None, digits: int = 0) -> str:
    """Or a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def row_lines(evidence: Evidence, of_set: str) -> list[list[str]]:
    """One line for each cell of a set, by load and then in the order of its rows."""
    found = cells(evidence, of_set)
    lines = []
    for key in sorted(found, key=lambda key: (key[2], _place(evidence, of_set, key[0]), key[1], key[3] or 0)):
        row, again, sessions, slice_ms = key
        cell = found[key]
        name = row + (" again" if again else "") + ("" if slice_ms is None else f", {slice_ms:g} ms")
        lines.append(
            [
                name,
                str(sessions),
                text(cell.spread("p50")),
                text(cell.spread("p95")),
                cell.statuses,
                text(cell.spread("cost")),
                text(cell.spread("run_wait_us_per_session_second")),
                text(cell.pause_ms_per_s),
                number(cell.longest_ms),
                text(cell.freed),
            ]
        )
    return lines


def screen_lines(evidence: Evidence, of_set: str) -> list[list[str]]:
    """The same without the number of rounds, which the verdicts say."""
    return [[re.sub(r", n=\d+", "", cell) for cell in line] for line in row_lines(evidence, of_set)]


def _place(evidence: Evidence, of_set: str, row: str) -> int:
    """Rows came in turn, in the order of their set."""
    return list(dict.fromkeys(point["row"] for point in evidence["points"] if point["set"] == of_set)).index(row)


def step_lines(apart: Apart) -> list[list[str]]:
    """The steps, and the whole."""
    lines = []
    for step in (*apart.steps, apart.whole):
        share = apart.share(step)
        of_whole = "" if step is apart.whole or share is None else f"{share:.0%}"
        what = "the whole" if step is apart.whole else step.what
        lines.append(
            [f"{step.before} → {step.after}", what, change(step), of_whole, "yes" if apart.is_told(step) else "no"]
        )
    return lines


def met_lines(evidence: Evidence, of_set: str) -> list[list[str]]:
    """Of each row whose collections met answers: all rounds' points, each by itself."""
    lines = []
    for (row, again, sessions, _), cell in cells(evidence, of_set).items():
        for point in cell.points:
            answers = point["answers"]
            if answers is None or again:
                continue
            met, free = answers["met"], answers["free"]
            count = met["count"] + free["count"]
            share = f"{met['count'] / count:.1%}"
            lines.append([row, str(sessions), str(count), share, _pair(met), _pair(free)])
    return lines


def _pair(described: Mapping[str, Any]) -> str:
    return f"{number(described['p50_ms'])} / {number(described['p95_ms'])}"


def _processes(points: Sequence[Point]) -> list[tuple[Point, Mapping[str, Any]]]:
    return [(point, one) for point in points if not point["refused"] for one in point["processes"] if "freed" in one]


def census(evidence: Evidence, of_set: str) -> list[tuple[Point, Mapping[str, Any]]]:
    """Every process of a set's points that was taken stock of."""
    return _processes([point for point in evidence["points"] if point["set"] == of_set])


def owner_lines(evidence: Evidence, of_set: str) -> list[list[str]]:
    """Whose the objects are that are alive in each free-threaded process; threads that own fewer than one in a hundred,
    and wait for none, are left out."""
    lines = []
    for point, process in census(evidence, of_set):
        for owner in process["owners"] or []:
            if owner["queued"] or owner["objects"] * 100 > process["tracked"]:
                name = [point["row"], str(point["sessions"]), owner["thread"]]
                lines.append(
                    [*name, number(owner["objects"]), number(owner["queued"]), _commonest(owner["queued_types"])]
                )
    return lines


def freed_lines(evidence: Evidence, of_set: str) -> list[list[str]]:
    """What one more collection freed in each process."""
    return [
        [point["row"], number(process["freed_in_all"]), _commonest(process["freed"])]
        for point, process in census(evidence, of_set)
    ]


def _commonest(types: Mapping[str, int], most: int = 4) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in Counter(types).most_common(most)) or "–"


def growth_lines(evidence: Evidence) -> list[list[str]]:
    """How the pause grows with sessions and objects."""
    return [
        [
            point["row"],
            str(point["sessions"]),
            number(process["tracked"]),
            text(Cell((point,)).collections_per_s, 1),
            number(Cell((point,)).longest_ms),
            text(Cell((point,)).pause_ms_per_s),
            number((point["newest_ms"] or {}).get("p95")),
        ]
        for point, process in sorted(census(evidence, "growth"), key=lambda one: (one[0]["row"], one[0]["sessions"]))
    ]


def thread_lines(evidence: Evidence, of_set: str, sessions: int, rows: Sequence[str]) -> list[list[str]]:
    """The busy threads of each row's first round: what they did and how long they waited for the core."""
    lines = []
    for (row, again, load, slice_ms), cell in cells(evidence, of_set).items():
        if row not in rows or again or load != sessions or slice_ms is not None:
            continue
        seconds = evidence["measure_s"]
        for thread in cell.points[0]["threads"]:
            woken, preempted = thread["voluntary_switches"] or 0, thread["involuntary_switches"] or 0
            if (thread["on_cpu_ms"] or 0) < 10 * seconds:
                continue
            wait_ms = thread["run_queue_wait_ms"]
            mean = wait_ms / (woken + preempted) if wait_ms is not None and woken + preempted else None
            lines.append(
                [
                    row,
                    thread["name"],
                    number(thread["on_cpu_ms"] / seconds),
                    number(None if wait_ms is None else wait_ms / seconds),
                    number(woken / seconds),
                    number(preempted / seconds),
                    number(mean, 2),
                ]
            )
    return lines


def stack_lines(evidence: Evidence) -> list[list[str]]:
    """Of each flame graph: its hottest frames."""
    lines = []
    for point in evidence["points"]:
        for file, frames in (point.get("hottest") or {}).items():
            sampler = "py-spy" if point["look"] == "py-spy" else "CPython's unwinder"
            kind = "wall clock" if file == "wall" else "on CPU"
            hottest = ", ".join(f"`{frame}` {share:.0%}" for frame, share in frames)
            newest = point["newest_ms"] or {}
            latency = f"{number(newest.get('p50'))} / {number(newest.get('p95'))}"
            lines.append([f"{point['row']}, {point['sessions']} sessions", sampler, latency, kind, hottest])
    return lines


def reproduced_lines(runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What the reproducer said, one line for each interpreter and answering thread."""
    return [
        [
            f"{run['python']}{'' if run['gil'] else 't'}",
            maker["maker"],
            number(maker["collected_per_1000_messages"]),
            str(maker["collections"]),
            number(maker["longest_collection_ms"], 1),
            number(maker["answer_p50_us"], 1),
            number(maker["answer_max_ms"], 1),
        ]
        for run in runs
        for maker in run["makers"]
    ]


def design_lines(evidence: Evidence) -> list[list[str]]:
    """Everybody else: what each row's collections free for a frame and stop in a second."""
    lines = []
    for point in evidence["points"]:
        if point["set"] != "designs" or point["refused"]:
            continue
        cell = Cell((point,))
        queued = [owner["queued"] for one in point["processes"] for owner in one.get("owners") or []]
        freed = cell.freed
        lines.append(
            [
                point["row"],
                "–" if freed is None else f"{freed.median / FRAMES_PER_S:.2f}",
                text(cell.pause_ms_per_s),
                number(cell.longest_ms),
                number(sum(queued)) if queued else "GIL build" if point["processes"] else "not counted",
                number((point["newest_ms"] or {}).get("p95")),
            ]
        )
    return lines


DESIGN_HEADINGS = (
    "row",
    "objects freed by collections per frame",
    "collections ms per s",
    "longest ms",
    "objects waiting for another thread",
    "newest p95 ms",
)
