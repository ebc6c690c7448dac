"""Reads a stored run, from its folder in results/ or from its compact evidence. It judges and computes nothing.

Compact evidence is one JSON file: the manifest without notes, the verdict, and of each point what tables are made from.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError, Slo
from experiment.setup import read_json
from experiment.store.points import Point
from experiment.terms import Bracket


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of a run."""

    name: str
    facts: Mapping[str, Any]
    """Of the manifest: variant, asked, shape, cpus, interpreter (None where there is none).

    `variant` has the factors that ran, `asked` those of the row's table that a stand-in changed. Older runs have the
    table's factors and no `asked`."""
    verdict: Mapping[str, Any]
    """Conformance, bracket, why it ended or was refused."""
    points: tuple[Point, ...]
    """In the order they ran."""

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
        return "–" if facts is None else interpreter_label(facts)


def interpreter_label(facts: Mapping[str, Any]) -> str:
    """What an interpreter is, from its facts: "3.15.2t", "3.16.0a2+t main@1a2b3c4 jit"."""
    return f"{facts.get('tag') or facts['version']} {facts.get('marks') or ''}".strip()


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
    def receives(self) -> tuple[str, ...]:
        """Who pays for receiving, as its rows say it, each once; older runs say nothing, and there the sender does."""
        said = (row.facts["shape"].get("receive") for row in self.rows)
        return tuple(dict.fromkeys(receive for receive in said if receive is not None))

    @property
    def stem(self) -> str:
        """A name without a date: verb or row, shapes, timing."""
        rows = self.rows[0].name if len(self.rows) == 1 else f"{self.manifest['verb']}-{len(self.rows)}-rows"
        shapes = () if len(self.rows) == 1 and rows.endswith(f"@{self.shapes[0]}") else self.shapes
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
        name = str(evidence.get("name") or path.stem)
        manifest, verdict = evidence.get("manifest"), evidence.get("verdict")
        stored = evidence.get("points", {})
    else:
        name, manifest, verdict = path.name, read_json(path / "manifest.json"), read_json(path / "verdict.json")
        stored = None
    if manifest is None or verdict is None or "rows" not in manifest or "rows" not in verdict:
        raise ConfigError(f"{path}: expected the folder of a run, or its evidence in notebooks/findings/")
    rows = tuple(
        StoredRow(
            row, facts, verdict["rows"][row], tuple(map(Point.of, _points(path, row, verdict["rows"][row], stored)))
        )
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


def run_paths(text: str) -> list[Path]:
    """RUNS as typed: folders or evidence files, with commas between."""
    paths = [Path(os.path.normpath(part.strip())) for part in text.split(",") if part.strip()]
    if not paths:
        raise ConfigError(f"RUNS: expected results/a,results/b, got {text!r}")
    return paths
