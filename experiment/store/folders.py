"""Where a run lies on disk, and how it is written and read. It judges nothing and computes nothing.

results/<run>/manifest.json                  what was run, on what; every row's factors, interpreter and packages
              verdict.json                   every row's bracket, and its points in the order they ran
              rows/<row>/                    conformance.json, logs/
              points/<row>/<sessions>-<k>/   summary.json, resources.csv, loadgen/ (samples.csv, latency.hlog), logs/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from experiment.setup import write_json


@dataclass(frozen=True, slots=True)
class PointFolder:
    """The files of one point."""

    path: Path

    @classmethod
    def create(cls, run: Path, row: str, sessions: int, attempt: int) -> "PointFolder":
        """Make the folder of the row's `attempt`-th point (from 1) with so many sessions."""
        return cls._made(run / "points" / row / f"{sessions}-{attempt}")

    @classmethod
    def probe(cls, run: Path, row: str, attempt: int) -> "PointFolder":
        """Make the folder of the row's probe, which is no point of the run."""
        return cls._made(run / "rows" / row / f"probe-{attempt}")

    @classmethod
    def _made(cls, path: Path) -> "PointFolder":
        folder = cls(path)
        folder.logs.mkdir(parents=True)
        folder.loadgen.mkdir()
        return folder

    @property
    def logs(self) -> Path:
        """One log per role."""
        return self.path / "logs"

    @property
    def loadgen(self) -> Path:
        """What the load generator writes."""
        return self.path / "loadgen"

    @property
    def summary(self) -> Path:
        """Everything about the point in one file."""
        return self.path / "summary.json"

    @property
    def samples(self) -> Path:
        """One row per answer, or `error` message, of the load."""
        return self.loadgen / "samples.csv"

    @property
    def resources(self) -> Path:
        """One row per role and second."""
        return self.path / "resources.csv"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @classmethod
    def create(cls, results: Path, name: str, now: datetime) -> "RunFolder":
        """Make `results/<date>-<time>-<name>`; a second run of the same second gets a number."""
        stem = f"{now:%Y%m%d-%H%M%S}-{name}"
        for suffix in ("", *(f"-{n}" for n in range(2, 100))):
            path = results / (stem + suffix)
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            return cls(path)
        raise FileExistsError(f"{results / stem}: a hundred runs of one second; remove some")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace `manifest.json`."""
        write_json(self.path / "manifest.json", manifest)

    def write_verdict(self, verdict: Mapping[str, Any]) -> None:
        """Replace `verdict.json`."""
        write_json(self.path / "verdict.json", verdict)

    def row(self, row: str) -> Path:
        """Where a row's own files lie: its conformance report and the logs of that."""
        path = self.path / "rows" / row
        path.mkdir(parents=True, exist_ok=True)
        return path

    def point(self, row: str, sessions: int) -> PointFolder:
        """A new folder for one more point of a row with so many sessions; one left by an interruption stays."""
        attempt = 1 + len(list((self.path / "points" / row).glob(f"{sessions}-*")))
        return PointFolder.create(self.path, row, sessions, attempt)

    def probe(self, row: str) -> PointFolder:
        """A new folder for the row's probe."""
        return PointFolder.probe(self.path, row, 1 + len(list((self.path / "rows" / row).glob("probe-*"))))
