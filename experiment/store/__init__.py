"""A run as files: write, read, merge, list, compact evidence. Re-exports only."""

from experiment.store.evidence import identity, machine_kept, without_places, write_evidence
from experiment.store.folders import PointFolder, RunFolder
from experiment.store.listing import RUN_HEADINGS, prunable, prune, run_lines
from experiment.store.merge import compared, contract_of, differences, facts_of, kept_environment
from experiment.store.points import Load, Percentiles, Point
from experiment.store.runs import StoredRow, StoredRun, interpreter_label, read_run, run_paths, runs

__all__ = [
    "RUN_HEADINGS",
    "Load",
    "Percentiles",
    "Point",
    "PointFolder",
    "RunFolder",
    "StoredRow",
    "StoredRun",
    "compared",
    "contract_of",
    "differences",
    "facts_of",
    "identity",
    "interpreter_label",
    "kept_environment",
    "machine_kept",
    "prunable",
    "prune",
    "read_run",
    "run_lines",
    "run_paths",
    "runs",
    "without_places",
    "write_evidence",
]
