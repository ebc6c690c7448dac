"""`make cliff`: who loses wake-ups, and how often. Cells in turn (`hunt`), then whole gateways with forensics.

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


def cliff_of(config: Config) -> Cliff:
    """Its table. Raises ConfigError where experiments.toml has none."""
    if config.cliff is None:
        raise ConfigError("experiments.toml: table [cliff] is missing")
    return config.cliff


def announce(config: Config) -> str:
    """How long it takes, and how many frames each claim needs."""
    cliff = cliff_of(config)
    cells_s = len(cliff.cells) * cliff.turns * (cliff.turn_s + OVERHEAD_S)
    points_s = sum(config.timing(point.timing).total_s + 15 for point in cliff.points)
    has = cliff.turns * cliff.turn_s * FRAMES_PER_S
    expected = poisson_rate(round(STALLS_PER_FRAME * has), has)
    losing = f"if the reference loses {STALLS_PER_FRAME * 1e6:.0f} per million"
    if expected.events:
        needed = exposure_to_clear(expected, cliff.fraction)
        clears = f"To call a version unaffected takes {needed:,.0f} frames without a stall, {losing}"
    else:
        clears = f"Nothing can be called unaffected: {losing}, no stall of it is to be expected"
    return (
        f"{len(cliff.cells)} cells, {cliff.turns} turns of {cliff.turn_s:g} s each, and {len(cliff.points)} points: "
        f"about {(cells_s + points_s) / 60:.0f} min. {clears}; a cell gets about {has:,.0f}"
    )


async def run_cliff(config: Config, results: Path, display: Display) -> RunFolder:
    """Run all cells and points. A cell or point that cannot run is kept with the reason; the others go on."""
    cliff = cliff_of(config)
    display.note(announce(config))
    started = datetime.now().astimezone()
    clean_leftovers(results)
    pythons: dict[str, Path] = {}
    cells: dict[str, dict[str, Any]] = {}
    for name, cell in cliff.cells.items():
        kept = cells[name] = {"factors": cell.model_dump(), "interpreter": None, "refused": None, "turns": []}
        try:
            pythons[name], kept["interpreter"] = await anyio.to_thread.run_sync(_interpreter, cell, display.note)
        except SetupError as error:
            kept["refused"] = refusal(name, error, display)
    folder = RunFolder.create(results, "cliff", started)
    async with Run(results) as run:
        for note in run.environment.notes():
            display.note(note)
        evidence: dict[str, Any] = {
            **begun(run, started),
            "settings": cliff.model_dump(exclude={"cells", "points"}),
            "cells": cells,
            "points": [],
        }
        write_json(folder.path / EVIDENCE, evidence)
        for number in range(1, cliff.turns + 1):
            for name, cell in cliff.cells.items():
                if cells[name]["refused"] is not None:
                    continue
                title = f"{name} (turn {number} of {cliff.turns})"
                with display.stage(title, cliff.turn_s + OVERHEAD_S) as stage:
                    try:
                        turn = await hunt_turn(run, cell, pythons[name], (cliff.clients, cliff.turn_s), folder, stage)
                    except (ServerGone, ProbeError, ShapeRefused) as error:
                        cells[name]["refused"] = refusal(name, error, display)
                        continue
                cells[name]["turns"].append(_kept(turn))
                display.note(f"{title}: {turn.stalls} stalls in {turn.frames:,} frames{_summary(turn)}")
                write_json(folder.path / EVIDENCE, evidence)
        for point in cliff.points:
            evidence["points"].append(await _point(run, config, point, folder, display))
            write_json(folder.path / EVIDENCE, evidence)
        evidence["finished"] = True
        write_json(folder.path / EVIDENCE, evidence)
    return folder


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
    argv = [str(python), "-W", GIL_TURNED_ON, "lost_wakeup.py", "--serve", str(port)]
    argv += ["--runtime", cell.runtime, "--loop", cell.loop]
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


async def _point(run: Run, config: Config, wanted: CliffPoint, folder: RunFolder, display: Display) -> dict[str, Any]:
    cliff = cliff_of(config)
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
