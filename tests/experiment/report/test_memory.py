"""What a session weighs is the slope of the line through its points; the page is what the kept evidence gives."""

import shutil
from pathlib import Path

import pytest

from experiment.report.pages.index import EVIDENCE
from experiment.report.pages.memory import LADDERS, LINES_SHOWN, Weight, kept, weight
from experiment.report.pages.publish import FINDINGS, publish_memory
from experiment.setup import CHECKOUT


def test_a_line_through_the_loads_says_what_a_session_and_an_empty_gateway_weigh() -> None:
    assert weight([(100, 80e6), (300, 120e6), (500, 160e6)]) == Weight(200_000, 60e6, 0.0)
    bent = weight([(100, 80e6), (300, 110e6), (500, 160e6)])
    assert bent is not None
    assert bent.worst == pytest.approx((116_666_666 - 110e6) / 110e6, rel=0.01)
    assert weight([(100, 80e6), (100, 90e6)]) is None


def test_of_a_profile_the_peak_and_its_lines_are_kept() -> None:
    processes = [{"peak_bytes": 3_000_000, "left_bytes": 1}, {"peak_bytes": 1_000_000, "left_bytes": 1}]
    hottest = {"stacks": [["run (app.py)", 0.5]] * 20, "left": []}
    found = kept({"title": "threads", "sessions": 40, "facts": {"processes": processes}, "hottest": hottest})
    assert found == {
        "title": "threads",
        "sessions": 40,
        "peak_bytes": 4_000_000,
        "hottest": [["run (app.py)", 0.5]] * LINES_SHOWN,
    }


def test_the_page_is_what_the_evidence_gives(tmp_path: Path) -> None:
    kept_files = [*(f"{name}.json" for name in LADDERS), "memory-lines.json"]
    for name in kept_files:
        file = CHECKOUT / EVIDENCE / name
        if file.exists():
            (tmp_path / EVIDENCE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / EVIDENCE / name)
    (tmp_path / FINDINGS).mkdir(parents=True)
    *_, prose = publish_memory(root=tmp_path)
    text = prose.read_text(encoding="utf-8")
    assert text == (CHECKOUT / prose.relative_to(tmp_path)).read_text(encoding="utf-8")
    assert "| drain | 3.14.7 |" in text
