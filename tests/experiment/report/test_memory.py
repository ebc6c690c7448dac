"""What a session weighs is the slope of the line through its points; the page is what the kept evidence gives."""

import shutil
from pathlib import Path

import pytest

from experiment.ask import ConfigError
from experiment.report.pages.memory import LINES_SHOWN, Weight, kept, weight
from experiment.report.pages.publish import publish_memory
from experiment.setup import CHECKOUT
from tests.experiment.invented import manifest, point, store


def test_a_line_through_the_loads_says_what_a_session_and_an_empty_gateway_weigh() -> None:
    assert weight([(100, 80e6), (300, 120e6), (500, 160e6)]) == Weight(200_000, 60e6, 0.0)
    bent = weight([(100, 80e6), (300, 110e6), (500, 160e6)])
    assert bent is not None
    assert bent.worst == pytest.approx((116_666_666 - 110e6) / 110e6, rel=0.01)
    assert weight([(100, 80e6), (100, 90e6)]) is None


def test_a_comparison_at_one_load_gives_no_weight(tmp_path: Path) -> None:
    run = store(tmp_path / "results", manifest({"gil": "cpuset-1"}), {"gil": [point(200, "PASS", 1000.0, "listed-1")]})
    with pytest.raises(ConfigError, match="expected rows at two loads or more"):
        publish_memory(run, root=tmp_path)


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


@pytest.mark.skipif(not (CHECKOUT / "notebooks/findings/memory.json").exists(), reason="nothing was published yet")
def test_the_page_is_what_the_evidence_gives(tmp_path: Path) -> None:
    for folder in ("notebooks/findings", "docs/findings"):
        (tmp_path / folder).mkdir(parents=True)
    for file in (CHECKOUT / "notebooks/findings").glob("memory*.json"):
        shutil.copy(file, tmp_path / "notebooks/findings")
    *_, prose = publish_memory(None, root=tmp_path)
    assert prose.read_bytes() == (CHECKOUT / prose.relative_to(tmp_path)).read_bytes()
