"""A campaign from its rows to a stored run: clean up, make ready, conform, take points in turn, store each.

How to judge is `verdict`'s business, where to go next `experiment.search`'s, what to show the command line's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from experiment.ask import ConfigError, Plan, Row
from experiment.host import Run, ShapeRefused, clean_leftovers, contents, facts
from experiment.run.campaign import Campaign
from experiment.run.conformance import NotConforming, conform, on_harness_cpus
from experiment.run.harness import HarnessCosts
from experiment.run.hygiene import as_facts, disturbances, findings
from experiment.run.launch import Launch, prepare
from experiment.run.manifest import make_manifest
from experiment.run.point import run_point
from experiment.run.probe import ProbeError
from experiment.run.progress import Display
from experiment.run.stand import HARNESS_PYTHON
from experiment.search import Move, Search, bracket, expected_rung, turn
from experiment.setup import CHECKOUT, SetupError, describe, read_json
from experiment.store import RunFolder, compared, facts_of
from experiment.terms import Tried

REFUSALS = (SetupError, ShapeRefused, ProbeError, NotConforming)
"""What ends one row and not the campaign, where that has others."""


@dataclass(slots=True)
class _Runner:
    """A row while the campaign runs."""

    row: Row
    search: Search
    refused: str | None = None
    launch: Launch | None = None
    interpreter: dict[str, Any] | None = None
    conformance: str | None = None
    probe: dict[str, Any] | None = None
    """What it saw, and the rung that the ladder begins at, or jumps to; None where there was none."""
    points: list[dict[str, Any]] = field(default_factory=list)
    costs: HarnessCosts | None = None
    """Of the harness, as its last valid point had them."""

    @property
    def plan(self) -> Plan:
        if self.row.plan is None:
            raise ValueError(f"{self.row.label} is refused and has no plan")
        return self.row.plan

    @property
    def history(self) -> list[Tried]:
        return [Tried(point["sessions"], point["status"]) for point in self.points]

    @property
    def next(self) -> tuple[Move, str]:
        """The next point and its purpose."""
        return self.search.next(self.history)

    @property
    def is_open(self) -> bool:
        """Whether it takes another point."""
        return self.refused is None and self.next[0].sessions is not None

    def begin_near(self, seen: dict[str, Any]) -> None:
        """Let the ladder begin where a probe, or the first listed point, says; a point that passes later lets it jump
        to where that says, since costs fall as a gateway fills."""
        self.probe = seen if self.probe is None else {**self.probe, "first_rung": seen["first_rung"]}
        ladder = self.search.ladder
        if ladder is not None and seen["first_rung"] is not None:
            self.search = replace(self.search, ladder=ladder.model_copy(update={"start": seen["first_rung"]}))

    def searches_near(self, start: int | None, status: str) -> bool:
        """Whether a point of that status may move the ladder's first rung: nobody named one, and it is the first point,
        or passed."""
        return self.search.ladder is not None and start is None and (self.probe is None or status == "PASS")

    def verdict(self) -> dict[str, Any]:
        """As stored."""
        plan = self.row.plan
        shared = plan is not None and plan.cpus is not None and plan.cpus.shared
        return {
            "conformance": self.conformance,
            "refused": self.refused,
            "external": plan is not None and plan.target is not None,
            "harness_shared": shared,
            "probe": self.probe,
            "bracket": None if shared or not self.points else asdict(bracket(self.history)),
            "ended": None if self.refused is not None or self.is_open else self.next[0].why,
            "points": self.points,
        }


async def run_campaign(campaign: Campaign, display: Display, resumed: Path | None = None) -> Path:
    """Run every row's points and store everything; returns the run's folder.

    A row that cannot run is stored with its reason and the others go on; where it is the only one its error is raised.

    Raises:
        NotConforming: the only row's gateway failed a rule of the contract.
        ProbeError: a role of it did not get healthy.
        SetupError: an interpreter or its packages cannot be had.
        ShapeRefused: the limits cannot be kept on this machine.
        ConfigError: `resumed` is a run of another machine, interpreter, lab or plan.
    """
    started = datetime.now().astimezone()
    notes = clean_leftovers(campaign.results)
    for note in notes:
        display.note(note)
    runners = [_Runner(row, campaign.searches[row.label], refused=row.refused) for row in campaign.rows]
    for runner in runners:
        with _refusing(runner, campaign, display):
            await _prepare(runner, display)
    async with Run(campaign.results, keep_env=campaign.keep_env) as run:
        for note in run.environment.notes():
            display.note(note)
        machine = facts(run.host)
        if not run.host.writable:
            display.note(f"{run.host.explain()}: CPU affinity instead")
        plans = [row.plan for row in campaign.rows if row.plan is not None]
        found = findings(
            machine,
            [plan.cpus for plan in plans if plan.cpus is not None],
            max((sessions for plan in plans for sessions in plan.sessions), default=None),
        )
        for disturbance in disturbances(found):
            display.note(f"may disturb: {disturbance}")
        harness = describe(HARNESS_PYTHON) | contents(HARNESS_PYTHON)
        prepared = {runner.row.label: (runner.launch, runner.interpreter) for runner in runners}
        manifest = make_manifest(campaign, started, machine, harness, prepared, run.environment, as_facts(found), notes)
        if resumed is None:
            folder = RunFolder.create(campaign.results, campaign.name, started)
            folder.write_manifest(manifest)
        else:
            folder = RunFolder(resumed)
            _take_up(folder, manifest, runners, display)
        _store(folder, runners, finished=False)
        display.note(f"run {folder.path}")
        for runner in runners:
            if runner.refused is None and runner.conformance is None:
                with _refusing(runner, campaign, display), on_harness_cpus(runner.plan):
                    place = folder.row(runner.row.label)
                    runner.conformance = await conform(run, runner.plan, runner.launch, place, display)
            _store(folder, runners, finished=False)
        for runner in runners:
            if runner.refused is None and runner.probe is None and runner.row.probe is not None and not runner.points:
                with _refusing(runner, campaign, display), on_harness_cpus(runner.plan):
                    await _probe(run, runner, runner.row.probe, folder, display)
            _store(folder, runners, finished=False)
        await _take_points(run, campaign, folder, runners, display)
        _store(folder, runners, finished=True)
    return folder.path


async def _prepare(runner: _Runner, display: Display) -> None:
    if runner.refused is None and runner.plan.variant is not None:
        found = await anyio.to_thread.run_sync(prepare, runner.plan, display.note)
        runner.launch, runner.interpreter = found


async def _probe(run: Run, runner: _Runner, plan: Plan, folder: RunFolder, display: Display) -> None:
    """A short point at a small load; it says where the ladder begins, and is no point of the run."""
    ((sessions,), label) = plan.sessions, runner.row.label
    with display.stage(f"{label} {sessions} sessions (where to begin)", plan.point_s) as stage:
        point = await run_point(run, plan, runner.launch, sessions, folder.probe(label), stage)
    runner.begin_near(seen := _seen(plan, runner, point))
    begins = f"the ladder begins at {runner.search.ladder.start if runner.search.ladder else 0}"
    if seen["first_rung"] is None:
        display.note(f"{label}: a probe of {sessions} sessions gave no cost ({seen['status']}); {begins}")
    else:
        cost_us = seen["us_per_session_second"]
        display.note(f"{label}: {sessions} sessions cost {cost_us:.0f} µs per session-second; {begins}")


def _seen(plan: Plan, runner: _Runner, point: dict[str, Any]) -> dict[str, Any]:
    """The cost of a session-second in a point, all-in where that is known, and the first rung that follows. Of a short
    point's few requests one late one makes it INVALID: its cost holds all the same."""
    gateway, ladder, rung = point["gateway"] or {}, runner.search.ladder, None
    cost_us = gateway.get("all_in_us_per_session_second") or gateway.get("us_per_session_second")
    answered = (point["load"] or {}).get("partials")
    if cost_us and answered and ladder is not None and plan.shape is not None:
        rung = expected_rung(ladder, cost_us, plan.shape.total_vcpus, plan.config.probe.share)
    kept = {key: point[key] for key in ("sessions", "status")}
    return {**kept, "us_per_session_second": cost_us, "first_rung": rung}


async def _take_points(
    run: Run, campaign: Campaign, folder: RunFolder, runners: list[_Runner], display: Display
) -> None:
    by_label = {runner.row.label: runner for runner in runners}
    while True:
        open_rows = [label for label, runner in by_label.items() if runner.is_open]
        label = turn(list(by_label), {name: len(one.points) for name, one in by_label.items()}, open_rows)
        if label is None:
            return
        runner = by_label[label]
        move, purpose = runner.next
        if move.sessions is None:
            raise AssertionError(f"{label} is open and has no next point")
        place = folder.point(label, move.sessions)
        title = f"{label} {move.sessions} sessions ({move.why}; {_left(runners)} left)"
        with _refusing(runner, campaign, display), on_harness_cpus(runner.plan):
            with display.stage(title, runner.plan.point_s) as stage:
                point = await run_point(
                    run, runner.plan, runner.launch, move.sessions, place, stage, costs=runner.costs
                )
            runner.costs = (runner.costs or HarnessCosts.expected(campaign.config.harness)).seen(point)
            kept = {key: point[key] for key in ("sessions", "status", "reasons")}
            runner.points.append({"folder": place.path.name, "purpose": purpose, **kept})
            if runner.searches_near(campaign.resolved.ask.start, point["status"]):
                runner.begin_near(_seen(runner.plan, runner, point))
            because = f" — {'; '.join(point['reasons'])}" if point["reasons"] else ""
            display.note(f"{label} {move.sessions} sessions ({move.why}): {point['status']}{because}")
        _store(folder, runners, finished=False)


def _left(runners: list[_Runner]) -> str:
    """Roughly how much of the campaign is still to come."""
    seconds = 0.0
    for runner in runners:
        if runner.is_open:
            typical = runner.search.points()[1]
            seconds += max(1, typical - len(runner.points)) * runner.plan.point_s
    return f"about {seconds / 60:.0f} min"


def _store(folder: RunFolder, runners: list[_Runner], *, finished: bool) -> None:
    rows = {runner.row.label: runner.verdict() for runner in runners}
    folder.write_verdict({"finished": finished, "rows": rows})


def _take_up(folder: RunFolder, manifest: dict[str, Any], runners: list[_Runner], display: Display) -> None:
    """Read finished points back, of a run of the same plan on the same machine."""
    before, verdict = read_json(folder.path / "manifest.json"), read_json(folder.path / "verdict.json")
    if before is None or verdict is None or "rows" not in verdict:
        raise ConfigError(f"RESUME: {folder.path} is not the folder of a run that can be taken up again")
    unlike = [f"{what}: was {mine!r}, is {theirs!r}" for what, mine, theirs in compared(before, manifest)]
    unlike += [f"{what}: has changed" for what in ("ask", "searches") if before.get(what) != manifest[what]]
    if before["lab"]["commit"] != manifest["lab"]["commit"]:
        unlike.append(f"commit: was {before['lab']['commit']}, is {manifest['lab']['commit']}")
    if unlike:
        raise ConfigError(f"RESUME: {folder.path} was begun with another {facts_of(unlike)}\n" + "\n".join(unlike))
    for runner in runners:
        stored = verdict["rows"][runner.row.label]
        runner.points = list(stored["points"])
        runner.conformance = stored["conformance"]
        if stored.get("probe") is not None:
            runner.begin_near(stored["probe"])
        display.note(f"{runner.row.label}: {len(runner.points)} finished points are taken over")


@contextmanager
def _refusing(runner: _Runner, campaign: Campaign, display: Display) -> Iterator[None]:
    """A row's own trouble ends that row, unless it is the only one."""
    try:
        yield
    except REFUSALS as error:
        if campaign.alone:
            raise
        # Stored for good, perhaps committed: no path of this machine.
        runner.refused = " ".join(str(error).replace(f"{CHECKOUT}/", "").split())
        display.note(f"{runner.row.label} cannot run: {runner.refused}")
