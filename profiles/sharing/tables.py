"""The evidence of `make sharing` as tables."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from experiment.report import ratio
from profiles.sharing.layouts import PROCESSES, THREADS
from profiles.sharing.ratios import by_round

HEADINGS = ("loops", "layout", "µs per session-s", "÷ processes", "÷ threads", "waits per session-s", "busy")


def layouts_of(run: Mapping[str, Any]) -> list[str]:
    """The layouts of a run that were measured, in order; without those of an earlier commit that has no such host."""
    every = dict.fromkeys(turn["layout"] for turn in run["turns"])
    return [name for name in every if " of " not in name or by_round(run["turns"], name)]


def lines(evidence: Mapping[str, Any]) -> list[list[str]]:
    """A line for each layout of each run."""
    found = []
    for run in evidence["runs"]:
        if run["refused"]:
            found.append([run["label"], f"refused: {run['refused']}", "", "", "", "", ""])
        found += [_line(run, layout) for layout in layouts_of(run)]
    return found


def _line(run: Mapping[str, Any], layout: str) -> list[str]:
    turns: Sequence[Mapping[str, Any]] = run["turns"]
    costs = by_round(turns, layout)
    if not costs:
        failed = next(turn["failed"] for turn in turns if turn["layout"] == layout)
        return [run["label"], layout, f"failed: {failed[:60]}", "", "", "", ""]
    ratios = [
        "" if layout == base else str(ratio(costs, by_round(turns, base)) or "–")
        for base in (PROCESSES.name, THREADS.name)
    ]
    waits = median(by_round(turns, layout, "waits_per_session_second").values())
    busy = median(by_round(turns, layout, "busy").values())
    cost = f"{median(costs.values()):.1f} ({min(costs.values()):.1f}–{max(costs.values()):.1f})"
    return [run["label"], layout, cost, *ratios, f"{waits:.2f}", f"{busy:.0%}"]


OBJECT_HEADINGS = ("host", "object", "type", "where", "counted down per session-s, by each thread")
OBJECTS_SHOWN = 12
"""Of each host, the most touched."""


def object_lines(evidence: Mapping[str, Any]) -> list[list[str]]:
    """What all loops' threads touch, of each run on a CPython that counts."""
    found = []
    for run in evidence["runs"]:
        for one in (run.get("shared") or {}).get("shared", [])[:OBJECTS_SHOWN]:
            what = one["what"].replace("|", "\\|")
            found.append([run["host"], f"`{what}`", one["type"], one["where"] or "–", str(one["per_session_second"])])
    return found


WAIT_HEADINGS = ("loops", "layout", "what", "where", "times per 1000 session-s", "µs per 1000 session-s", "longest, ms")
WAITS_SHOWN = 5
"""Of each layout, those that took longest in all."""


def wait_lines(evidence: Mapping[str, Any]) -> list[list[str]]:
    """What loops waited for, of each traced layout of each run."""
    found = []
    for run in evidence["runs"]:
        for name, traced in run.get("traced", {}).items():
            layout = name.partition(",")[0]
            if traced["refused"]:
                found.append([run["label"], layout, f"not traced: {traced['refused']}", "", "", "", ""])
                continue
            thousands = traced["session_seconds"] / 1000
            for wait in traced["waits"][:WAITS_SHOWN]:
                often, long = wait["times"] / thousands, wait["us"] / thousands
                numbers = [f"{often:.1f}", f"{long:.0f}", f"{wait['longest_us'] / 1000:.2f}"]
                found.append([run["label"], layout, wait["kind"], wait["where"], *numbers])
            if not traced["waits"]:
                found.append([run["label"], layout, "none", "", "", "", ""])
    return found


THREAD_HEADINGS = ("thread", "on CPU, ms", "waits for a CPU, ms", "lets go of it", "loses it")
_LEAST_MS = 15.0
"""A thousandth of a window of 15 s."""


def thread_lines(profile: Mapping[str, Any]) -> list[list[str]]:
    """What the scheduler did to each thread of a whole gateway, in the measured window, the busiest first."""
    keys = ("on_cpu_ms", "run_queue_wait_ms", "voluntary_switches", "involuntary_switches")
    return [
        [str(thread["name"]), *("–" if thread[key] is None else f"{thread[key]:,.0f}" for key in keys)]
        for thread in profile["threads"]
        if (thread["on_cpu_ms"] or 0.0) >= _LEAST_MS
    ]
