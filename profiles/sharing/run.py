"""`make sharing`: loops side by side on two CPUs, layout after layout, round after round. Stored after each.

results/<date>-sharing/sharing.json holds each window of each layout; `page` says what it means.
"""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from experiment.ask import Ask, Config, ConfigError, Sharing, SharingHost, resolve_one
from experiment.host import Command, Limits, Role, Run, ShapeRefused, clean_leftovers, usable_cpus
from experiment.run import GIL_TURNED_ON, Display, Launch, ProbeError, checked_out, prepare
from experiment.setup import CHECKOUT, SetupError, write_json
from experiment.store import RunFolder
from profiles.runs import begun, refusal
from profiles.sharing.layouts import AGAIN, COUNTED, ONE, PROCESSES, THREADS, TRACED, Layout, layouts

EVIDENCE = "sharing.json"
CPUS = 2
START_S = 4.0
"""From starting a process to the window: imports, connections, and two seconds of warm-up."""
END_S = 0.5
_LATE_S = 10.0


def sharing_of(config: Config) -> Sharing:
    """Its table. Raises ConfigError where experiments.toml has none."""
    if config.sharing is None:
        raise ConfigError("experiments.toml: table [sharing] is missing")
    return config.sharing


def turn_s(sharing: Sharing) -> float:
    """How long one layout takes, once."""
    return START_S + sharing.window_s + END_S


def traced_s(sharing: Sharing) -> float:
    """How long one takes whose waits are traced: a second window, and perf's reading of it."""
    return turn_s(sharing) + 2 * sharing.window_s


def of_host(host: SharingHost, revision: str | None = None, *, overlaid: bool = False) -> list[Layout]:
    """Its layouts, in order; where packages are laid over, processes and threads alone. Granian's workers are processes
    wherever there is a GIL."""
    if overlaid:
        return [each for each in layouts(()) if each.name.removesuffix(AGAIN) in (PROCESSES.name, THREADS.name)]
    former = None if host.program == "core" else revision
    every = layouts(host.steps, shares_clock=host.shares_clock, revision=former, alone=host.program == "core")
    return [layout for layout in every if not (layout.gil and host.program == "granian")]


def announce(sharing: Sharing, builds: int, revision: str | None = None, *, overlaid: bool = False) -> str:
    """How many windows, and how long they take."""
    builds *= 2 if overlaid else 1
    each = {name: len(of_host(host, revision, overlaid=overlaid)) for name, host in sharing.hosts.items()}
    rounds_s = sharing.rounds * sum(each.values()) * turn_s(sharing)
    total_s = builds * (rounds_s + len(TRACED) * len(each) * traced_s(sharing))
    named = ", ".join(f"{name} {count}" for name, count in each.items())
    on = "" if builds == 1 else f" on each of {builds} environments"
    return f"layouts {named}, {sharing.rounds} rounds{on}, {turn_s(sharing):g} s each: about {total_s / 60:.0f} min"


def chosen(config: Config, names: Sequence[str]) -> Sharing:
    """Its table, with these of its hosts alone; all without any. Raises ConfigError."""
    sharing = sharing_of(config)
    if wrong := [name for name in names if name not in sharing.hosts]:
        raise ConfigError(f"SETS: expected some of {', '.join(sharing.hosts)}; got {', '.join(wrong)}")
    hosts = {name: host for name, host in sharing.hosts.items() if not names or name in names}
    return sharing.model_copy(update={"hosts": hosts})


async def run_sharing(
    config: Config,
    sharing: Sharing,
    pythons: Sequence[str],
    results: Path,
    display: Display,
    revision: str | None = None,
    overlay: tuple[str, ...] | None = None,
) -> RunFolder:
    """Run the hosts of `sharing` on each of `pythons` (their rows' own without any). With a `revision` that commit's
    hosts run beside them; with an `overlay` of packages each host runs without and with it.

    Raises:
        SetupError: no such commit.
        ShapeRefused: there are no two CPUs.
    """
    cpus = sorted(usable_cpus())[-CPUS:]
    if len(cpus) < CPUS:
        raise ShapeRefused(f"sharing: expected {CPUS} CPUs, a whole one for each loop; this process may use {cpus}")
    display.note(announce(sharing, max(1, len(pythons)), revision, overlaid=overlay is not None))
    tree = None if revision is None else await anyio.to_thread.run_sync(checked_out, revision)
    started = datetime.now().astimezone()
    clean_leftovers(results)
    runs: list[dict[str, Any]] = []
    launches: list[tuple[dict[str, Any], SharingHost, Launch]] = []
    for python, laid, (name, host) in product(
        pythons or (None,), dict.fromkeys((None, overlay)), sharing.hosts.items()
    ):
        kept: dict[str, Any] = {
            "host": name,
            "label": name,
            "row": host.row,
            "interpreter": None,
            "refused": None,
            "turns": [],
        }
        runs.append(kept)
        try:
            on = None if python is None else (python,)
            ask = Ask("sharing", (host.row,), pythons=on, receive="sender", overlay=laid)
            plan = resolve_one(config, ask)
            kept["label"] = name + plan.name.removeprefix(host.row)
            launch, kept["interpreter"] = await anyio.to_thread.run_sync(prepare, plan, display.note)
        except (SetupError, ConfigError, ShapeRefused) as error:
            kept["refused"] = refusal(str(kept["label"]), error, display)
        else:
            launches.append((kept, host, launch))
    folder = RunFolder.create(results, "sharing", started)
    async with Run(results) as run:
        for note in run.environment.notes():
            display.note(note)
        evidence = {**begun(run, started), "settings": sharing.model_dump(), "cpus": cpus, "runs": runs}
        write_json(folder.path / EVIDENCE, evidence)
        counting = [
            each
            for each in launches
            if each[1].program != "granian" and await anyio.to_thread.run_sync(_counts, each[2])
        ]
        lacking: list[str] = []
        for kept, host, launch in launches:
            with display.stage(f"{kept['label']}: bytecode of all modules", turn_s(sharing)) as stage:
                stage.update("compiling")
                await _turn(run, sharing, host, launch, ONE, cpus, folder)
                if tree is not None:
                    former = replace(ONE, revision=revision)
                    turn = await _turn(run, sharing, host, launch, former, cpus, folder, tree)
                    if turn["failed"] is not None:
                        display.note(f"{kept['label']}: left out of commit {revision}, which cannot run it")
                        lacking.append(kept["label"])
        ahead = [
            (number, kept, host, launch, layout)
            for number in range(1, sharing.rounds + 1)
            for kept, host, launch in launches
            if (kept, host, launch) not in counting
            for layout in of_host(host, revision, overlaid=overlay is not None)
            if not layout.gil or (launch.tag or "").endswith("t")
            if layout.revision is None or kept["label"] not in lacking
        ]
        if overlay is not None:  # without and with it close to each other in time
            ahead.sort(key=lambda each: (each[0], each[1]["host"], each[4].name))
        for done, (number, kept, host, launch, layout) in enumerate(ahead):
            left_s = (len(ahead) - done) * turn_s(sharing)
            title = f"{kept['label']}, round {number}: {layout.name} (about {left_s / 60:.0f} min left)"
            with display.stage(title, turn_s(sharing)) as stage:
                stage.update(layout.about)
                turn = await _turn(run, sharing, host, launch, layout, cpus, folder, tree)
            kept["turns"].append({"layout": layout.name, "round": number, **turn})
            display.note(f"{kept['label']}, round {number}, {layout.name}: {_says(turn)}")
            write_json(folder.path / EVIDENCE, evidence)
        for kept, host, launch in counting:
            with display.stage(f"{kept['label']}: what all loops touch", turn_s(sharing)) as stage:
                stage.update("counting")
                kept["shared"] = await _turn(run, sharing, host, launch, COUNTED, cpus, folder)
            write_json(folder.path / EVIDENCE, evidence)
        for kept, host, launch in launches:
            if (kept, host, launch) in counting:
                continue
            kept["traced"] = {}
            for layout in TRACED:
                with display.stage(f"{kept['label']}: what they wait for, {layout.name}", traced_s(sharing)) as stage:
                    stage.update("locks and stopped worlds, by perf")
                    turn = await _turn(run, sharing, host, launch, layout, cpus, folder)
                kept["traced"][layout.name] = turn["traced"] if turn["failed"] is None else {"refused": turn["failed"]}
                write_json(folder.path / EVIDENCE, evidence)
        evidence["finished"] = True
        write_json(folder.path / EVIDENCE, evidence)
    return folder


def _counts(launch: Launch) -> bool:
    """Whether its interpreter counts whose references other threads take (`experiment.bench.touched`)."""
    look = "import ctypes, sys; sys.exit(not hasattr(ctypes.pythonapi, '_PyShared_Read'))"
    return subprocess.run([str(launch.python), "-c", look], check=False).returncode == 0


async def _turn(
    run: Run,
    sharing: Sharing,
    host: SharingHost,
    launch: Launch,
    layout: Layout,
    cpus: Sequence[int],
    folder: RunFolder,
    tree: Path | None = None,
) -> dict[str, Any]:
    """One window of one layout: the sum of its processes."""
    begin_s = time.monotonic() + START_S
    roles: list[Role] = []
    logs = [folder.path / f"process-{index}.log" for index in range(layout.processes)]
    limits = Limits(frozenset(cpus))
    most_s = (traced_s(sharing) if layout in TRACED else turn_s(sharing)) + _LATE_S
    try:
        for index, log in enumerate(logs):
            log.unlink(missing_ok=True)
            mine = cpus[index * layout.loops : (index + 1) * layout.loops]
            argv = _argv(sharing, host, launch, layout, mine, begin_s)
            home = tree if tree is not None and layout.revision else CHECKOUT
            command = Command(argv, cwd=home, log=log, env=_variables(layout, folder))
            roles.append(run.start(command, run.group(f"loops-{index}", limits)))
        with anyio.move_on_after(most_s):
            for role, log in zip(roles, logs, strict=True):
                ended = await role.wait()
                if ended.status != 0:
                    return {"failed": f"{log.name}: {ended}"}
            return _sum([_said(log) for log in logs])
        return {"failed": f"expected an end within {most_s:g} s"}
    finally:
        with anyio.CancelScope(shield=True):
            for role in roles:
                await role.stop(2.0)


def _said(log: Path) -> dict[str, Any]:
    """The line of JSON among a server's own. Raises ProbeError where there is none."""
    for line in reversed(log.read_text(encoding="utf-8").splitlines()):
        if line.startswith('{"gil"'):
            found: dict[str, Any] = json.loads(line)
            return found
    raise ProbeError(f"{log.name}: expected a line of JSON, found none; see it in the run's folder")


def _variables(layout: Layout, folder: RunFolder) -> dict[str, str]:
    gil = {"PYTHON_GIL": "1"} if layout.gil else {}
    nowhere = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder.path / "no-bytecode")}
    return gil | (nowhere if layout.compiles else {})


def _argv(
    sharing: Sharing, host: SharingHost, launch: Launch, layout: Layout, cpus: Sequence[int], begin_s: float
) -> list[str]:
    program = [str(launch.python), "-m", "experiment.bench.side_by_side"]
    if not layout.gil:
        program[1:1] = ["-W", GIL_TURNED_ON]
    options = ["--host", host.program, "--sessions", str(host.sessions), "--cpus", ",".join(map(str, cpus))]
    options += ["--loop", host.loop, "--transport", host.transport]
    return [*program, *options, *layout.options, "--begin-s", f"{begin_s:.3f}", "--window-s", f"{sharing.window_s:g}"]


def _sum(processes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all loops together: CPU and session-seconds, and what they waited for."""
    loops = [loop for process in processes for loop in process["loops"]]
    seconds = sum(loop["session_seconds"] for loop in loops)
    if not seconds:
        return {"failed": "no session-second was served"}
    found: dict[str, Any] = {
        "failed": None,
        "gil": processes[0]["gil"],
        "wall_s": round(processes[0]["wall_s"], 4),
        "session_seconds": seconds,
        "us_per_session_second": sum(loop["cpu_us"] for loop in loops) / seconds,
        "collections_us_per_session_second": sum(each["collections_s"] for each in processes) * 1e6 / seconds,
    }
    for name in ("waits", "preempted", "run_wait_us"):
        found[f"{name}_per_session_second"] = sum(loop[name] for loop in loops) / seconds
    if "shared" in processes[0]:
        found["shared"] = processes[0]["shared"]
    if "traced" in processes[0]:
        found["traced"] = _traced([process["traced"] for process in processes])
    found["busy"] = sum(loop["cpu_us"] for loop in loops) / 1e6 / len(loops) / processes[0]["wall_s"]
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def _traced(processes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Waits of all processes together, by kind and place; those of the longest time first."""
    refused = next((each["refused"] for each in processes if each["refused"]), None)
    places: dict[tuple[str, str], dict[str, Any]] = {}
    for wait in (wait for process in processes for wait in process["waits"]):
        known = places.setdefault((wait["kind"], wait["where"]), {**wait, "times": 0, "us": 0.0, "longest_us": 0.0})
        known["times"] += wait["times"]
        known["us"] = round(known["us"] + wait["us"], 1)
        known["longest_us"] = max(known["longest_us"], wait["longest_us"])
    return {
        "refused": refused,
        "sees_stops": all(each["sees_stops"] for each in processes),
        "session_seconds": sum(each["session_seconds"] for each in processes),
        "waits": sorted(places.values(), key=lambda wait: -wait["us"]),
    }


def _says(turn: Mapping[str, Any]) -> str:
    if turn["failed"]:
        return f"failed: {turn['failed']}"
    return f"{turn['us_per_session_second']:.1f} µs per session-second, loops {turn['busy']:.0%} busy"
