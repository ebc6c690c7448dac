"""`make overload`: more load than a row carries, with a limit on sessions and without: do those let in keep the SLO?

For each row: its ceiling by a ladder, as `make ladder` finds it, in a run of its own; then points of so many times the
sessions that passed, one as the row is, one with `most_sessions` at what passed, in turn.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread

from experiment.ask import Ask, Config, ConfigError, Overload, Plan, resolve_one
from experiment.host import Run, ShapeRefused, clean_leftovers
from experiment.run import (
    Display,
    ProbeError,
    make_campaign,
    on_harness_cpus,
    prepare,
    run_campaign,
    run_point,
)
from experiment.setup import SetupError, read_json, write_json
from experiment.store import RunFolder
from profiles.runs import begun, refusal

EVIDENCE = "overload.json"
"""What `make overload` writes in its run's folder."""


def overload_of(config: Config, rows: list[str] | None) -> Overload:
    """The table, of these rows alone where some are given. Raises ConfigError where experiments.toml has none, or says
    no shape for a row."""
    if config.overload is None:
        raise ConfigError("experiments.toml: table [overload] is missing")
    shapes = config.overload.shapes
    if unknown := [name for name in rows or () if name not in shapes]:
        raise ConfigError(f"VARIANTS: expected rows of [overload], {', '.join(shapes)}, got {', '.join(unknown)}")
    return config.overload.model_copy(update={"shapes": {name: shapes[name] for name in rows or shapes}})


def _ask(overload: Overload, row: str, sessions: int | None = None) -> Ask:
    points = () if sessions is None else (sessions,)
    ladder = overload.ladder if sessions is None else None
    return Ask("ladder", (row,), (overload.shapes[row],), overload.timing, points, ladder=ladder)


def announce(config: Config, overload: Overload, results: Path) -> str:
    """How long it takes, roughly."""
    seconds = 0.0
    for row in overload.shapes:
        campaign = make_campaign(config, _ask(overload, row), results)
        plan = campaign.rows[0].plan
        assert plan is not None
        seconds += campaign.seconds()[0] + 2 * overload.rounds * plan.point_s
    rows, points = len(overload.shapes), 2 * overload.rounds
    return f"{rows} rows × (a ladder, and {points} points past its ceiling): about {seconds / 60:.0f} min"


async def run_overload(config: Config, overload: Overload, results: Path, display: Display) -> RunFolder:
    """Run every row. One that cannot run, or whose ceiling is not confirmed, is kept with the reason; the others go
    on."""
    display.note(announce(config, overload, results))
    started = datetime.now().astimezone()
    clean_leftovers(results)
    folder = RunFolder.create(results, "overload", started)
    async with Run(results) as run:
        evidence: dict[str, Any] = {**begun(run, started), "settings": overload.model_dump(), "rows": {}}
    evidence["slo"] = config.slo.model_dump()
    for row in overload.shapes:
        evidence["rows"][row] = await _row(config, overload, row, folder, results, display)
        write_json(folder.path / EVIDENCE, evidence)
    evidence["finished"] = True
    write_json(folder.path / EVIDENCE, evidence)
    return folder


async def _row(
    config: Config, overload: Overload, row: str, folder: RunFolder, results: Path, display: Display
) -> dict[str, Any]:
    try:
        bracket = await _bracket(config, overload, row, results, display)
        ceiling = bracket["passed"]
        sessions = round(ceiling * overload.factor)
        plan = resolve_one(config, _ask(overload, row, sessions))
        points = []
        async with Run(results) as run:
            for round_ in range(overload.rounds):
                for limit in (None, ceiling) if round_ % 2 == 0 else (ceiling, None):
                    point, interpreter = await _point(run, plan, limit, sessions, folder, display)
                    points.append(point)
    except (ProbeError, SetupError, ConfigError, ShapeRefused) as error:
        return {"refused": refusal(row, error, display)}
    return {"refused": None, "interpreter": interpreter, "bracket": bracket, "points": points}


async def _bracket(config: Config, overload: Overload, row: str, results: Path, display: Display) -> dict[str, Any]:
    path = await run_campaign(make_campaign(config, _ask(overload, row), results), display)
    verdict = read_json(path / "verdict.json")
    assert verdict is not None
    (found,) = (one["bracket"] for one in verdict["rows"].values())
    if found is None or not found["confirmed"]:
        raise ConfigError(f"expected a confirmed ceiling, got none: see {path.name}")
    return dict(found)


async def _point(
    run: Run, plan: Plan, limit: int | None, sessions: int, folder: RunFolder, display: Display
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    assert plan.variant is not None
    label = plan.variant_name if limit is None else f"{plan.variant_name}-at-most-{limit}"
    plan = replace(plan, variant=plan.variant.model_copy(update={"most_sessions": limit}))
    assert plan.variant is not None
    launch, interpreter = await anyio.to_thread.run_sync(prepare, plan, display.note)
    place = folder.point(label, sessions)
    with on_harness_cpus(plan), display.stage(f"{label}, {sessions} sessions", plan.point_s) as stage:
        point = await run_point(run, plan, launch, sessions, place, stage)
    kept = {"limit": limit, **of_those_let_in(point)}
    display.note(f"{label}, {sessions} sessions: {said(kept)}")
    return kept, interpreter


def of_those_let_in(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point's figures, and whether the latencies of those let in kept the contract's limits (None: the harness fell
    behind).

    A session that was refused has no latency, and is one failure `connect`. What failed of those let in is counted
    beside it, by name, and left to the reader: the contract's limit is one failure in 100 000.
    """
    load = point["load"] or {}
    refused, failures = load.get("refused", 0), dict(load.get("failures") or {})
    failures["connect"] = failures.get("connect", 0) - refused
    latencies = [gate for gate in point["gates"] if gate["key"].endswith("_ms")]
    kept = all(gate["measured"] is not None and gate["measured"] <= gate["limit"] for gate in latencies)
    return {
        **{key: point[key] for key in ("sessions", "status", "reasons", "notes", "gateway")},
        "refused": refused,
        "failed": {name: count for name, count in failures.items() if count},
        "stalls": load.get("stalls"),
        "measured": {gate["key"]: gate["measured"] for gate in latencies},
        "kept": None if point["status"] == "INVALID" else kept,
    }


def said(point: Mapping[str, Any]) -> str:
    """One point in a few words."""
    measured = point["measured"]
    words = "no answer" if measured["newest_p95_ms"] is None else "newest p50/p95 {newest_p50_ms:.0f}/"
    words = words if words == "no answer" else f"{words}{{newest_p95_ms:.0f}} ms".format(**measured)
    kept = {None: "INVALID", True: "those let in keep the SLO's latencies", False: "they do not"}[point["kept"]]
    return f"{point['refused']} refused, failed of those let in: {failed(point)}, {words}: {kept}"


def failed(point: Mapping[str, Any]) -> str:
    """What failed of those let in: "3 stalled (3 recovered)"."""
    recovered = (point["stalls"] or {}).get("recovered", 0)
    more = {"stalled": f" ({recovered} recovered)"}
    return ", ".join(f"{count} {name}{more.get(name, '')}" for name, count in point["failed"].items()) or "none"
