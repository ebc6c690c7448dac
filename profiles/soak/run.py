"""One long point, from what every point stores: resources.csv (each second) and samples.csv (each answer)."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiment.ask import ConfigError
from experiment.report import save_all
from experiment.run import Campaign, Display, on_harness_cpus, run_point
from experiment.setup import write_json
from experiment.store import PointFolder, RunFolder
from profiles.cliff.hazard import PoissonRate, poisson_rate
from profiles.points import answers, readings
from profiles.runs import run_of_one_row
from profiles.soak.flat import Drift, by_period, drift

PERIOD_S = 10.0
"""Latencies are looked at by this much."""
_RESOURCES = {
    "rss_bytes": ("memory", "MiB", 2**20),
    "descriptors": ("descriptors", "", 1),
    "threads": ("threads", "", 1),
}
Series = dict[str, tuple[list[float], list[float]]]
"""Of each quantity: seconds since the window began, and its values."""


async def run_soak(campaign: Campaign, minutes: float, display: Display) -> tuple[RunFolder, dict[str, Any]]:
    """Run it, write soak.json and soak.svg, and return the folder and what soak.json says.

    Raises:
        ConfigError: no or several SESSIONS, an external gateway, no positive MINUTES.
        ProbeError, SetupError, ShapeRefused: as in `experiment.run.runner`.
    """
    row = campaign.row
    plan = row.plan
    if minutes <= 0:
        raise ConfigError(f"MINUTES: expected a number above 0, got {minutes:g}")
    if plan is None or len(plan.sessions) != 1:
        raise ConfigError("SESSIONS: a soak is one point; give one number of sessions")
    if plan.variant is None:
        raise ConfigError("VARIANT: a soak looks at a gateway that it starts; an external one is not ours to look into")
    plan = replace(plan, timing=plan.timing.model_copy(update={"measure_s": minutes * 60}))
    (sessions,) = plan.sessions
    title = f"{plan.variant_name}, {sessions} sessions, {minutes:g} min"
    async with run_of_one_row(campaign, plan, "soak", display) as (run, launch, folder, label):
        place = folder.point(label, sessions)
        with on_harness_cpus(plan), display.stage(title, plan.point_s) as stage:
            point = await run_point(run, plan, launch, sessions, place, stage)
    series = read_series(place, plan.timing.measure_s, plan.timing.total_s)
    soak = {"title": title, "minutes": minutes, "sessions": sessions, **summary(point, series)}
    write_json(folder.path / "soak.json", soak)
    save_all({"soak": draw(title, series)}, folder.path, (".svg",))
    return folder, soak


def read_series(place: PointFolder, measure_s: float, total_s: float) -> Series:
    """Each quantity within the measured window."""
    series: Series = {}
    began_s = total_s - measure_s
    for column, (name, _, unit) in _RESOURCES.items():
        pairs = [(at_s - began_s, value / unit) for at_s, value in readings(place.resources, column)]
        within = [(at_s, value) for at_s, value in pairs if 0 <= at_s <= measure_s]
        series[name] = ([at_s for at_s, _ in within], [value for _, value in within])
    found = [each for each in answers(place.samples) if each.in_window and not each.is_error]
    if found:
        at_s = np.array([each.arrival_s for each in found]) - began_s
        newest_ms = np.array([each.newest_ms for each in found])
        for percent in (50, 95):
            series[f"newest p{percent}"] = by_period(at_s, newest_ms, PERIOD_S, percent)
    return series


def drifts(series: Series) -> list[Drift]:
    """Of each quantity that has enough readings."""
    units = {name: unit for name, unit, _ in _RESOURCES.values()}
    found = (drift(name, units.get(name, "ms"), at_s, values) for name, (at_s, values) in series.items())
    return [each for each in found if each is not None]


def summary(point: Mapping[str, Any], series: Series) -> dict[str, Any]:
    """The point's verdict, what drifted, and its stalls by frames that were due."""
    load = point["load"] or {}
    frames = load.get("frames", {}).get("due", 0)
    stalls = load.get("stalls", {}).get("count", 0)
    return {
        **{key: point[key] for key in ("status", "reasons", "notes", "gateway")},
        "failures_total": load.get("failures_total"),
        "frames": frames,
        "stalls": stalls,
        "stall_rate": asdict(poisson_rate(stalls, frames)) if frames else None,
        "drifts": [{**asdict(each), "verdict": each.verdict} for each in drifts(series)],
    }


def draw(title: str, series: Series) -> Figure:
    """Each quantity over time, one below the other."""
    figure = Figure(figsize=(8, 1.2 + 1.3 * len(series)), layout="constrained")
    panels = figure.subplots(max(1, len(series)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, (at_s, values)) in zip(panels, series.items(), strict=False):
        axes.plot([each / 60 for each in at_s], values, linewidth=1)
        axes.set_ylabel(name, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    panels[0].set_title(title, fontsize=9)
    panels[-1].set_xlabel("minutes of the measured window")
    return figure


def told(soak: Mapping[str, Any]) -> tuple[list[list[str]], str, bool]:
    """A line for each quantity, a sentence on the rest, and whether nothing grew in a run that counts."""
    found = [Drift(**{key: value for key, value in each.items() if key != "verdict"}) for each in soak["drifts"]]
    words = [f"{soak['status']}, {soak['failures_total']} failures, {soak['frames']:,} frames"]
    if (rate := soak["stall_rate"]) is not None:
        words.append(f"stalls {PoissonRate(**rate)}")
    words += [*soak["reasons"], *soak["notes"]]
    grows = [each.name for each in found if each.verdict == "grows"]
    return [each.line() for each in found], "; ".join(words), bool(found) and not grows and soak["status"] != "INVALID"
