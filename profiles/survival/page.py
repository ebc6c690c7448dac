"""docs/findings/survival.md from stored evidence: rows × scenarios. Nothing is measured, no file read."""

from collections.abc import Mapping
from typing import Any

from experiment.report import markdown
from profiles.cliff.hazard import PoissonRate
from profiles.soak.flat import FLAT_SHARE
from profiles.survival.effects import LATE_MS, SETTLE_S, said
from profiles.survival.overload import failed

Evidence = Mapping[str, Any]


def page(evidence: Evidence, overload: Evidence, soaks: Evidence) -> str:
    """The Markdown page."""
    settings = evidence["settings"]
    rows = {name: row for name, row in evidence["rows"].items() if not row["refused"]}
    parts = [
        "# What do the others see when a client, or the inference server, misbehaves?",
        _measured(evidence),
        markdown(("scenario", *rows), [[name, *_cells(rows, name)] for name in settings["scenarios"]]),
        "## What was lost, and what it weighs",
        markdown(_LOST, [_lost(name, row) for name, row in rows.items()]),
        "A frame is lost where no message covers it; errored, where an `error` message reports it. Memory is the "
        "gateway's before the first scenario and after the last.",
    ]
    if broken := _broken(rows):
        parts += ["## Rules that were not kept", "\n".join(broken)]
    parts += [*_past_the_ceiling(overload), *_at_length(soaks)]
    parts += [
        "## Scenarios, and how to repeat them",
        "\n".join(
            f"- {name}: {', '.join(f'`{rule}`' for rule in rules)}" for name, rules in settings["scenarios"].items()
        ),
        "`make faults VARIANTS=drain,gil`; `make overload VARIANTS=gil`; "
        "`make soak VARIANT=threads SESSIONS=400 MINUTES=9`; each rule alone: `make conformance VARIANT=drain`.",
    ]
    parts += [f"{name} did not run: {row['refused']}" for name, row in evidence["rows"].items() if row["refused"]]
    return "\n\n".join(parts) + "\n"


def _measured(evidence: Evidence) -> str:
    settings, machine = evidence["settings"], evidence["machine"]
    return (
        f"Measured on {machine['cpus']} × {machine['cpu_model']}, Linux {str(machine['kernel']).split('-')[0]}, "
        f"{settings['shape']}, begun {str(evidence['started'])[:10]} (contract {evidence['contract']}). "
        f"{settings['sessions']} sessions of the load stream all the time; one scenario after the other is played "
        "beside them by the conformance suite, which also says whether its rules were kept. A cell is of the load's "
        f"answers from the scenario's beginning to {SETTLE_S:g} s after its end: p95 / longest latency of the newest "
        "frame in ms, `error` messages, and for how many seconds after the end a second's p95 stayed above "
        f"{LATE_MS:g} ms."
    )


OVERLOAD_HEADINGS = (
    *("row", "sessions", "let in at most", "refused", "failed of those let in", "newest p50 / p95", "oldest p50 / p95"),
    *("verdict", "latencies of those let in"),
)


def overload_lines(evidence: Evidence) -> list[list[str]]:
    """A line for each point of `make overload`."""
    return [
        _overload_line(name, point)
        for name, row in evidence["rows"].items()
        if not row["refused"]
        for point in row["points"]
    ]


def _overload_line(name: str, point: Mapping[str, Any]) -> list[str]:
    measured = point["measured"]
    pairs = [[measured[f"{age}_{percent}_ms"] for percent in ("p50", "p95")] for age in ("newest", "oldest")]
    limit = "no limit" if point["limit"] is None else str(point["limit"])
    kept = {None: "–", True: "keep the SLO", False: "do not"}[point["kept"]]
    return [
        *(name, str(point["sessions"]), limit, str(point["refused"]), failed(point)),
        *("–" if None in pair else f"{pair[0]:.0f} / {pair[1]:.0f}" for pair in pairs),
        *(point["status"], kept),
    ]


def _past_the_ceiling(overload: Evidence) -> list[str]:
    settings, machine = overload["settings"], overload["machine"]
    rows = {name: row for name, row in overload["rows"].items() if not row["refused"]}
    ceilings = "; ".join(
        f"{name} on CPython {row['interpreter']['tag']}, {settings['shapes'][name]}: confirmed "
        f"{row['bracket']['passed']} ↔ fails {row['bracket']['failed']}"
        for name, row in rows.items()
    )
    return [
        "## Load past the ceiling",
        f"Measured on {machine['cpus']} × {machine['cpu_model']}, begun {str(overload['started'])[:10]}, "
        f"{settings['timing']}, receive = sender. Ceilings first, by a ladder: {ceilings}. Then "
        f"{settings['factor'] * 100:g} % of what passed, as the row is and with `most_sessions` at what passed, in "
        "turn. A refused session gets status 503, or 1013 after the upgrade, and is one failure, so that the verdict "
        "of the contract stays FAIL. Those let in are judged by their latencies.",
        markdown(OVERLOAD_HEADINGS, overload_lines(overload)),
        *(f"{name} did not run: {row['refused']}" for name, row in overload["rows"].items() if row["refused"]),
    ]


_SOAKS = ("row", "CPython", "sessions", "minutes", "verdict", "failures", "stalled sessions in frames", "grew or fell")


def _at_length(soaks: Evidence) -> list[str]:
    begun = ", ".join(dict.fromkeys(str(soak["started"])[:10] for soak in soaks["soaks"]))
    return [
        "## At length",
        f"One long point of each row, begun {begun}, {_shapes(soaks)}. Of memory, descriptors, threads and latencies "
        f"the median of the last third is set beside that of the first; what is within {FLAT_SHARE * 100:g} % is flat.",
        markdown(_SOAKS, [_soak_line(soak) for soak in soaks["soaks"]]),
    ]


def _shapes(soaks: Evidence) -> str:
    said = (
        f"{soak['row']['shape']['name']}, receive = {soak['row']['shape'].get('receive', 'sender')}"
        for soak in soaks["soaks"]
    )
    return "; ".join(dict.fromkeys(said))


def _soak_line(soak: Mapping[str, Any]) -> list[str]:
    moved = [
        f"{one['name']} {one['first']:,.4g} → {one['last']:,.4g} {one['unit']}".rstrip()
        for one in soak["drifts"]
        if one["verdict"] != "flat"
    ]
    return [
        *(soak["row"]["name"], soak["row"]["interpreter"]["tag"], str(soak["sessions"]), f"{soak['minutes']:g}"),
        *(soak["status"], str(soak["failures_total"])),
        "–" if soak["stall_rate"] is None else str(PoissonRate(**soak["stall_rate"])),
        "; ".join(moved) or "nothing",
    ]


HEADINGS = ("row", "scenario", "rules", "what the others saw")


def screen_lines(evidence: Evidence) -> list[list[str]]:
    """For the terminal: a line for each row and scenario."""
    return [
        [name, scenario, "kept" if one["kept"] else "NOT KEPT", said(one)]
        for name, row in evidence["rows"].items()
        if not row["refused"]
        for scenario, one in row["scenarios"].items()
    ]


_LOST = ("row", "CPython", "frames due", "errored", "lost", "failures of the load", "memory before → after, MiB")


def _cells(rows: Mapping[str, Any], scenario: str) -> list[str]:
    return [_cell(row["scenarios"].get(scenario)) for row in rows.values()]


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "not reached"
    if one["p95_ms"] is None:
        return "no answer"
    words = f"{one['p95_ms']:.0f} / {one['max_ms']:.0f}"
    words += f", {one['errors']} errors" if one["errors"] else ""
    words += f", {one['recovered_s']} s" if one["recovered_s"] else ""
    return words if one["kept"] else f"**not kept**: {words}"


def _lost(name: str, row: Mapping[str, Any]) -> list[str]:
    frames = row["frames"] or {}
    sizes = [
        size
        for one in row["scenarios"].values()
        for size in (one["memory_before_bytes"], one["memory_after_bytes"])
        if size is not None
    ]
    memory = f"{sizes[0] / 2**20:.0f} → {sizes[-1] / 2**20:.0f}" if sizes else "–"
    counts = [f"{frames.get(key, 0):,}" for key in ("due", "errored", "lost")]
    tag = (row["interpreter"] or {}).get("tag") or "–"
    return [name, str(tag), *counts, str(row["failures_total"]), memory]


def _broken(rows: Mapping[str, Any]) -> list[str]:
    return [
        f"- {name}, {scenario}: {words}"
        for name, row in rows.items()
        for scenario, one in row["scenarios"].items()
        if not one["kept"]
        for words in one["said"]
        if not words.startswith("PASS")
    ]
