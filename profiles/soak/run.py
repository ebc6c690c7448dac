"""One long point, from what every point stores: resources.csv (each second) and samples.csv (each answer)."""

import csv
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
from matplotlib.figure import Figure

from experiment.ask import ConfigError
from experiment.host import Run, clean_leftovers, contents, facts
from experiment.report import save_all
from experiment.run import (
    HARNESS_PYTHON,
    Campaign,
    Display,
    as_facts,
    findings,
    make_manifest,
    on_harness_cpus,
    prepare,
    run_point,
)
from experiment.setup import describe, write_json
from experiment.store import PointFolder, RunFolder
from profiles.cliff.hazard import PoissonRate, poisson_rate
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
    (row,) = campaign.rows
    plan = row.plan
    if minutes <= 0:
        raise ConfigError(f"MINUTES: expected a number above 0, got {minutes:g}")
    if plan is None or len(plan.sessions) != 1:
        raise ConfigError("SESSIONS: a soak is one point; give one number of sessions")
    if plan.variant is None:
        raise ConfigError("VARIANT: a soak looks at a gateway that it starts; an external one is not ours to look into")
    plan = replace(plan, timing=plan.timing.model_copy(update={"measure_s": minutes * 60}))
    (sessions,) = plan.sessions
    started = datetime.now().astimezone()
    notes = clean_leftovers(campaign.results)
    assert plan.variant is not None
    launch, found = await anyio.to_thread.run_sync(prepare, plan.variant, display.note)
    harness = describe(HARNESS_PYTHON) | contents(HARNESS_PYTHON)
    folder = RunFolder.create(campaign.results, f"soak-{campaign.name}", started)
    place = folder.point(row.label, sessions)
    async with Run(campaign.results, keep_env=campaign.keep_env) as run:
        for note in run.environment.notes():
            display.note(note)
        machine = facts(run.host)
        hygiene = as_facts(findings(machine, [] if plan.cpus is None else [plan.cpus], sessions))
        rows = {row.label: (launch, found)}
        folder.write_manifest(make_manifest(campaign, started, machine, harness, rows, run.environment, hygiene, notes))
        title = f"{plan.variant_name}, {sessions} sessions, {minutes:g} min"
        with on_harness_cpus(plan), display.stage(title, plan.point_s) as stage:
            point = await run_point(run, plan, launch, sessions, place, stage)
    series = read_series(place, plan.timing.measure_s, plan.timing.total_s)
    soak = {"title": title, "minutes": minutes, "sessions": sessions, **summary(point, series)}
    write_json(folder.path / "soak.json", soak)
    save_all({"soak": draw(title, series)}, folder.path, (".svg",))
    return folder, soak


def read_series(place: PointFolder, measure_s: float, total_s: float) -> Series:
    """Each quantity within the measured window. Resources are on the machine's clock, of which the last reading is not
    after the end of the point; answers are on the load's, which begins with the first connect."""
    series: Series = {}
    with (place.path / "resources.csv").open(encoding="ascii", newline="") as file:
        readings = [row for row in csv.DictReader(file) if row["role"] == "gateway"]
    if readings:
        began_s = float(readings[0]["at_s"]) + total_s - measure_s
        for column, (name, _, unit) in _RESOURCES.items():
            pairs = [(float(row["at_s"]) - began_s, float(row[column]) / unit) for row in readings if row[column]]
            within = [(at_s, value) for at_s, value in pairs if 0 <= at_s <= measure_s]
            series[name] = ([at_s for at_s, _ in within], [value for _, value in within])
    latencies = _latencies(place.loadgen / "samples.csv")
    if latencies.size:
        at_s = latencies[:, 0] - (total_s - measure_s)
        for percent in (50, 95):
            series[f"newest p{percent}"] = by_period(at_s, latencies[:, 1], PERIOD_S, percent)
    return series


def _latencies(samples: Path) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Arrival and newest latency of each answer of the window; shape (answers, 2), s and ms."""
    if not samples.exists():
        return np.empty((0, 2))
    with samples.open(encoding="ascii", newline="") as file:
        found = [
            (float(row["arrival_s"]), float(row["newest_ms"]))
            for row in csv.DictReader(file)
            if row["kind"] == "partial" and row["newest_in_window"] == "1"
        ]
    return np.array(found).reshape(-1, 2)


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
