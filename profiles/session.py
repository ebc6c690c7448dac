"""One profile: an unprofiled point, then the same point with a profiler around its measured window, in one run folder.

What it cost is the second point's CPU time per session-second over the first's. No conformance, no ladder here.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
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
from experiment.setup import CHECKOUT, write_json
from experiment.store import RunFolder
from profiles.forensics.profiler import HOLD_STALLED_S, Forensics
from profiles.profilers.collector import Collector
from profiles.profilers.flamegraph import page
from profiles.profilers.kinds import Memray, Profiler, PySpy, Remote, Sched, Target
from profiles.profilers.stacks import format_collapsed, hottest, parse_collapsed, speedscope, without_folders
from profiles.runs import run_of_one_row

_PATHS = (
    "import sysconfig, json; p = sysconfig.get_paths(); print(json.dumps([p['purelib'], p['platlib'], p['stdlib']]))"
)


PROFILERS: dict[str, Callable[[], Profiler]] = {
    "py-spy": PySpy,
    "remote": Remote,
    "sched": Sched,
    "memray": Memray,
    "collector": Collector,
    "forensics": Forensics,
}


class Around:
    """The observer of `experiment.run.point`: profiles from "measure" to "drain"; tells the profiler of a stall."""

    def __init__(self, profiler: Profiler, launch: Launch, folder: Path) -> None:
        self._profiler, self._launch, self._folder = profiler, launch, folder
        self.facts: dict[str, Any] | None = None
        self._started = anyio.Event()

    async def __call__(self, phase: str, roles: Mapping[str, Role]) -> None:
        if phase == "measure":
            gateway, tag = roles["gateway"], self._launch.tag or ""
            if self._launch.python is None:
                raise ValueError("a foreign gateway has no interpreter of ours")
            pids = tuple(gateway.group.pids())
            target = Target(gateway.pid, pids, self._launch.python, tag.endswith("t"), gateway.group.usage)
            await self._profiler.start(target, self._folder)
            self._started.set()
        elif phase == "stall" and isinstance(self._profiler, Forensics):
            await self._started.wait()
            await self._profiler.look()
        elif phase == "drain" and self._started.is_set():
            self.facts = await self._profiler.stop()


async def run_profile(campaign: Campaign, profiler_name: str, display: Display) -> RunFolder:
    """Run both points and write the pictures.

    Raises:
        ConfigError: no or several SESSIONS, a foreign or external gateway, an unknown profiler.
        ProbeError, SetupError, ShapeRefused: as in `experiment.run.runner`.
        RuntimeError: the profiler gave nothing; the text says why.
    """
    (row,) = campaign.rows
    plan = checked(row.plan, profiler_name)
    if profiler_name == "forensics":
        plan = replace(plan, hold_stalled_s=HOLD_STALLED_S)
    sessions = plan.sessions[0]
    profiler = PROFILERS[profiler_name]()
    async with run_of_one_row(campaign, plan, profiler_name, display) as (run, launch, folder, label):
        place = folder.path / "profile"
        place.mkdir()
        around = Around(profiler, launch, place)
        points = []
        with on_harness_cpus(plan):
            for title, observer in (("unprofiled", None), (profiler_name, around)):
                with display.stage(f"{sessions} sessions, {title}", plan.point_s) as stage:
                    point = await run_point(run, plan, launch, sessions, folder.point(label, sessions), stage, observer)
                display.note(f"{title}: {_says(point)}")
                points.append(point)
    if around.facts is None:
        raise RuntimeError(f"{profiler_name} gave nothing: {'; '.join(points[1]['notes']) or 'no measured window'}")
    for failure in around.facts.get("failed", ()):
        display.note(f"not in the profile: {failure}")
    title = f"{plan.variant_name} · {plan.shape_name} · {sessions} sessions · {profiler_name}"
    result = {"profiler": profiler_name, "title": title, "sessions": sessions, "slowed": slowed(points)}
    if profiler_name == "memray":
        left = sum(process["left_bytes"] for process in around.facts["processes"])
        result["left_bytes_per_session"] = None if "failed" in around.facts else left / sessions
    result |= {"facts": around.facts, "hottest": pictures(place, title, profiler.unit, launch)}
    write_json(place / "profile.json", result)
    return folder


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


def checked(plan: Plan | None, profiler_name: str) -> Plan:
    """The plan of a point that can be profiled. Raises ConfigError."""
    if profiler_name not in PROFILERS:
        raise ConfigError(f"PROFILER: expected one of {', '.join(PROFILERS)}, got {profiler_name!r}")
    if plan is None or len(plan.sessions) != 1:
        raise ConfigError("SESSIONS: a profile is of one point; give one number of sessions")
    if plan.variant is None or not hasattr(plan.variant, "module"):
        raise ConfigError("VARIANT: only a row of ours can be profiled; foreign and external gateways cannot")
    return plan


def _says(point: dict[str, Any]) -> str:
    cost = (point["gateway"] or {}).get("us_per_session_second")
    words = "CPU time not observed" if cost is None else f"{cost:.0f} µs per session-second"
    return f"{point['status']}, {words}" + "".join(f"; {note}" for note in point["notes"])
