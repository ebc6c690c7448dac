"""One profile: an unprofiled point, then the same point with a profiler around its measured window, in one run folder.

What it cost is the second point's CPU time per session-second over the first's. No conformance, no ladder here.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.to_thread

from experiment.ask import ConfigError, Plan
from experiment.host import Role
from experiment.run import (
    Campaign,
    Display,
    Launch,
    on_harness_cpus,
    run_point,
)
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import RunFolder
from profiles.forensics.profiler import HOLD_STALLED_S, Forensics
from profiles.profilers.collector import Collector
from profiles.profilers.flamegraph import page
from profiles.profilers.kinds import Memray, Profiler, PySpy, Remote, Sampling, Sched, Target
from profiles.profilers.stacks import (
    disagreements,
    format_collapsed,
    hottest,
    parse_collapsed,
    speedscope,
    without_folders,
)
from profiles.runs import run_of_one_row

_PATHS = (
    "import sysconfig, json; p = sysconfig.get_paths(); print(json.dumps([p['purelib'], p['platlib'], p['stdlib']]))"
)
FEWEST_TO_COMPARE = 400
"""Samples: a share of a half is then known to 5 points, with 95 % probability."""
FIRST_WITH_SAMPLING = 15
"""CPython 3.15 has `profiling.sampling`."""

PROFILERS: dict[str, Callable[[], Profiler]] = {
    "py-spy": PySpy,
    "remote": Remote,
    "sampling": Sampling,
    "sched": Sched,
    "memray": Memray,
    "collector": Collector,
    "forensics": Forensics,
}


class Around:
    """The observer of `experiment.run.point`: profiles from "measure" to "drain"; tells the profiler of a stall."""

    def __init__(self, profiler: Profiler, launch: Launch, folder: Path) -> None:
        self._profiler, self._launch, self.folder = profiler, launch, folder
        self.facts: dict[str, Any] | None = None
        self._started = anyio.Event()

    async def __call__(self, phase: str, roles: Mapping[str, Role]) -> None:
        if phase == "measure":
            gateway, tag = roles["gateway"], self._launch.tag or ""
            if self._launch.python is None:
                raise ValueError("a foreign gateway has no interpreter of ours")
            pids = tuple(gateway.group.pids())
            target = Target(gateway.pid, pids, self._launch.python, tag.endswith("t"), gateway.group.usage)
            await self._profiler.start(target, self.folder)
            self._started.set()
        elif phase == "stall" and isinstance(self._profiler, Forensics):
            await self._started.wait()
            await self._profiler.look()
        elif phase == "drain" and self._started.is_set():
            self.facts = await self._profiler.stop()


def chosen(asked: str | None, plan: Plan | None) -> tuple[str, ...]:
    """The profilers: those that were asked for; else CPython's own where the row's interpreter has it, from 3.15 on,
    and ours before that."""
    if asked is not None:
        return tuple(asked.replace(",", " ").split())
    series = getattr(plan and plan.variant, "interpreter", "3.14")
    return ("sampling" if int(series.rstrip("t").partition(".")[2]) >= FIRST_WITH_SAMPLING else "remote",)


async def run_profile(campaign: Campaign, asked: str | None, display: Display) -> RunFolder:
    """Run a point without a profiler and one with each, and write the pictures.

    The first's files lie in `profile/`, another's in `profile-<name>/`; the first's say where the two disagree.

    Raises:
        ConfigError: no or several SESSIONS, a foreign or external gateway, an unknown profiler.
        ProbeError, SetupError, ShapeRefused: as in `experiment.run.runner`.
        RuntimeError: the profiler gave nothing; the text says why.
    """
    row = campaign.row
    names = chosen(asked, row.plan)
    plan = checked(row.plan, names)
    if "forensics" in names:
        plan = replace(plan, hold_stalled_s=HOLD_STALLED_S)
    sessions = plan.sessions[0]
    profilers = [PROFILERS[name]() for name in names]
    async with run_of_one_row(campaign, plan, "-".join(names), display) as (run, launch, folder, label):
        places = [folder.path / ("profile" if place == 0 else f"profile-{name}") for place, name in enumerate(names)]
        arounds = [Around(profiler, launch, place) for profiler, place in zip(profilers, places, strict=True)]
        points = []
        with on_harness_cpus(plan):
            for title, observer in (("unprofiled", None), *zip(names, arounds, strict=True)):
                if observer is not None:
                    observer.folder.mkdir()
                with display.stage(f"{sessions} sessions, {title}", plan.point_s) as stage:
                    point = await run_point(run, plan, launch, sessions, folder.point(label, sessions), stage, observer)
                display.note(f"{title}: {_says(point)}")
                points.append(point)
    for name, around, point in zip(names, arounds, points[1:], strict=True):
        if around.facts is None:
            raise RuntimeError(f"{name} gave nothing: {'; '.join(point['notes']) or 'no measured window'}")
        for failure in around.facts.get("failed", ()):
            display.note(f"not in the profile: {failure}")
    for number, (name, profiler, around) in enumerate(zip(names, profilers, arounds, strict=True)):
        title = f"{plan.name} · {plan.shape_name} · {sessions} sessions · {name}"
        result = {
            "profiler": name,
            "title": title,
            "sessions": sessions,
            "slowed": slowed([points[0], points[number + 1]]),
        }
        if name == "memray":
            left = sum(process["left_bytes"] for process in (around.facts or {})["processes"])
            result["left_bytes_per_session"] = None if "failed" in (around.facts or {}) else left / sessions
        result |= {"facts": around.facts, "hottest": pictures(around.folder, title, profiler.unit, launch)}
        write_json(around.folder / "profile.json", result)
    beside = _beside(arounds, names)
    for name in (name for name in names[1:] if name not in beside):
        display.note(f"{names[0]} and {name}: too few samples of either to be compared")
    if beside:
        first = read_json(places[0] / "profile.json") or {}
        write_json(places[0] / "profile.json", {**first, "beside": beside})
        for name, apart in beside.items():
            display.note(f"{names[0]} and {name} disagree by more than 5 points: {said_apart(apart)}")
    return folder


def _beside(arounds: Sequence["Around"], names: Sequence[str]) -> dict[str, list[tuple[str, float, float]]]:
    """By the name of each further profiler, where its stacks and the first's disagree; nothing of one that has too few
    to say so, as the first may have."""
    stacks = [around.folder / "stacks.txt" for around in arounds]
    if len(stacks) < 2 or not all(file.exists() for file in stacks):
        return {}
    first, *others = (parse_collapsed(file.read_text(encoding="utf-8")) for file in stacks)
    pairs = zip(names[1:], others, strict=True)
    enough = first.total() >= FEWEST_TO_COMPARE
    return {name: disagreements(first, each) for name, each in pairs if enough and each.total() >= FEWEST_TO_COMPARE}


def said_apart(apart: Sequence[tuple[str, float, float]]) -> str:
    """What `disagreements` found, in words."""
    return "; ".join(f"{name} {one:.0%} and {other:.0%}" for name, one, other in apart) or "nowhere"


def slowed(points: list[dict[str, Any]]) -> dict[str, float | None]:
    """CPU time per session-second without and with the profiler, and their ratio; None where it was not measured."""
    without, profiled = ((point["gateway"] or {}).get("us_per_session_second") for point in points)
    ratio = profiled / without if profiled is not None and without else None
    return {"us_per_session_second": without, "us_per_session_second_profiled": profiled, "ratio": ratio}


def pictures(place: Path, title: str, unit: str, launch: Launch) -> dict[str, list[tuple[str, float]]]:
    """From every file of collapsed stacks: a flame graph, a speedscope file, and its hottest frames."""
    hot = {}
    for file in sorted(place.glob("*.txt")):
        stacks = parse_collapsed(file.read_text(encoding="utf-8"))
        stacks = without_folders(stacks, _folders(launch))
        file.write_text(format_collapsed(stacks), encoding="utf-8")
        name = title if file.stem == "stacks" else f"{title} · {file.stem}"
        file.with_suffix(".html").write_text(page(stacks, name, unit), encoding="utf-8")
        kind = "bytes" if unit == "bytes" else "none"
        write_json(file.with_suffix(".speedscope.json"), speedscope(stacks, name, kind))
        hot[file.stem] = hottest(stacks)
    return hot


def _folders(launch: Launch) -> list[str]:
    command = [str(launch.python), "-I", "-c", _PATHS]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(asked.stdout)
    return [*found, str(CHECKOUT)]


def checked(plan: Plan | None, names: Sequence[str]) -> Plan:
    """The plan of a point that can be profiled. Raises ConfigError."""
    if not names or len(set(names)) < len(names) or set(names) - PROFILERS.keys():
        raise ConfigError(f"PROFILER: expected one or more of {', '.join(PROFILERS)}, got {','.join(names)!r}")
    if plan is None or len(plan.sessions) != 1:
        raise ConfigError("SESSIONS: a profile is of one point; give one number of sessions")
    if plan.variant is None or not hasattr(plan.variant, "module"):
        raise ConfigError("VARIANT: only a row of ours can be profiled; foreign and external gateways cannot")
    return plan


def _says(point: dict[str, Any]) -> str:
    cost = (point["gateway"] or {}).get("us_per_session_second")
    words = "CPU time not observed" if cost is None else f"{cost:.0f} µs per session-second"
    return f"{point['status']}, {words}" + "".join(f"; {note}" for note in point["notes"])
