"""The picture of `make sharing`: each layout's cost, by that of processes."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from experiment.report import ratio
from profiles.sharing.layouts import PROCESSES
from profiles.sharing.ratios import by_round
from profiles.sharing.tables import layouts_of


def ratios_figure(evidence: Mapping[str, Any]) -> Figure:
    """A panel for each host: the ratio and its interval of every layout."""
    runs = [run for run in evidence["runs"] if run["turns"]]
    most = max(len(layouts_of(run)) for run in runs)
    figure = Figure(figsize=(8, 1.0 + 0.24 * most * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
    for axes, run in zip(panels, runs, strict=True):
        base = by_round(run["turns"], PROCESSES.name)
        found = {name: ratio(by_round(run["turns"], name), base) for name in layouts_of(run) if name != PROCESSES.name}
        known = {name: one for name, one in found.items() if one is not None}
        for place, one in enumerate(reversed(known.values())):
            axes.plot([one.low, one.high], [place, place], color="tab:blue" if one.is_told else "tab:gray")
            axes.plot([one.mean], [place], "o", color="tab:blue" if one.is_told else "tab:gray")
        axes.set_yticks(range(len(known)), list(reversed(known)), fontsize=8)
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.grid(alpha=0.3, axis="x")
        axes.set_title(f"{run['label']} on CPython {run['interpreter']['tag']}", fontsize=9)
    panels[-1].set_xlabel("CPU per session-second ÷ that of processes, and its 95 % interval; gray: leaves 1 possible")
    return figure
