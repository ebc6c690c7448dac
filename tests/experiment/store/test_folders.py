"""Folders and files of a run: named after their content, written whole."""

from datetime import datetime
from pathlib import Path

import pytest

from experiment.setup import read_json, write_json
from experiment.store.folders import RunFolder

NOW = datetime(2026, 11, 24, 4, 5, 6)


def test_two_runs_of_one_second_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = (RunFolder.create(tmp_path, "gil-cpuset-1-quick", NOW).path.name for _ in range(2))
    assert first == "20261124-040506-gil-cpuset-1-quick"
    assert second == first + "-2"


def test_points_are_counted_per_number_of_sessions(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "x", NOW)
    assert [run.point("gil", n).path.name for n in (200, 300, 200)] == ["200-1", "300-1", "200-2"]
    assert run.point("gil", 20).path.name == "20-1"
    assert run.point("mt", 200).path.relative_to(run.path) == Path("points/mt/200-1")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    write_json(path, {"finished": False})
    with pytest.raises(TypeError):
        write_json(path, {"finished": object()})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"p95": float("nan")})
    assert read_json(path) == {"finished": False}


def test_a_file_that_is_not_there_is_none_and_no_object_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    assert read_json(path) is None
    path.write_text("[]")
    with pytest.raises(ValueError, match="expected a JSON object"):
        read_json(path)
