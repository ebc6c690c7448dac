"""`make bench`: the costs of the parts, each alone: core (on both builds), load generator, simulator."""

import subprocess
from datetime import datetime
from pathlib import Path

import pyperf
from rich import box
from rich.table import Table

from experiment.config import CHECKOUT
from experiment.host import usable_cpus
from experiment.progress import Display
from experiment.setup import SetupError, ensure
from experiment.stand import HARNESS_PYTHON
from experiment.table import report_console
from experiment.tables import ConfigError

PARTS = ("core", "loadgen", "simulator")
BUILDS = ("3.14", "3.14t")


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
    for part in ("loadgen", "simulator"):
        if part in chosen:
            subprocess.run([HARNESS_PYTHON, "-m", f"{part}.bench"], cwd=CHECKOUT, check=True)
    print(f"RESULT {folder}")


def _core(folder: Path, display: Display) -> None:
    suites: dict[str, pyperf.BenchmarkSuite] = {}
    for build in BUILDS:
        try:
            environment = ensure("bench", build, allow_stand_in=True, report=display.note)
        except SetupError as error:
            display.note(f"the core on {build} is left out: {error}")
            continue
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


def _cell(benchmark: pyperf.Benchmark) -> str:
    return f"{benchmark.mean() * 1e6:.3f} ± {benchmark.stdev() * 1e6:.3f}"
