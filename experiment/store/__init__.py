"""A run as files: write, read, merge, list, compact evidence. Re-exports only."""

from experiment.store.evidence import MACHINE_KEYS, write_evidence
from experiment.store.folders import PointFolder, RunFolder
from experiment.store.listing import HEADINGS, lines, prunable, prune
from experiment.store.merge import compared, differences, facts_of
from experiment.store.points import Gateway, Load, Percentiles, Point
from experiment.store.runs import StoredRow, StoredRun, read_run, run_paths, runs

__all__ = [
    "HEADINGS",
    "MACHINE_KEYS",
    "Gateway",
    "Load",
    "Percentiles",
    "Point",
    "PointFolder",
    "RunFolder",
    "StoredRow",
    "StoredRun",
    "compared",
    "differences",
    "facts_of",
    "lines",
    "prunable",
    "prune",
    "read_run",
    "run_paths",
    "runs",
    "write_evidence",
]
