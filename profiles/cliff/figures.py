"""The pictures of the cliff: rates by cell, survival over frames, and healthy sessions beside stalled ones."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiment.report import save_all
from profiles.cliff import hazard
from profiles.cliff.gap import Gap
from profiles.cliff.rates import cell_rates, lives

_COLOURS = {"affected": "tab:red", "unaffected": "tab:green", "not resolved": "tab:orange"}
_SURVIVAL = ("2.7.4", "2.8.0", "2.8.1", "newest", "2.7.4 GIL")


def rates_figure(evidence: Mapping[str, Any]) -> Figure:
    """Stalls per million frames with 95 % intervals; where none was seen, the upper limit alone."""
    cells = cell_rates(evidence)
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(cells)), layout="constrained")
    axes = figure.subplots()
    for place, cell in enumerate(reversed(cells)):
        rate, colour = cell.rate, _COLOURS[cell.verdict]
        low = rate.low * 1e6 if rate.events else rate.high * 1e6 / 30
        axes.plot([low, rate.high * 1e6], [place, place], color=colour, linestyle="-" if rate.events else ":")
        if rate.events:
            axes.plot(rate.rate * 1e6, place, "o", color=colour)
        else:
            axes.plot(rate.high * 1e6, place, "<", color=colour)
    axes.set_yticks(range(len(cells)), [cell.name for cell in reversed(cells)], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("stalls per million frames, 95 %; dotted: none seen, upper limit")
    axes.set_title("red: affected, green: unaffected, orange: not resolved", fontsize=9)
    axes.grid(alpha=0.3, axis="x", which="both")
    return figure


def survival_figure(evidence: Mapping[str, Any]) -> Figure:
    """Kaplan–Meier: the share of connections that had not stalled after so many frames, with 95 % bands."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(name for name in _SURVIVAL if name in evidence["cells"]):
        frames, stalled = lives(evidence, name)
        if not frames:
            continue
        curve = hazard.survival(frames, stalled)
        label = f"{name}: {sum(stalled)} of {len(stalled)} connections"
        axes.step(curve.frames, curve.share, where="post", color=f"C{number}", label=label)
        axes.fill_between(curve.frames, curve.low, curve.high, step="post", color=f"C{number}", alpha=0.15)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("frames of one connection")
    axes.set_ylabel("share not stalled")
    axes.set_title("Kaplan–Meier survival; a connection that did not stall is censored at its end", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def healthy_figure(evidence: Mapping[str, Any]) -> Figure | None:
    """Of the gateway's point with most stalls: newest-frame latency of those served, beside how many are served."""
    points = [point for point in evidence["points"] if not point["refused"] and point["timeline"]]
    if not points:
        return None
    point = max(points, key=lambda point: int(point["load"]["stalls"]["never_recovered"]))
    seconds, count, p50, p95 = zip(*point["timeline"], strict=True)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(seconds, p50, color="tab:blue", label="p50")
    left.plot(seconds, p95, color="tab:blue", linestyle="--", label="p95")
    left.set_title("newest-frame latency of the sessions that are served, ms", fontsize=9)
    left.set_ylim(bottom=0)
    left.legend(fontsize=7)
    right.step(seconds, count, where="mid", color="0.3")
    right.set_title("partials in each second", fontsize=9)
    right.set_ylim(bottom=0)
    for stall in point["failure_details"] or []:
        if stall["failure"] == "stalled":
            right.axvline(stall["at_s"] - 3, color="tab:red", alpha=0.5, linewidth=0.8)
    for axes in (left, right):
        axes.set_xlabel("seconds of the run")
        axes.grid(alpha=0.3)
    stalls = point["load"]["stalls"]["never_recovered"]
    figure.suptitle(
        f"{point['variant']}, {point['sessions']} sessions, {point['timing']}: {stalls} stalled (red: last progress)",
        fontsize=10,
    )
    return figure


def gap_figure(gap: Gap) -> Figure:
    """The steps from gil to mt, each with its rounds' range."""
    steps = [*gap.steps, gap.whole]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(steps)), layout="constrained")
    axes = figure.subplots()
    for place, step in enumerate(reversed(steps)):
        reach = [[step.middle - step.change.low], [step.change.high - step.middle]]
        colour = "0.4" if step is gap.whole else "tab:blue"
        axes.barh(place, step.middle, xerr=reach, color=colour, height=0.6, ecolor="0.2", capsize=2)
    axes.set_yticks(range(len(steps)), [f"{step.before} → {step.after}" for step in reversed(steps)], fontsize=8)
    axes.axvline(0, color="0.2", linewidth=0.8)
    axes.set_xlabel(f"µs per session-second at {gap.sessions} sessions; grey: the whole")
    axes.grid(alpha=0.3, axis="x")
    return figure


FIGURES: dict[str, Callable[[Mapping[str, Any]], Figure | None]] = {
    "cliff-rates": rates_figure,
    "cliff-survival": survival_figure,
    "cliff-healthy": healthy_figure,
}


def draw_all(evidence: Mapping[str, Any], gap: Gap | None, folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Write every picture that the evidence gives, in each format; returns those of the first one."""
    drawn = {name: make(evidence) for name, make in FIGURES.items()}
    drawn["cliff-gap"] = None if gap is None else gap_figure(gap)
    return save_all(drawn, folder, suffixes)
