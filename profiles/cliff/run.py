"""`make cliff`: who loses wake-ups, and how often. Cells in turn (`hunt`), then whole gateways with forensics.
`make survey`: the cells of other servers, in the same way.

results/<date>-cliff/cliff.json is written again after every turn and point; `page` says what it means.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread

from experiment.ask import Ask, Cell, Cliff, CliffPoint, Config, ConfigError, resolve_one
from experiment.host import (
    Command,
    Limits,
    Role,
    Run,
    ShapeRefused,
    clean_leftovers,
    usable_cpus,
)
from experiment.run import (
    GIL_TURNED_ON,
    LOOPBACK,
    Display,
    ProbeError,
    Stage,
    interpreter_facts,
    on_harness_cpus,
    prepare,
    run_point,
)
from experiment.setup import SetupError, ensure, read_json, write_json
from experiment.store import RunFolder
from loadgen.percentiles import nearest_rank
from profiles.cliff.evidence import EVIDENCE
from profiles.cliff.hazard import exposure_to_clear, poisson_rate
from profiles.cliff.hunt import ServerGone, Turn, hunt
from profiles.cliff.reproducer.lost_wakeup import STALLS_PER_FRAME
from profiles.forensics.capture import capture
from profiles.forensics.profiler import HOLD_STALLED_S, Forensics
from profiles.points import answers
from profiles.profilers.inject import is_known_python
from profiles.runs import begun, refusal
from profiles.session import Around
from simulator.port import free_port

FRAMES_PER_S = 8000.0
"""About what four clients send to a cell on two cores: for announcing only."""
START_S = 30.0
OVERHEAD_S = 3.0
"""Starting and stopping a cell's server, looking at its stalls."""
_REPRODUCER = Path(__file__).parent / "reproducer"


def study_of(config: Config, name: str) -> Cliff:
    """The table [cliff], or [survey]. Raises ConfigError where experiments.toml has none."""
    study: Cliff | None = getattr(config, name)
    if study is None:
        raise ConfigError(f"experiments.toml: table [{name}] is missing")
    return study


def announce(config: Config, name: str) -> str:
    """How long it takes, and how many frames each claim needs."""
    study = study_of(config, name)
    cells_s = len(study.cells) * study.turns * (study.turn_s + OVERHEAD_S)
    points_s = sum(config.timing(point.timing).total_s + 15 for point in study.points)
    has = study.turns * study.turn_s * FRAMES_PER_S
    expected = poisson_rate(round(STALLS_PER_FRAME * has), has)
    losing = f"if the reference loses {STALLS_PER_FRAME * 1e6:.0f} per million"
    if expected.events:
        needed = exposure_to_clear(expected, study.fraction)
        clears = f"To call a cell unaffected takes {needed:,.0f} frames without a stall, {losing}"
    else:
        clears = f"Nothing can be called unaffected: {losing}, no stall of it is to be expected"
    points = f" and {len(study.points)} points" if study.points else ""
    return (
        f"{len(study.cells)} cells, {study.turns} turns of {study.turn_s:g} s each{points}: "
        f"about {(cells_s + points_s) / 60:.0f} min. {clears}; a cell gets about {has:,.0f}"
    )


async def run_cliff(
    config: Config, name: str, results: Path, display: Display, resumed: Path | None = None
) -> RunFolder:
    """Run all cells and points of [cliff], or of [survey]. A cell or point that cannot run is kept with the reason; the
    others go on. Of a run that is taken up again, what it has is not measured again.

    Raises:
        ConfigError: `resumed` asked something else.
    """
    study = study_of(config, name)
    display.note(announce(config, name))
    started = datetime.now().astimezone()
    clean_leftovers(results)
    settings = study.model_dump(exclude={"cells", "points"})
    async with Run(results) as run:
        for note in run.environment.notes():
            display.note(note)
        if resumed is None:
            folder = RunFolder.create(results, name, started)
            evidence: dict[str, Any] = {**begun(run, started), "settings": settings, "cells": {}, "points": []}
        else:
            folder, evidence = RunFolder(resumed), _taken_up(resumed, study, settings)
        cells, pythons = evidence["cells"], {}
        for label, cell in study.cells.items():
            kept = cells.setdefault(label, {"factors": cell.model_dump(), "interpreter": None, "turns": []})
            kept["refused"] = None
            try:
                pythons[label], kept["interpreter"] = await anyio.to_thread.run_sync(_interpreter, cell, display.note)
            except SetupError as error:
                kept["refused"] = refusal(label, error, display)
        write_json(folder.path / EVIDENCE, evidence)
        for number in range(1, study.turns + 1):
            for label, cell in study.cells.items():
                if cells[label]["refused"] is not None or len(cells[label]["turns"]) >= number:
                    continue
                title = f"{label} (turn {number} of {study.turns})"
                with display.stage(title, study.turn_s + OVERHEAD_S) as stage:
                    try:
                        turn = await hunt_turn(run, cell, pythons[label], (study.clients, study.turn_s), folder, stage)
                    except (ServerGone, ProbeError, ShapeRefused) as error:
                        cells[label]["refused"] = refusal(label, error, display)
                        continue
                cells[label]["turns"].append(_kept(turn))
                display.note(f"{title}: {turn.stalls} stalls in {turn.frames:,} frames{_summary(turn)}")
                write_json(folder.path / EVIDENCE, evidence)
        for point in study.points[len(evidence["points"]) :]:
            evidence["points"].append(await _point(run, config, study, point, folder, display))
            write_json(folder.path / EVIDENCE, evidence)
        evidence["finished"] = True
        write_json(folder.path / EVIDENCE, evidence)
    return folder


def _taken_up(folder: Path, study: Cliff, settings: dict[str, Any]) -> dict[str, Any]:
    evidence = read_json(folder / EVIDENCE)
    if evidence is None:
        raise ConfigError(f"RESUME: expected the folder of an interrupted run, with its {EVIDENCE}, got {folder}")
    cells = {label: cell.model_dump() for label, cell in study.cells.items()}
    had = {label: cell["factors"] for label, cell in evidence["cells"].items()}
    if evidence["settings"] != settings or any(cells.get(label) != factors for label, factors in had.items()):
        raise ConfigError(f"RESUME: {folder} was asked something else than experiments.toml asks now")
    return evidence


def _interpreter(cell: Cell, report: Callable[[str], None]) -> tuple[Path, dict[str, Any]]:
    environment = ensure(cell.environment, cell.interpreter, allow_stand_in=False, report=report)
    return environment.python, interpreter_facts(environment)


async def hunt_turn(
    run: Run,
    cell: Cell,
    python: Path,
    load: tuple[int, float],
    folder: RunFolder,
    stage: Stage,
    enough: Callable[[int, int], bool] = lambda frames, stalls: False,
) -> Turn:
    """Start a cell's server on `python`, hunt with so many clients for so many seconds (`load`) or until `enough`, and
    stop it.

    Raises:
        ProbeError, ServerGone, ShapeRefused: the server did not come up, or cannot be had so.
    """
    cpus, port = usable_cpus(), free_port()
    one = frozenset({max(cpus)})
    limits = {"all": Limits(cpus), "one": Limits(one), "quota": Limits(cpus, 1.0, 100.0)}[cell.cpus]
    argv = [str(python), "-W", GIL_TURNED_ON]
    if cell.server == "granian":
        argv += ["lost_wakeup.py", "--serve", str(port), "--runtime", cell.runtime, "--loop", cell.loop]
    else:
        argv += ["other_servers.py", cell.server, "--port", str(port), "--loop", cell.loop, "--runtime", cell.runtime]
    log, spin = folder.path / "server.log", {"SPIN_US": str(cell.spin_us)}
    role = run.start(Command(argv, cwd=_REPRODUCER, log=log, env=spin), run.group("cell", limits))

    def look() -> list[dict[str, Any]]:
        pids = [pid for pid in role.group.pids() if is_known_python(pid)]
        found: list[dict[str, Any]] = capture(pids, port)["findings"]
        return found

    def tell(frames: int, stalls: int) -> None:
        anyio.from_thread.run_sync(stage.update, "hunting", f"{frames:,} frames, {stalls} stalls")

    try:
        await _listening(role, port)
        args = (port, *load, look, tell, enough)
        return await anyio.to_thread.run_sync(hunt, *args, abandon_on_cancel=True)
    finally:
        with anyio.CancelScope(shield=True):
            await role.stop(2.0)


async def _listening(role: Role, port: int) -> None:
    with anyio.move_on_after(START_S):
        while role.exited() is None:
            try:
                await (await anyio.connect_tcp(LOOPBACK, port)).aclose()
            except OSError:
                await anyio.sleep(0.05)
            else:
                return
    raise ProbeError(str(role.exited() or f"the server did not listen within {START_S:g} s"))


def _kept(turn: Turn) -> dict[str, Any]:
    return {
        "seconds": round(turn.seconds, 2),
        "frames": turn.frames,
        "stalls": turn.stalls,
        "lives": [[life.frames, life.stalled] for life in turn.lives],
        "recovered": turn.recovered,
        "closed": turn.closed,
        "gone": turn.gone,
        "findings": turn.findings,
    }


def _kinds(looks: list[list[dict[str, Any]]], where: str) -> str:
    kinds = Counter(finding["kind"] for look in looks for finding in look)
    return "".join(f"; {kind} × {count}{where}" for kind, count in kinds.items())


def _summary(turn: Turn) -> str:
    """What its looks found, and what happened to connections besides stalls."""
    said = _kinds(turn.findings, f" in {len(turn.findings)} looks")
    said += f"; {turn.recovered} recovered" if turn.recovered else ""
    said += f"; {len(turn.closed)} closed by the server, the first: {turn.closed[0]}" if turn.closed else ""
    return said + (f"; ended after {turn.seconds:.0f} s: {turn.gone}" if turn.gone else "")


async def _point(
    run: Run, config: Config, cliff: Cliff, wanted: CliffPoint, folder: RunFolder, display: Display
) -> dict[str, Any]:
    assert cliff.shape is not None
    assert cliff.sessions is not None
    about = {"variant": wanted.variant, "timing": wanted.timing, "shape": cliff.shape, "sessions": cliff.sessions}
    ask = Ask(
        "cliff", (wanted.variant,), (cliff.shape,), wanted.timing, (cliff.sessions,), harness="shared", receive="sender"
    )
    try:
        plan = replace(resolve_one(config, ask), hold_stalled_s=HOLD_STALLED_S)
        if plan.variant is None:
            raise ConfigError(f"{wanted.variant}: expected a row of ours")
        launch, interpreter = await anyio.to_thread.run_sync(prepare, plan, display.note)
        place = folder.point(f"{wanted.variant}-{wanted.timing}", cliff.sessions)
        around = Around(Forensics(), launch, place.path)
        title = f"{wanted.variant}, {cliff.sessions} sessions, {wanted.timing}"
        with on_harness_cpus(plan), display.stage(title, plan.point_s) as stage:
            point = await run_point(run, plan, launch, cliff.sessions, place, stage, around)
    except (SetupError, ProbeError, ShapeRefused) as error:
        return {**about, "refused": refusal(wanted.variant, error, display)}
    load = point["load"] or {}
    findings = (around.facts or {}).get("findings", [])
    stalls = (load.get("stalls") or {}).get("never_recovered", 0)
    display.note(
        f"{title}: {stalls} stalled, {(load.get('frames') or {}).get('answered', 0):,} frames, newest p50 "
        f"{(load.get('newest_ms') or {}).get('p50')} ms{_kinds([findings], '')}"
    )
    looks = read_json(place.path / "forensics.json")
    return {
        **about,
        "refused": None,
        "interpreter": interpreter,
        "status": point["status"],
        "reasons": point["reasons"],
        "notes": point["notes"],
        "load": {key: load.get(key) for key in ("frames", "newest_ms", "oldest_ms", "failures", "stalls", "partials")},
        "failure_details": load.get("failure_details"),
        "gateway": point["gateway"],
        "timeline": _timeline(place.samples),
        "findings": findings,
        "sockets": [] if looks is None else _stuck_sockets(looks),
    }


def _stuck_sockets(looks: dict[str, Any]) -> list[dict[str, Any]]:
    """The gateway's ends whose received bytes were not read by the second look either, fullest first, and not more
    than twenty."""
    first, second = ({socket["client_port"]: socket for socket in _ends(look)} for look in looks["looks"])
    still = [socket for port, socket in second.items() if port in first and first[port]["recv_queue_bytes"]]
    return sorted(still, key=lambda socket: -socket["recv_queue_bytes"])[:20]


def _ends(look: dict[str, Any]) -> list[dict[str, Any]]:
    return [socket for socket in look["sockets"] if socket["side"] == "gateway" and socket["recv_queue_bytes"]]


def _timeline(samples: Path) -> list[list[float]]:
    """Of every second: partials that arrived, and the p50 and p95 of their newest frames' latency in ms."""
    seconds: defaultdict[int, list[float]] = defaultdict(list)
    for answer in answers(samples):
        if not answer.is_error:
            seconds[int(answer.arrival_s)].append(answer.newest_ms)
    lines = []
    for second, values in sorted(seconds.items()):
        p50_ms, p95_ms = (round(nearest_rank(values, percent), 1) for percent in (50, 95))
        lines.append([second, len(values), p50_ms, p95_ms])
    return lines
