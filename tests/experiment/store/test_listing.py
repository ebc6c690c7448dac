"""What is old enough to go; nothing that is no run's folder ever is."""

from datetime import datetime
from pathlib import Path

import pytest

from experiment.store import listing
from experiment.store.runs import runs
from tests.experiment.invented import ladder_points, manifest, store

NOW = datetime(2026, 11, 24, 4, 5, 6)


@pytest.mark.parametrize(("days", "gone"), [(0, 2), (9, 1), (11, 0)])
def test_only_old_runs_go(days: float, gone: int) -> None:
    names = [
        "20261114-040506-gil",
        "20261124-040505-conformance-gil",
        "notebooks",
        ".running",
        "mine-20200101-000000-x",
    ]
    assert len(listing.old(names, NOW, days)) == gone


def test_pruning_leaves_what_is_no_run(tmp_path: Path) -> None:
    for name in ("20200101-000000-gil", "notebooks"):
        (tmp_path / name).mkdir()
    listing.prune(listing.prunable(tmp_path, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["notebooks"]
    assert listing.prunable(tmp_path / "nosuch", 1) == []


def test_a_run_is_listed_with_its_brackets(tmp_path: Path) -> None:
    store(tmp_path, manifest({"gil": "cpuset-1", "mt": "cpuset-1"}), {"gil": ladder_points(1, 500)}, finished=False)
    (line,) = listing.run_lines(runs(tmp_path))
    assert line[1:5] == ("2026-11-24 04:05", "gil mt", "cpuset-1", "quick")
    assert line[5] == "confirmed 500 ↔ solid fail 505; cannot run"
    assert line[6] == "no: RESUME=results/20261124-040506-compare"
