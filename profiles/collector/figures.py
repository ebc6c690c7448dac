"""The pictures of the collector: the way from gil to mt, the pause over sessions, and collections over answers."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from experiment.report import save_all
from profiles.collector.chain import CHAIN, Cell, Evidence, cells
from profiles.collector.tables import census

_COLOURS = {"p50": "tab:blue", "p95": "tab:red"}


def chain_figure(evidence: Evidence, sessions: int) -> Figure | None:
    """p50 and p95 of each row of the way, every round a dot; None where it was not measured at this load."""
    found = cells(evidence, "chain")
    rows = [row for row in (*CHAIN[:-1], "st-ft", "mt-one-loop", "mt") if (row, 0, sessions, None) in found]
    if not rows:
        return None
    figure = Figure(figsize=(8, 1.4 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        points = [
            point
            for again in (0, 1)
            if (row, again, sessions, None) in found
            for point in found[row, again, sessions, None].points
        ]
        for quantity, colour in _COLOURS.items():
            values = [value for point in points if (value := (point["newest_ms"] or {}).get(quantity)) is not None]
            axes.plot(
                values, [place] * len(values), "o", color=colour, alpha=0.6, label=quantity if not place else None
            )
    axes.set_yticks(range(len(rows)), list(reversed(rows)), fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel(f"newest p50 and p95 in ms at {sessions} sessions; one dot a round")
    axes.grid(alpha=0.3, axis="x", which="both")
    axes.legend(fontsize=8)
    return figure


def growth_figure(evidence: Evidence) -> Figure | None:
    """How long a collection takes over the objects that it looks at; None without a census."""
    points = census(evidence, "growth")
    if not points:
        return None
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    over_objects, over_sessions = figure.subplots(1, 2, sharey=True)
    for colour, row in enumerate(dict.fromkeys(point["row"] for point, _ in points)):
        own = [
            (point["sessions"], one["tracked"], Cell((point,)).longest_ms)
            for point, one in points
            if point["row"] == row
        ]
        own = sorted(each for each in own if each[2] is not None)
        over_sessions.plot([each[0] for each in own], [each[2] for each in own], "o-", color=f"C{colour}", label=row)
        over_objects.plot([each[1] for each in own], [each[2] for each in own], "o", color=f"C{colour}", label=row)
    over_objects.set_xlabel("objects that are tracked after the window")
    over_objects.set_ylabel("longest collection in ms")
    over_sessions.set_xlabel("sessions")
    for axes in (over_objects, over_sessions):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def draw_all(evidence: Evidence, folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Write every picture that the evidence has something for, and return the paths of the first suffix."""
    loads = evidence["settings"]["sets"]["chain"]["sessions"]
    figures = {f"collector-chain-{load}": chain_figure(evidence, load) for load in loads}
    return save_all(figures | {"collector-growth": growth_figure(evidence)}, folder, suffixes)
