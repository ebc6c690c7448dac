"""The stored runs of a results folder: what there is, and what is old enough to go. It reads no points' figures."""

import re
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from experiment.store.runs import StoredRun

RUN_HEADINGS = ("run", "begun", "rows", "shapes", "timing", "brackets", "finished")
_DATED = re.compile(r"^(\d{8}-\d{6})-")


def run_lines(runs: Iterable[StoredRun]) -> list[tuple[str, ...]]:
    """One line per run, under RUN_HEADINGS."""
    return [
        (
            run.name,
            str(run.manifest["started"])[:16].replace("T", " "),
            " ".join(row.name for row in run.rows),
            " ".join(run.shapes),
            run.timing,
            "; ".join(str(row.bracket) if row.bracket else ("cannot run" if row.refused else "–") for row in run.rows),
            "yes" if run.finished else "no: RESUME=results/" + run.name,
        )
        for run in runs
    ]


def begun(name: str) -> datetime | None:
    """When a run of that folder name began, by local time; None where the name is no run's."""
    match = _DATED.match(name)
    return datetime.strptime(match[1], "%Y%m%d-%H%M%S") if match else None


def old(names: Iterable[str], now: datetime, days: float) -> list[str]:
    """The names of runs begun more than so many days ago; what is no run's name is never among them."""
    limit = now - timedelta(days=days)
    return sorted(name for name in names if (at := begun(name)) is not None and at < limit)


def prunable(results: Path, days: float) -> list[Path]:
    """The folders of old runs."""
    names = (
        [path.name for path in results.iterdir() if path.is_dir() and not path.is_symlink()] if results.exists() else []
    )
    return [results / name for name in old(names, datetime.now(), days)]


def prune(folders: Iterable[Path]) -> None:
    """Remove them for good."""
    for folder in folders:
        shutil.rmtree(folder)
