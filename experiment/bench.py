"""`make bench`: what each part costs alone: core and kernel floor (on both builds), load generator, simulator."""

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pyperf
from rich import box
from rich.table import Table

from experiment.config import CHECKOUT
from experiment.costs import Spread
from experiment.host import usable_cpus
from experiment.progress import Display
from experiment.setup import Environment, SetupError, ensure
from experiment.stand import HARNESS_PYTHON
from experiment.store import write_json
from experiment.table import lines_table, report_console
from experiment.tables import ConfigError

PARTS = ("core", "floor", "loadgen", "simulator")
BUILDS = ("3.14", "3.14t")
FLOOR_SESSIONS = (250, 1000)
FLOOR_TURNS = 3
FLOOR_KEYS = ("total_us", "user_us", "system_us")


def run_benchmarks(only: tuple[str, ...], display: Display) -> None:
    """Run the parts asked for (all of them for an empty tuple), one after another.

    Raises:
        ConfigError: a part that is not known.
    """
    if unknown := sorted(set(only) - set(PARTS)):
        raise ConfigError(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(PARTS)}")
    chosen = [part for part in PARTS if part in only or not only]
    folder = Path("results") / f"bench-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    if "core" in chosen:
        _core(folder, display)
    if "floor" in chosen:
        _floor(folder, display)
    for part in ("loadgen", "simulator"):
        if part in chosen:
            subprocess.run([HARNESS_PYTHON, "-m", f"{part}.bench"], cwd=CHECKOUT, check=True)
    print(f"RESULT {folder}")


def _core(folder: Path, display: Display) -> None:
    suites: dict[str, pyperf.BenchmarkSuite] = {}
    for environment in _environments("core", display):
        tag = environment.interpreter.tag
        display.note(f"session core on CPython {tag}, about 40 s")
        file = folder / f"core-{tag}.json"
        pinned = f"--affinity={max(usable_cpus())}"
        command = [str(environment.python), "-m", "experiment.benches.core", "-q", pinned, "-o", str(file.resolve())]
        subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
        suites[tag] = pyperf.BenchmarkSuite.load(str(file))
    table = Table(title="session core, µs (mean ± standard deviation)", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("one")
    for tag in suites:
        table.add_column(f"CPython {tag}", justify="right")
    names = next(iter(suites.values())).get_benchmark_names() if suites else []
    for name in names:
        table.add_row(name, *(_cell(suite.get_benchmark(name)) for suite in suites.values()))
    report_console().print(table)


def _floor(folder: Path, display: Display) -> None:
    """The kernel's part of a draining gateway's session-second, at two sizes, three times in turn on each build."""
    found: dict[str, list[dict[str, Any]]] = {}
    environments = _environments("floor", display)
    display.note(f"kernel floor of a draining gateway, about {len(environments) * FLOOR_TURNS * 2 * 13} s")
    for _ in range(FLOOR_TURNS):
        for environment in environments:
            for sessions in FLOOR_SESSIONS:
                command = [str(environment.python), "-m", "experiment.benches.floor", "--sessions", str(sessions)]
                done = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
                found.setdefault(environment.interpreter.tag, []).append(json.loads(done.stdout))
    write_json(folder / "floor.json", found)
    lines = [
        (f"CPython {tag}", str(sessions), *(_middle(turns, sessions, key) for key in FLOOR_KEYS))
        for tag, turns in found.items()
        for sessions in FLOOR_SESSIONS
    ]
    headings = ("interpreter", "sessions", "µs per session-s (range)", "user", "system")
    report_console().print(
        lines_table("kernel floor of a draining gateway, 250 polls a second included", headings, lines)
    )


def _environments(part: str, display: Display) -> list[Environment]:
    """The builds that are to be had."""
    found = []
    for build in BUILDS:
        try:
            found.append(ensure("bench", build, allow_stand_in=True, report=display.note))
        except SetupError as error:
            display.note(f"the {part} on {build} is left out: {error}")
    return found


def _middle(turns: list[dict[str, Any]], sessions: int, key: str) -> str:
    spread = Spread.of([turn[key] for turn in turns if turn["sessions"] == sessions])
    return "–" if spread is None else spread.text(1)


def _cell(benchmark: pyperf.Benchmark) -> str:
    return f"{benchmark.mean() * 1e6:.3f} ± {benchmark.stdev() * 1e6:.3f}"
