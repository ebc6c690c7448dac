"""`make collector`: sets of points in turn, each looked on from outside: its collections, its threads, its answers.

results/<date>-collector/collector.json is written again after every point; `page` says what it means.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from experiment.ask import BEFORE_AND_AFTER_S, Ask, Collector, Config, ConfigError, Plan, resolve_one
from experiment.host import (
    Command,
    Limits,
    Role,
    Run,
    ShapeRefused,
    ThreadTimes,
    clean_leftovers,
    thread_times,
    times_between,
    usable_cpus,
)
from experiment.run import (
    Display,
    Launch,
    ProbeError,
    on_harness_cpus,
    prepare,
    run_point,
)
from experiment.setup import SetupError, write_json
from experiment.store import RunFolder
from loadgen.percentiles import nearest_rank
from profiles.collector.chain import Cell
from profiles.collector.evidence import EVIDENCE
from profiles.collector.slices import CannotSetSlice, set_slice
from profiles.points import answers
from profiles.profilers.collector import Collector as Collections
from profiles.profilers.kinds import Profiler, PySpy, Remote, Target
from profiles.runs import begun, refusal
from profiles.session import pictures

THREADS_KEPT = 8
"""Of each point, the busiest."""
FRAMES_KEPT = 5
"""Of each flame graph, the hottest."""
STACKS = ("stacks", "py-spy")
"""Looks that leave flame graphs."""
REPRODUCER = Path(__file__).parent / "reproducer" / "held_by_its_maker.py"
REPRODUCER_SET = "reproducer"
REPRODUCER_S = 50.0
"""About what it takes on one interpreter; at most ten times that."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One point: where it stands, and how."""

    set: str
    row: str
    python: str | None
    """What it runs on, instead of its own interpreter."""
    again: int
    """0, or so many of the same row stand before it in its set."""
    round: int
    sessions: int
    shape: str
    slice_ms: float | None
    look: str

    @property
    def title(self) -> str:
        """For a person."""
        how = "" if self.slice_ms is None else f", slices of {self.slice_ms:g} ms"
        again = " again" if self.again else ""
        on = "" if self.python is None else f" on {self.python}"
        return f"{self.set}, round {self.round}: {self.row}{on}{again}, {self.sessions} sessions{how}"


def collector_of(config: Config) -> Collector:
    """Its table. Raises ConfigError where experiments.toml has none."""
    if config.collector is None:
        raise ConfigError("experiments.toml: table [collector] is missing")
    return config.collector


def chosen(config: Config, sets: Sequence[str], pythons: Sequence[str] = ()) -> Config:
    """The configuration with these of the collector's sets alone, on these interpreters; "reproducer" is one of them.
    Raises ConfigError."""
    collector = collector_of(config)
    known = [REPRODUCER_SET, *collector.sets]
    if wrong := [name for name in sets if name not in known]:
        raise ConfigError(f"sets: expected some of {', '.join(known)}; got {', '.join(wrong)}")
    on = {"pythons": list(pythons)} if pythons else {}
    narrowed = {"sets": {name: one.model_copy(update=on) for name, one in collector.sets.items() if name in sets}}
    update = {**narrowed, "reproducer": REPRODUCER_SET in sets}
    return config.model_copy(update={"collector": collector.model_copy(update=update)})


def points(collector: Collector) -> Iterator[Wanted]:
    """All of them in order: set by set; within a set round by round; within a round all rows in turn at each load."""
    for name, one in collector.sets.items():
        for number in range(1, one.rounds + 1):
            for sessions in one.sessions:
                for slice_ms in (*one.slices_ms,) or (None,):
                    for place, row in enumerate(one.rows):
                        again = one.rows[:place].count(row)
                        shape = one.shape or collector.shape
                        for python in one.pythons or (None,):
                            yield Wanted(name, row, python, again, number, sessions, shape, slice_ms, one.look)


def announce(config: Config) -> str:
    """How many points each set has, and how long that takes."""
    collector = collector_of(config)
    every = list(points(collector))
    each_s = config.timing(collector.timing).total_s + BEFORE_AND_AFTER_S
    total_s = len(every) * each_s + ((2 + len(collector.pythons)) * REPRODUCER_S if collector.reproducer else 0)
    of_sets = ", ".join(f"{name} {sum(one.set == name for one in every)}" for name in collector.sets)
    parts = ["the reproducer"] if collector.reproducer else []
    parts += [f"{len(every)} points of {each_s:.0f} s ({of_sets})"] if every else []
    return f"{', and '.join(parts)}: about {total_s / 60:.0f} min"


async def run_collector(config: Config, results: Path, display: Display) -> RunFolder:
    """Run all points. One that cannot run is kept with the reason; the others go on."""
    collector = collector_of(config)
    display.note(announce(config))
    started = datetime.now().astimezone()
    clean_leftovers(results)
    every = list(points(collector))
    launches: dict[tuple[str, str | None], Launch] = {}
    labels: dict[tuple[str, str | None], str] = {}
    rows: dict[str, dict[str, Any]] = {}
    for wanted in every:
        build = (wanted.row, wanted.python)
        if build in labels:
            continue
        labels[build] = wanted.row
        kept: dict[str, Any] = {"variant": None, "interpreter": None, "refused": None}
        try:
            plan = _plan(config, wanted)
            labels[build] = plan.name
            launch, kept["interpreter"] = await anyio.to_thread.run_sync(prepare, plan, display.note)
        except (SetupError, ConfigError) as error:
            kept["refused"] = refusal(labels[build], error, display)
        else:
            launches[build] = launch
            kept["variant"] = launch.row.model_dump(exclude_none=True)
        rows[labels[build]] = kept
    folder = RunFolder.create(results, "collector", started)
    async with Run(results) as run:
        for note in run.environment.notes():
            display.note(note)
        evidence: dict[str, Any] = {
            **begun(run, started),
            "settings": collector.model_dump(),
            "measure_s": config.timing(collector.timing).measure_s,
            "rows": rows,
            "reproduced": [],
            "points": [],
        }
        write_json(folder.path / EVIDENCE, evidence)
        for python in _pythons(collector, launches, display) if collector.reproducer else ():
            evidence["reproduced"].append(await _reproduce(run, python, folder, display))
            write_json(folder.path / EVIDENCE, evidence)
        for number, wanted in enumerate(every):
            build = (wanted.row, wanted.python)
            if build not in launches:
                continue
            left_s = (len(every) - number) * _plan(config, wanted).point_s
            title = f"{wanted.title} (about {left_s / 60:.0f} min left)"
            found = await _point(run, config, wanted, launches[build], folder, display, title)
            evidence["points"].append({**found, "row": labels[build]})
            write_json(folder.path / EVIDENCE, evidence)
        evidence["finished"] = True
        write_json(folder.path / EVIDENCE, evidence)
    return folder


def _pythons(collector: Collector, launches: Mapping[Any, Launch], display: Display) -> list[Path]:
    """Each interpreter once: those of the rows, and those that are on PATH of the others."""
    found = {launch.tag: launch.python for launch in launches.values() if launch.python is not None}
    every = [found[tag] for tag in sorted(found, key=str)]
    for command in collector.pythons:
        if (path := shutil.which(command)) is None:
            display.note(f"the reproducer does not run on {command}: it is not on PATH")
        else:
            every.append(Path(path))
    return every


async def _reproduce(run: Run, python: Path, folder: RunFolder, display: Display) -> dict[str, Any]:
    """Run the reproducer on one interpreter: its lines. Raises ProbeError where it fails."""
    log = folder.path / "reproducer.log"
    log.unlink(missing_ok=True)
    command = Command([str(python), REPRODUCER.name], cwd=REPRODUCER.parent, log=log)
    with display.stage(f"reproducer on {python.name}", REPRODUCER_S) as stage, anyio.move_on_after(10 * REPRODUCER_S):
        role = run.start(command, run.group("reproducer", Limits(usable_cpus())))
        try:
            stage.update("running")
            ended = await role.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await role.stop(2.0)
        if ended.status == 0:
            first, *makers = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
            held = ", ".join(f"{one['maker']} {one['collected_per_1000_messages']:.0f}" for one in makers)
            display.note(f"reproducer on {first['python']}{'' if first['gil'] else 't'}: of 1000 answers left: {held}")
            return {**first, "makers": makers}
    raise ProbeError(f"the reproducer did not end on {python.name}; see {log.name}")


def _plan(config: Config, wanted: Wanted) -> Plan:
    timing = collector_of(config).timing
    return resolve_one(
        config,
        Ask(
            "collector",
            (wanted.row,),
            (wanted.shape,),
            timing,
            (wanted.sessions,),
            harness="shared",
            receive="sender",
            pythons=None if wanted.python is None else (wanted.python,),
        ),
    )


_PROFILERS: dict[str, Callable[[], Profiler]] = {
    "collections": lambda: Collections(census=False),
    "census": Collections,
    "stacks": Remote,
    "py-spy": PySpy,
}


class _Look:
    """The observer of one point: gives threads their slice, and watches them and the collector in the window."""

    def __init__(self, wanted: Wanted, launch: Launch, folder: Path) -> None:
        self._wanted, self._launch, self._folder = wanted, launch, folder
        self._profiler = _PROFILERS[wanted.look]()
        self.facts: dict[str, Any] | None = None
        self.threads: list[dict[str, Any]] = []
        self.measure_s: float | None = None
        """When the measured window began, by the machine's monotonic clock."""
        self._first: dict[str, ThreadTimes] = {}
        self.unsliced: str | None = None
        """Why its threads have not the slice that was asked for; None where they have."""
        self._started = anyio.Event()

    async def __call__(self, phase: str, roles: Mapping[str, Role]) -> None:
        gateway = roles["gateway"]
        pids = tuple(gateway.group.pids())
        if phase == "warmup" and self._wanted.slice_ms is not None:
            try:
                set_slice(pids, self._wanted.slice_ms)
            except CannotSetSlice as error:
                self.unsliced = str(error)
        elif phase == "measure":
            assert self._launch.python is not None
            self.measure_s = time.monotonic()
            tag = self._launch.tag or ""
            target = Target(gateway.pid, pids, self._launch.python, tag.endswith("t"), gateway.group.usage)
            self._first = thread_times(pids)
            await self._profiler.start(target, self._folder)
            self._started.set()
        elif phase == "drain" and self._started.is_set():
            self.threads = times_between(self._first, thread_times(pids))[:THREADS_KEPT]
            self.facts = await self._profiler.stop()


async def _point(
    run: Run, config: Config, wanted: Wanted, launch: Launch, folder: RunFolder, display: Display, title: str
) -> dict[str, Any]:
    about = {key: value for key, value in asdict(wanted).items() if key != "python"}
    try:
        plan = _plan(config, wanted)
        place = folder.point(f"{wanted.set}-{plan.name}", wanted.sessions)
        look = _Look(wanted, launch, place.path)
        with on_harness_cpus(plan), display.stage(title, plan.point_s) as stage:
            point = await run_point(run, plan, launch, wanted.sessions, place, stage, look)
        if look.unsliced is not None:
            raise ProbeError(look.unsliced)
    except (ProbeError, ShapeRefused) as error:
        return {**about, "refused": refusal(wanted.title, error, display)}
    hottest = {}
    if wanted.look in STACKS:
        name = f"{wanted.row} · {wanted.shape} · {wanted.sessions} sessions · {wanted.look}"
        hottest = pictures(place.path, name, "samples", launch)
    load, window = point["load"] or {}, point["window"].get("gateway", {})
    collections = _collections(look, plan)
    found = {
        **about,
        "refused": None,
        "folder": place.path.name,
        "shared": plan.cpus is not None and plan.cpus.shared,
        **{key: point[key] for key in ("status", "reasons", "notes", "gateway", "steal_share")},
        **{key: load.get(key) for key in ("newest_ms", "oldest_ms", "partials", "failures_total")},
        "run_wait_us_per_session_second": _per_session_second(window, "run_wait_ns", wanted.sessions, 1e-3),
        "switches_per_session_second": _per_session_second(window, "voluntary_switches", wanted.sessions),
        "preempted_per_session_second": _per_session_second(window, "involuntary_switches", wanted.sessions),
        "threads": look.threads,
        "processes": [
            {key: value for key, value in process.items() if key != "collections"}
            for process in (look.facts or {}).get("processes", [])
            if "collections" in process
        ],
        "collections": collections,
        "answers": _answers(place.samples, collections),
        "hottest": {name: frames[:FRAMES_KEPT] for name, frames in hottest.items()},
    }
    display.note(f"{wanted.title}: {_says(found)}")
    return found


def _per_session_second(window: Mapping[str, Any], key: str, sessions: int, factor: float = 1.0) -> float | None:
    value = window.get(key)
    return None if value is None else value * factor / sessions / window["wall_s"]


def _collections(look: _Look, plan: Plan) -> list[list[float]]:
    """Of all processes: when each collection began and how long it took, in seconds of the load's clock (as the samples
    have it), and what it freed. `measure_s` is taken when the runner hears of the phase, some ms after it began."""
    began_s = plan.timing.total_s - plan.timing.measure_s
    found = []
    for process in (look.facts or {}).get("processes", []):
        assert look.measure_s is not None
        for one in process.get("collections", []):
            at_s = began_s + process["began_s"] + one["at_s"] - look.measure_s
            found.append([round(at_s, 4), round(one["ms"] / 1000, 5), one["collected"]])
    return sorted(found)


def _answers(samples: Path, collections: Sequence[Sequence[float]]) -> dict[str, Any] | None:
    """The newest frames' latencies of the window, of answers that a collection stood in the way of (it ran while they
    were due) and of the others: how many, and p50 and p95 in ms. None without samples."""
    met: list[float] = []
    free: list[float] = []
    for answer in answers(samples):
        if answer.in_window and not answer.is_error:
            due_s = answer.arrival_s - answer.newest_ms / 1000
            meets = any(at_s < answer.arrival_s and at_s + took_s > due_s for at_s, took_s, _ in collections)
            (met if meets else free).append(answer.newest_ms)
    if not met and not free:
        return None
    return {"met": _described(met), "free": _described(free)}


def _described(values: Sequence[float]) -> dict[str, float | int | None]:
    p50_ms, p95_ms = (round(nearest_rank(values, percent), 1) if values else None for percent in (50, 95))
    return {"count": len(values), "p50_ms": p50_ms, "p95_ms": p95_ms}


def _says(found: Mapping[str, Any]) -> str:
    newest, cost = found["newest_ms"] or {}, (found["gateway"] or {}).get("us_per_session_second")
    words = f"{found['status']}, newest p50/p95 {newest.get('p50')}/{newest.get('p95')} ms"
    words += "" if cost is None else f", {cost:.0f} µs per session-second"
    cell = Cell((found,))
    pause, freed = cell.pause_ms_per_s, cell.freed
    if pause is not None and freed is not None:
        words += f", {pause.text(0)} ms of collections a second, {freed.text(0)} objects freed a session-second"
    return words + "".join(f"; {note}" for note in found["notes"])
