"""Reads a stored run, from its folder in results/ or from its compact evidence. It judges and computes nothing.

Compact evidence is one JSON file: the manifest without notes, the verdict, and of each point what tables are made from.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.ask.schema import ConfigError, Slo
from experiment.search.ladder import Bracket
from experiment.store.folders import read_json, write_json

_INTERPRETER_KEYS = ("version", "tag", "requested", "free_threaded", "gil_enabled", "compiler", "pgo", "lto", "libc")
MACHINE_KEYS = ("cpu_model", "cpus", "kernel", "kernel_build", "memory_bytes", "virtualisation", "cgroup", "governor")
_POINT_KEYS = ("sessions", "status", "purpose", "reasons", "notes", "harness", "gateway", "load")
_LATER_KEYS = ("core_speed",)
"""Those that older runs do not have."""
_LOAD_KEYS = ("newest_ms", "oldest_ms", "send_lateness_ms", "partials", "failures", "failures_total", "stalls")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of a run."""

    name: str
    facts: Mapping[str, Any]
    """Of the manifest: variant, shape, cpus, interpreter (None where there is none)."""
    verdict: Mapping[str, Any]
    """Conformance, bracket, why it ended or was refused."""
    points: tuple[Mapping[str, Any], ...]
    """Their summaries, in the order they ran, each with its purpose."""

    @property
    def refused(self) -> str | None:
        """Why it gave no points; None where it ran."""
        reason: str | None = self.verdict.get("refused")
        return reason

    @property
    def bracket(self) -> Bracket | None:
        """As stored; None where the row gives none."""
        known = self.verdict.get("bracket")
        return None if known is None else Bracket(**{**known, "borderline": tuple(known["borderline"])})

    @property
    def interpreter(self) -> str:
        """As found, for a table."""
        facts = self.facts.get("interpreter")
        return "–" if facts is None else str(facts.get("tag") or facts["version"])


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run."""

    name: str
    manifest: Mapping[str, Any]
    finished: bool
    rows: tuple[StoredRow, ...]

    @property
    def timing(self) -> str:
        """Its name."""
        return str(self.manifest["timing"]["name"])

    @property
    def slo(self) -> Slo:
        """The limits that its points were judged by."""
        return Slo(**self.manifest["slo"])

    @property
    def shapes(self) -> tuple[str, ...]:
        """The names of its rows' shapes, each once."""
        return tuple(dict.fromkeys(row.facts["shape"]["name"] for row in self.rows))

    @property
    def stem(self) -> str:
        """A name without a date: verb or row, shapes, timing."""
        rows = self.rows[0].name if len(self.rows) == 1 else f"{self.manifest['verb']}-{len(self.rows)}-rows"
        shapes = () if len(self.rows) == 1 and "@" in rows else self.shapes
        return "-".join([rows.replace("@", "-"), *shapes, self.timing])

    @property
    def machine(self) -> str:
        """What it ran on, in a line."""
        facts = self.manifest["machine"]
        return f"{facts['cpus']} × {facts['cpu_model']}, Linux {str(facts['kernel']).split('-')[0]}"


def read_run(path: Path) -> StoredRun:
    """A run's folder, or its evidence file.

    Raises:
        ConfigError: there is no run of this laboratory's present format.
    """
    if path.is_file():
        evidence = read_json(path) or {}
        name, manifest, verdict = path.stem, evidence.get("manifest"), evidence.get("verdict")
        stored = evidence.get("points", {})
    else:
        name, manifest, verdict = path.name, read_json(path / "manifest.json"), read_json(path / "verdict.json")
        stored = None
    if manifest is None or verdict is None or "rows" not in manifest or "rows" not in verdict:
        raise ConfigError(f"{path}: expected the folder of a run, or its evidence in notebooks/findings/")
    rows = tuple(
        StoredRow(row, facts, verdict["rows"][row], tuple(_points(path, row, verdict["rows"][row], stored)))
        for row, facts in manifest["rows"].items()
    )
    return StoredRun(name, manifest, bool(verdict["finished"]), rows)


def _points(
    path: Path, row: str, verdict: Mapping[str, Any], stored: Mapping[str, Any] | None
) -> Iterator[Mapping[str, Any]]:
    if stored is not None:
        yield from stored[row]
        return
    for point in verdict["points"]:
        summary = read_json(path / "points" / row / point["folder"] / "summary.json")
        if summary is None:
            raise ConfigError(f"{path.name}: the point {row}/{point['folder']} has no summary.json")
        yield {**summary, "purpose": point["purpose"]}


def runs(results: Path) -> list[StoredRun]:
    """Every readable run in a folder, oldest first; others are left out."""
    found = []
    for path in sorted(results.glob("*/manifest.json")):
        try:
            found.append(read_run(path.parent))
        except ConfigError:
            continue
    return found


def write_evidence(run: StoredRun, path: Path) -> None:
    """The compact form, for good."""
    manifest = {key: value for key, value in run.manifest.items() if key != "notes"}
    manifest["machine"] = {key: manifest["machine"].get(key) for key in MACHINE_KEYS}
    manifest["interpreters"] = {name: _interpreter(facts) for name, facts in manifest["interpreters"].items()}
    manifest["rows"] = {
        row.name: {**row.facts, "interpreter": _interpreter(row.facts["interpreter"])} for row in run.rows
    }
    verdict = {
        "finished": run.finished,
        "rows": {row.name: {k: v for k, v in row.verdict.items() if k != "points"} for row in run.rows},
    }
    points = {row.name: [_point(point) for point in row.points] for row in run.rows}
    write_json(path, {"manifest": manifest, "verdict": verdict, "points": points})


def _interpreter(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if facts is None else {key: facts.get(key) for key in (*_INTERPRETER_KEYS, "packages")}


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    load = point["load"] or {}
    kept = {key: point.get(key) for key in _POINT_KEYS} | {key: point[key] for key in _LATER_KEYS if key in point}
    return {**kept, "load": {key: load.get(key) for key in _LOAD_KEYS}}


def run_paths(text: str) -> list[Path]:
    """RUNS as typed: folders or evidence files, with commas between."""
    paths = [Path(os.path.normpath(part.strip())) for part in text.split(",") if part.strip()]
    if not paths:
        raise ConfigError(f"RUNS: expected results/a,results/b, got {text!r}")
    return paths
