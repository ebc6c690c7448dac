"""Counts beside those that are kept: compared for the same binary, shown for another."""

from pathlib import Path
from typing import Any

import pytest

from experiment.ask import ConfigError
from experiment.report.instructions import instruction_lines, keep_instructions, kept_instructions
from experiment.setup import write_json

MINE, OTHER = {"binary_sha256": "a", "libpython_sha256": None}, {"binary_sha256": "b", "libpython_sha256": None}


def counted(program: str, instructions: float, binary: dict[str, Any] = MINE, tag: str = "3.14.7") -> dict[str, Any]:
    return {"program": program, "tag": tag, "binary": binary, "instructions": instructions}


def test_the_same_binary_is_compared_and_another_is_shown() -> None:
    now = [counted("core", 110.0), counted("draining", 200.0), counted("loadgen", 300.0)]
    kept = [counted("core", 5.0, OTHER, "3.13.1"), counted("core", 100.0), counted("draining", 100.0, OTHER)]
    assert [line[2:] for line in instruction_lines(now, kept)] == [
        ("110", "100", "+10.00 %"),
        ("200", "another build: 100", "not compared"),
        ("300", "none", "–"),
    ]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    assert kept_instructions(tmp_path) == ("", [])
    with pytest.raises(ConfigError, match="INSTRUCTIONS=1"):
        keep_instructions(tmp_path, tmp_path)
    (tmp_path / "notebooks/findings").mkdir(parents=True)
    write_json(tmp_path / "instructions.json", {"date": "2026-11-26", "counted": [counted("core", 1.0)]})
    keep_instructions(tmp_path, tmp_path)
    assert kept_instructions(tmp_path) == ("2026-11-26", [counted("core", 1.0)])
