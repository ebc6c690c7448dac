"""Runs the black-box suite against a row's gateway. What the rules are is `tests.conformance`'s business."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread

from experiment.ask import Foreign, Plan
from experiment.host import Run, clean_leftovers
from experiment.run.campaign import CONFORMANCE_S
from experiment.run.launch import Launch, prepare
from experiment.run.progress import Display
from experiment.run.stand import Stand
from experiment.run.surroundings import Surroundings
from experiment.setup import read_json
from experiment.store import RunFolder
from simulator.port import free_port


class NotConforming(RuntimeError):
    """The gateway breaks the wire contract, so that nothing it does is a result; the text names the rules."""


async def run_conformance(
    plan: Plan, results: Path, display: Display, say: Callable[[str], None], keep_env: Sequence[str] = ()
) -> dict[str, Any]:
    """Only the conformance suite; its lines go to `say`. Returns its report (`tests.conformance`, `--json`)."""
    for note in clean_leftovers(results):
        display.note(note)
    launch = None if plan.variant is None else (await anyio.to_thread.run_sync(prepare, plan, display.note))[0]
    async with Run(results, keep_env=keep_env) as run:
        for note in run.environment.notes():
            display.note(note)
        folder = RunFolder.create(results, f"conformance-{plan.name}", datetime.now().astimezone())
        with on_harness_cpus(plan):
            return await suite(run, plan, launch, folder.path, display, say)


async def conform(run: Run, plan: Plan, launch: Launch | None, folder: Path, display: Display) -> str:
    """The label of a row that may be measured. Raises NotConforming."""
    result = await suite(run, plan, launch, folder, display, lambda _: None)
    counts = f"{result['passed']} rules passed, {result['failed']} failed, {result['skipped']} skipped"
    display.note(f"{plan.name}: {result['label']} ({counts})")
    row = plan.variant
    foreign = isinstance(row, Foreign) or plan.target is not None
    return admit(plan.name, result, foreign=foreign, breaks=[] if row is None else row.breaks)


def admit(name: str, report: dict[str, Any], foreign: bool, breaks: Sequence[str] = ()) -> str:
    """The label that a conformance report earns. Raises NotConforming where the row may not be measured.

    Rows of ours pass every rule but those that their table says their server library breaks. A foreign one may fail
    strict rules ("conforms (public)"), and those that its table says it breaks. The label names what was broken.
    """
    failed = [rule for rule in report["rules"] if rule["outcome"] == "FAIL"]
    broken = [rule["id"] for rule in failed if not (foreign and rule["strict"])]
    if broken and not set(broken) - set(breaks):
        return f"does not conform: breaks {', '.join(broken)}"
    if report["label"] == "does not conform" or (failed and not foreign):
        rules = "; ".join(f"{rule['id']}: {rule['reason']}" for rule in failed) or "every rule was skipped"
        rules += "".join(f" — but {fault}" for fault in report.get("throttled", ()))
        raise NotConforming(f"{name} breaks the wire contract, so it gives no result: {rules}")
    return str(report["label"])


def unthrottled(plan: Plan) -> Plan:
    """The plan with a whole vCPU in place of a fraction: what a gateway does is no question of its speed."""
    if plan.shape is None or plan.shape.vcpus >= 1:
        return plan
    return replace(plan, shape=plan.shape.model_copy(update={"vcpus": 1.0}))


async def suite(
    run: Run, plan: Plan, launch: Launch | None, folder: Path, display: Display, say: Callable[[str], None]
) -> dict[str, Any]:
    """Start what the suite needs, run it, and return its report, which also lies in the folder;
    `throttled` is added: a sentence for each quota that is not the run's and held the suite up."""
    plan = unthrottled(plan)
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    report = folder / "conformance.json"
    with display.stage(f"{plan.name} conformance", CONFORMANCE_S) as stage:
        async with Stand(run, plan, launch, logs) as stand:
            role = None
            infer_port = plan.infer_port
            if plan.target is None:
                infer_port = free_port()
                stage.update("starting")
                role, address = await stand.gateway(infer_port)
            else:
                address = plan.target
            surroundings = Surroundings(run.host.quotas, ())
            surroundings.mark("ramp")
            rules = stand.conformance(address, infer_port, role, report)
            async for line in rules.lines():
                say(line)
                stage.update("rules")
            exit_ = await rules.wait()
            surroundings.mark("verify")
    result = read_json(report)
    if result is None:
        raise RuntimeError(f"the conformance suite wrote no report; {exit_}")
    return result | {"throttled": surroundings.faults()}


@contextmanager
def on_harness_cpus(plan: Plan) -> Iterator[None]:
    """Keep the runner itself off the gateway's cores while it lasts."""
    before = os.sched_getaffinity(0)
    try:
        if plan.cpus is not None:
            os.sched_setaffinity(0, plan.cpus.harness)
        yield
    finally:
        os.sched_setaffinity(0, before)
