"""`make bench`: what each part costs alone: core, and draining loop beside the kernel's floor, on both builds; load
generator, simulator. What a row's rhythm costs its clients, and how many sessions the harness carries. It stores;
`experiment.report` shows."""

import json
import subprocess
from contextlib import ExitStack, closing, nullcontext
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import anyio

from experiment.ask import ConfigError
from experiment.bench.before import measure_before
from experiment.bench.carried import measure_carried
from experiment.bench.instructions import count_instructions
from experiment.bench.reactions import measure_reactions
from experiment.host import Network, ShapeRefused, core_speed, raise_descriptor_limit, role_environment, usable_cpus
from experiment.run import HARNESS_PYTHON, Display
from experiment.setup import CHECKOUT, OWN_SERIES, Environment, SetupError, ensure, write_json

PARTS = ("core", "draining", "reactions", "harness", "loadgen", "simulator")
DRAINING_SESSIONS = (100, 1000)
DRAINING_SECONDS = 5
DRAINING_TURNS = 2
REACTION_ROWS = ("gil-h1", "drain", "drain-250")


def run_benchmarks(only: tuple[str, ...], display: Display) -> Path:
    """Run the parts asked for (all of them for an empty tuple), one after another; their figures' folder.

    Raises:
        ConfigError: a part that is not known.
    """
    if unknown := sorted(set(only) - set(PARTS)):
        raise ConfigError(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(PARTS)}")
    chosen = [part for part in PARTS if part in only or not only]
    folder = _made()
    raise_descriptor_limit()  # its programs inherit it
    for note in role_environment().notes():
        display.note(note)
    if "core" in chosen:
        _core(folder, display)
    if "draining" in chosen:
        _draining(folder, display)
    if "reactions" in chosen:
        _reactions(folder, display)
    if "harness" in chosen:
        write_json(folder / "harness.json", anyio.run(measure_carried, folder.parent, display))
    for part in ("loadgen", "simulator"):
        if part in chosen:
            _run([str(HARNESS_PYTHON), "-m", f"{part}.bench"])
    return folder


def run_instructions(display: Display) -> Path:
    """Count instructions; the folder of the figures. Raises as `count_instructions` does."""
    counted = count_instructions(_environments("draining", display), display)
    folder = _made()
    write_json(folder / "instructions.json", {"date": f"{datetime.now():%Y-%m-%d}", "counted": counted})
    return folder


def run_before(revision: str, display: Display) -> Path:
    """The draining loop of that commit beside this one's; the folder of the figures. Raises as `measure_before`."""
    raise_descriptor_limit()
    found = measure_before(revision, _environments("draining", display), display)
    folder = _made()
    write_json(folder / "before.json", found)
    return folder


def _made() -> Path:
    folder = Path("results") / f"bench-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    return folder


def _core(folder: Path, display: Display) -> None:
    for environment in _environments("core", display):
        tag = environment.interpreter.tag
        display.note(f"session core on CPython {tag}, about 40 s")
        file = folder / f"core-{tag}.json"
        pinned = f"--affinity={max(usable_cpus())}"
        command = [str(environment.python), "-m", "experiment.bench.core", "-q", pinned, "-o", str(file.resolve())]
        _run(command, stdout=subprocess.DEVNULL)


def _draining(folder: Path, display: Display) -> None:
    """The draining loop and the kernel's floor at two sizes, in turn on each build; at the larger by phase, too, and
    where its own core does the work of receiving."""
    found: list[dict[str, Any]] = []
    pauses: dict[str, Any] = {}
    environments = _environments("draining", display)
    most = max(DRAINING_SESSIONS)
    runs = [(sessions, "sender", False) for sessions in DRAINING_SESSIONS] + [(most, "sender", True)]
    with ExitStack() as stack:
        try:
            network = stack.enter_context(closing(Network({max(usable_cpus())})))  # where the loop is pinned
            runs.append((most, "gateway", False))
        except ShapeRefused as error:
            display.note(f"receive = gateway is left out: {error}")
        seconds = len(environments) * DRAINING_TURNS * len(runs) * 2 * (DRAINING_SECONDS + 5)
        display.note(f"the draining loop beside the kernel's floor, about {seconds / 60:.0f} min")
        for turn, environment in product(range(DRAINING_TURNS), environments):
            tag = environment.interpreter.tag
            pauses[tag] = core_speed(environment.python, max(usable_cpus()))
            for (sessions, receive, metered), program in product(runs, ("floor", "draining")):
                options = ["--sessions", str(sessions), "--seconds", str(DRAINING_SECONDS)]
                options += ["--metered"] if metered else []
                facts = {"tag": tag, "program": program, "turn": turn, "metered": metered, "receive": receive}
                with network.entered() if receive == "gateway" else nullcontext():
                    found.append({**facts, **_printed(environment, program, *options)})
            display.note(f"turn {turn + 1} of {DRAINING_TURNS} on CPython {tag} done")
    write_json(folder / "draining.json", {"loops": found, "pauses": pauses})


def _printed(environment: Environment, program: str, *options: str) -> dict[str, Any]:
    """What one of `experiment.bench` prints."""
    command = [str(environment.python), "-m", f"experiment.bench.{program}", *options]
    printed: dict[str, Any] = json.loads(_run(command, stdout=subprocess.PIPE).stdout)
    return printed


def _run(command: list[str], stdout: int | None = None) -> "subprocess.CompletedProcess[str]":
    """With the environment of every process that measures."""
    environment = role_environment().variables
    return subprocess.run(command, cwd=CHECKOUT, check=True, stdout=stdout, text=True, env=environment)


def _reactions(folder: Path, display: Display) -> None:
    """How soon rows react to what is no audio, and the memory of a session."""
    found = {}
    for row in REACTION_ROWS:
        display.note(f"reactions of {row}, about 15 s")
        found[row] = anyio.run(measure_reactions, row, folder, display.note)
    write_json(folder / "reactions.json", found)


def _environments(part: str, display: Display) -> list[Environment]:
    """The builds that are to be had."""
    found = []
    for build in OWN_SERIES:
        try:
            environment = "bench" if part == "core" else "drain"
            found.append(ensure(environment, build, allow_stand_in=True, report=display.note))
        except SetupError as error:
            display.note(f"the {part} on {build} is left out: {error}")
    return found
