"""What runs of this side of the house have in common: how they and their evidence begin, and what is kept of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import anyio.to_thread

from experiment.ask import Plan
from experiment.host import Run, clean_leftovers, contents, facts
from experiment.run import (
    CONTRACT,
    HARNESS_PYTHON,
    Campaign,
    Display,
    Launch,
    as_facts,
    commit,
    findings,
    make_manifest,
    prepare,
)
from experiment.setup import describe
from experiment.store import RunFolder, identity

_INTERPRETER_KEYS = ("version", "tag", "free_threaded", "gil_enabled", "compiler", "pgo", "packages")


def begun(run: Run, started: datetime) -> dict[str, Any]:
    """The evidence of a run that begins: when, by which contract and laboratory, on what machine."""
    return {
        "started": started.isoformat(timespec="seconds"),
        "finished": False,
        "contract": CONTRACT,
        "lab": commit(),
        "machine": facts(run.host),
        "environment": run.environment.facts(),
    }


def refusal(name: str, error: Exception, display: Display) -> str:
    """The reason why something cannot run, in one line; it is shown, too."""
    reason = " ".join(str(error).split())
    display.note(f"{name} cannot run: {reason}")
    return reason


def interpreter_kept(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An interpreter's facts without what names the machine."""
    return None if found is None else {key: found.get(key) for key in _INTERPRETER_KEYS} | identity(found)


class Begun(NamedTuple):
    """A run of one row whose folder and manifest are there."""

    run: Run
    launch: Launch
    folder: RunFolder
    label: str


@asynccontextmanager
async def run_of_one_row(campaign: Campaign, plan: Plan, name: str, display: Display) -> AsyncIterator[Begun]:
    """Set up and begin a run of the campaign's one row, `plan` being how it runs; `name` is of its folder.

    Raises:
        SetupError, ShapeRefused: as in `experiment.run.runner`.
    """
    row = campaign.row
    started = datetime.now().astimezone()
    notes = clean_leftovers(campaign.results)
    assert plan.variant is not None
    launch, found = await anyio.to_thread.run_sync(prepare, plan, display.note)
    harness = describe(HARNESS_PYTHON) | contents(HARNESS_PYTHON)
    folder = RunFolder.create(campaign.results, f"{name}-{campaign.name}", started)
    async with Run(campaign.results, keep_env=campaign.keep_env) as run:
        for note in run.environment.notes():
            display.note(note)
        machine = facts(run.host)  # of all its CPUs: the runner is not yet kept off the gateway's
        hygiene = as_facts(findings(machine, [] if plan.cpus is None else [plan.cpus], plan.sessions[0]))
        rows = {row.label: (launch, found)}
        folder.write_manifest(make_manifest(campaign, started, machine, harness, rows, run.environment, hygiene, notes))
        yield Begun(run, launch, folder, row.label)
