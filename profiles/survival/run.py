"""`make faults`: a point of each row under load, and in its measured window one scenario after the other.

A scenario is rules of the conformance suite, run by the suite itself as a process beside the load: it plays the hostile
clients, scripts the inference server, and says whether the gateway kept the rules. The load says what the others saw.
"""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from experiment.ask import Ask, Config, ConfigError, Faults, Plan, resolve_one
from experiment.host import Role, Run, ShapeRefused, clean_leftovers, role_environment
from experiment.run import HARNESS_PYTHON, LOOPBACK, Display, ProbeError, on_harness_cpus, prepare, run_point
from experiment.setup import CHECKOUT, SetupError, write_json
from experiment.store import RunFolder
from profiles.points import answers, readings
from profiles.runs import begun, refusal
from profiles.survival.effects import SETTLE_S, effect, said

EVIDENCE = "survival.json"
"""What `make faults` writes in its run's folder."""
SCENARIO_S = 16.0
"""More than a scenario takes with the pause before it; one for which the measured window is too short is left out."""
APART_S = SETTLE_S
"""Before each: what the one before did has been seen."""


def faults_of(config: Config, rows: list[str] | None) -> Faults:
    """The table, of these rows alone where some are given. Raises ConfigError where experiments.toml has none, or a row
    cannot be looked into."""
    if config.faults is None:
        raise ConfigError("experiments.toml: table [faults] is missing")
    for name in rows or config.faults.rows:
        if not hasattr(config.variant(name), "module"):
            raise ConfigError(f"VARIANTS: expected rows of ours, got {name}")
    return config.faults if rows is None else config.faults.model_copy(update={"rows": rows})


def _plan(config: Config, faults: Faults, row: str) -> Plan:
    ask = Ask("faults", (row,), (faults.shape,), faults.timing, (faults.sessions,), harness="shared", receive="sender")
    plan = resolve_one(config, ask)
    measure_s = APART_S + SCENARIO_S * len(faults.scenarios)
    return replace(plan, timing=plan.timing.model_copy(update={"measure_s": measure_s}), scripted=True)


def announce(config: Config, faults: Faults) -> str:
    """How many points of how many scenarios, and how long that takes."""
    each_s = _plan(config, faults, faults.rows[0]).point_s
    return (
        f"{len(faults.rows)} rows × {len(faults.scenarios)} scenarios: about {len(faults.rows) * each_s / 60:.0f} min"
    )


async def run_faults(config: Config, faults: Faults, results: Path, display: Display) -> RunFolder:
    """Run every row. One that cannot run is kept with the reason; the others go on."""
    display.note(announce(config, faults))
    started = datetime.now().astimezone()
    clean_leftovers(results)
    folder = RunFolder.create(results, "faults", started)
    async with Run(results) as run:
        for note in run.environment.notes():
            display.note(note)
        evidence: dict[str, Any] = {**begun(run, started), "settings": faults.model_dump(), "rows": {}}
        for row in faults.rows:
            evidence["rows"][row] = await _row(run, config, faults, row, folder, display)
            write_json(folder.path / EVIDENCE, evidence)
        evidence["finished"] = True
        write_json(folder.path / EVIDENCE, evidence)
    return folder


async def _row(
    run: Run, config: Config, faults: Faults, row: str, folder: RunFolder, display: Display
) -> dict[str, Any]:
    try:
        plan = _plan(config, faults, row)
        assert plan.variant is not None
        launch, interpreter = await anyio.to_thread.run_sync(prepare, plan, display.note)
        place = folder.point(row, faults.sessions)
        inflict = _Inflict(faults, plan)
        with on_harness_cpus(plan), display.stage(f"{row}, {faults.sessions} sessions", plan.point_s) as stage:
            point = await run_point(run, plan, launch, faults.sessions, place, stage, inflict)
    except (ProbeError, SetupError, ConfigError, ShapeRefused) as error:
        return {"refused": refusal(row, error, display)}
    came, memory = list(answers(place.samples)), readings(place.resources, "rss_bytes")
    scenarios = {
        name: {**one, **effect(one["began_s"], one["ended_s"], came, memory)} for name, one in inflict.done.items()
    }
    for name, one in scenarios.items():
        display.note(f"{row}, {name}: {'kept' if one['kept'] else 'BROKEN'}; the others: {said(one)}")
    load = point["load"] or {}
    return {
        "refused": None,
        "interpreter": interpreter,
        **{key: point[key] for key in ("status", "reasons", "notes", "gateway")},
        **{key: load.get(key) for key in ("frames", "failures", "failures_total", "errors")},
        "scenarios": scenarios,
    }


class _Inflict:
    """The observer of one point: in the measured window it runs the suite, scenario by scenario."""

    def __init__(self, faults: Faults, plan: Plan) -> None:
        self._faults, self._plan = faults, plan
        self.done: dict[str, dict[str, Any]] = {}
        """By scenario: when it began and ended (s of the load's clock), whether every rule was kept, what was said."""

    async def __call__(self, phase: str, roles: Mapping[str, Role]) -> None:
        if phase != "measure":
            return
        timing = self._plan.timing
        # The load's clock, from the moment that it is told here, some ms after the phase began.
        zero_s = time.monotonic() - (timing.total_s - timing.measure_s)
        for name, rules in self._faults.scenarios.items():
            await anyio.sleep(APART_S)
            began_s = time.monotonic() - zero_s
            status, words = await anyio.to_thread.run_sync(self._run_suite, roles, rules)
            ended_s = time.monotonic() - zero_s
            if ended_s > timing.total_s:
                return  # its end had no load
            self.done[name] = {"began_s": began_s, "ended_s": ended_s, "kept": status == 0, "said": words}

    def _run_suite(self, roles: Mapping[str, Role], rules: list[str]) -> tuple[int, list[str]]:
        """Its status, and what it said of each rule."""
        gateway, simulator = roles["gateway"], roles["simulator"]
        command = [str(HARNESS_PYTHON), "-m", "tests.conformance", "--only", ",".join(rules)]
        command += ["--target", f"ws://{LOOPBACK}:{_port(gateway)}", "--pid", str(gateway.pid)]
        command += ["--infer-port", str(_port(simulator)), "--infer-pid", str(simulator.pid)]
        ran = subprocess.run(
            command, cwd=CHECKOUT, env=role_environment().variables, capture_output=True, text=True, check=False
        )
        lines = [" ".join(line.split()) for line in ran.stdout.splitlines() if line[:4] in ("PASS", "FAIL", "SKIP")]
        return ran.returncode, lines or [ran.stderr.strip() or "no word"]


def _port(role: Role) -> int:
    return int(role.argv[role.argv.index("--port") + 1])
