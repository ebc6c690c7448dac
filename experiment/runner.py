"""One experiment from a plan to a stored run: clean up, conform, climb the ladder, store. What to say is the command
line's business, how to judge `experiment.verdict`'s, where to go next `experiment.ladder`'s."""

import os
import resource
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from experiment.host import Run, clean_leftovers, facts
from experiment.ladder import Bracket, Tried, bracket, next_sessions
from experiment.launch import Launch, prepare
from experiment.manifest import make_manifest, packages
from experiment.plan import Plan
from experiment.point import point_seconds, run_point
from experiment.progress import Display
from experiment.setup import describe
from experiment.stand import HARNESS_PYTHON, LOOPBACK, Stand, free_port
from experiment.store import RunFolder, read_json
from experiment.tables import Foreign

CONFORMANCE_S = 25.0


class NotConforming(RuntimeError):
    """The gateway breaks the wire contract, so that nothing it does is a result; the text names the rules."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What came of a run."""

    folder: RunFolder
    points: tuple[dict[str, Any], ...]
    """The points' summaries, in the order they ran."""
    bracket: Bracket
    interpreter: str | None
    """What the gateway ran on, as found: never what was asked for. None for an external gateway."""

    @property
    def all_invalid(self) -> bool:
        """Whether the harness spoilt every point."""
        return all(point["status"] == "INVALID" for point in self.points)


async def run_experiment(plan: Plan, display: Display) -> Experiment:
    """Run the plan's points and store everything.

    Raises:
        NotConforming: the gateway failed a rule of the contract.
        ProbeError: a role did not get healthy.
        SetupError: an interpreter or its packages cannot be had.
        ShapeRefused: the limits cannot be kept on this machine.
    """
    started = datetime.now().astimezone()
    _raise_descriptor_limit()
    notes = clean_leftovers(plan.results)
    for note in notes:
        display.note(note)
    launch, interpreters = await _environments(plan, display)
    folder = RunFolder.create(plan.results, plan.name, started)
    with _on_harness_cpus(plan):
        async with Run(plan.results) as run:
            machine = facts(run.host)
            if not run.host.writable:
                display.note(f"{run.host.explain()}: CPU affinity instead")
            manifest = make_manifest(plan, started, machine, interpreters, notes)
            folder.write_manifest(manifest)
            conformance = await _conform(run, plan, launch, folder.path, display)
            points = await _climb(run, plan, launch, folder, conformance, display)
    tried = [Tried(point["sessions"], point["status"]) for point in points]
    interpreter = interpreters["gateway"]["tag"] if "gateway" in interpreters else None
    return Experiment(folder, tuple(points), bracket(tried), interpreter)


async def run_conformance(plan: Plan, display: Display, say: Callable[[str], None]) -> dict[str, Any]:
    """Only the conformance suite; its lines go to `say`. Returns its report (`tests.conformance`, `--json`)."""
    for note in clean_leftovers(plan.results):
        display.note(note)
    launch, _ = await _environments(plan, display)
    with _on_harness_cpus(plan):
        async with Run(plan.results) as run:
            folder = RunFolder.create(plan.results, f"conformance-{plan.variant_name}", datetime.now().astimezone())
            return await _suite(run, plan, launch, folder.path, display, say)


async def _environments(plan: Plan, display: Display) -> tuple[Launch | None, dict[str, Any]]:
    """The gateway's launch, and the facts of every interpreter that takes part."""
    interpreters: dict[str, Any] = {"harness": describe(HARNESS_PYTHON) | {"packages": packages(HARNESS_PYTHON)}}
    if plan.variant is None:
        return None, interpreters
    launch, found = await anyio.to_thread.run_sync(prepare, plan.variant, display.note)
    if found is not None:
        interpreters["gateway"] = found
    return launch, interpreters


async def _suite(
    run: Run, plan: Plan, launch: Launch | None, folder: Path, display: Display, say: Callable[[str], None]
) -> dict[str, Any]:
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    report = folder / "conformance.json"
    with display.stage("conformance", CONFORMANCE_S) as stage:
        async with Stand(run, plan, launch, logs) as stand:
            role = None
            infer_port = plan.infer_port
            if plan.target is None:
                infer_port = free_port()
                stage.update("starting")
                role, address = await stand.gateway(infer_port)
            else:
                address = plan.target
            suite = stand.conformance(address, infer_port, role, report)
            async for line in suite.lines():
                say(line)
                stage.update("rules")
            exit_ = await suite.wait()
    result = read_json(report)
    if result is None:
        raise RuntimeError(f"the conformance suite wrote no report; {exit_}")
    return result


async def _conform(run: Run, plan: Plan, launch: Launch | None, folder: Path, display: Display) -> dict[str, Any]:
    result = await _suite(run, plan, launch, folder, display, lambda _: None)
    counts = f"{result['passed']} rules passed, {result['failed']} failed, {result['skipped']} skipped"
    display.note(f"conformance: {result['label']} ({counts})")
    failed = [rule for rule in result["rules"] if rule["outcome"] == "FAIL"]
    foreign = plan.target is not None or isinstance(plan.variant, Foreign)
    if result["label"] == "does not conform" or (failed and not foreign):
        rules = "; ".join(f"{rule['id']}: {rule['reason']}" for rule in failed) or "every rule was skipped"
        raise NotConforming(f"{plan.variant_name} breaks the wire contract, so it gives no result: {rules}")
    return result


async def _climb(
    run: Run,
    plan: Plan,
    launch: Launch | None,
    folder: RunFolder,
    conformance: dict[str, Any],
    display: Display,
) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    while True:
        tried = [Tried(point["sessions"], point["status"]) for point in points]
        sessions = _next(plan, tried)
        folder.write_verdict(_verdict(plan, points, tried, conformance, finished=sessions is None))
        if sessions is None:
            return points
        place = folder.point(sessions)
        with display.stage(f"{sessions} sessions", point_seconds(plan)) as stage:
            point = await run_point(run, plan, launch, sessions, place, stage)
        points.append(point)
        display.note(f"{sessions} sessions: {point['status']}{_because(point)}")


def _next(plan: Plan, tried: list[Tried]) -> int | None:
    if plan.sessions:
        return plan.sessions[len(tried)] if len(tried) < len(plan.sessions) else None
    return next_sessions(plan.ladder, tried)


def _because(point: dict[str, Any]) -> str:
    return f" — {'; '.join(point['reasons'])}" if point["reasons"] else ""


def _verdict(
    plan: Plan, points: list[dict[str, Any]], tried: list[Tried], conformance: dict[str, Any], *, finished: bool
) -> dict[str, Any]:
    known = bracket(tried)
    shared = plan.cpus is not None and plan.cpus.shared
    return {
        "finished": finished,
        "external": plan.target is not None,
        "harness_shared": shared,
        "conformance": conformance["label"],
        "bracket": None if shared else {"passed": known.passed, "failed": known.failed},
        "points": [
            {key: point[key] for key in ("sessions", "status", "reasons", "notes", "gates", "harness")}
            for point in points
        ],
    }


def _raise_descriptor_limit() -> None:
    """Every role inherits it: a session costs a descriptor on either side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _on_harness_cpus(plan: Plan) -> Any:
    """Keep the runner itself off the gateway's cores while it lasts."""
    before = os.sched_getaffinity(0)
    try:
        if plan.cpus is not None:
            os.sched_setaffinity(0, plan.cpus.harness)
        yield
    finally:
        os.sched_setaffinity(0, before)


__all__ = ["LOOPBACK", "Experiment", "NotConforming", "run_conformance", "run_experiment"]
