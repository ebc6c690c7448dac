"""Foreign rows beside ours: what the page says, and that it is what the evidence gives."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from experiment.ask.schema import ConfigError, Foreign
from experiment.report.pages.publish import GENERATED, publish_foreign
from experiment.setup import CHECKOUT
from tests.experiment.invented import ladder_points, manifest, point, store

STRANGER = Foreign(
    about='a "stranger", in C',
    command=["stranger", "--listen", "{port}"],
    env={"INFERENCE_URL": "{inference_url}"},
    breaks=["phases"],
)


def facts(foreign: Foreign = STRANGER) -> dict[str, Any]:
    """A manifest of a foreign row and of `drain`."""
    known = manifest({"gil": "quota-0.1", "drain": "quota-0.1"})
    rows = known["rows"]
    stranger = {**rows.pop("gil"), "variant": {"name": "stranger", **foreign.model_dump()}, "interpreter": None}
    return {**known, "rows": {"stranger": stranger, **rows}}


def test_our_rows_stand_against_the_foreign_ones_with_intervals(tmp_path: Path) -> None:
    points = {"stranger": ladder_points(800.0, 300), "drain": ladder_points(200.0, 1200)}
    run = store(tmp_path / "results", facts(), points)
    *_, prose = publish_foreign([run], tmp_path)
    page = prose.read_text(encoding="utf-8")
    assert page.startswith(GENERATED)
    assert "- drain beside stranger, quota-0.1, receive = sender: carries 3.93–4.02 times the sessions" in page
    assert "× 0.250 (0.250–0.250, n=3)" in page


def test_a_single_pass_above_the_solid_fail_counts_for_the_foreign_row(tmp_path: Path) -> None:
    stray = [point(350, "PASS", 500.0, "ladder"), point(400, "FAIL", 500.0, "ladder")]
    points = {"stranger": ladder_points(800.0, 300) + stray, "drain": [point(1000, "PASS", 200.0, "ladder")]}
    *_, prose = publish_foreign([store(tmp_path / "results", facts(), points)], tmp_path)
    assert "carries more than 2.50 times the sessions" in prose.read_text("utf-8")


def test_costs_alone_are_said_where_no_ceiling_is_known(tmp_path: Path) -> None:
    points = {"stranger": [point(200, "PASS", 800.0, "listed-1")], "drain": [point(200, "PASS", 200.0, "listed-1")]}
    run = store(tmp_path / "results", facts(), points)
    *_, prose = publish_foreign([run], tmp_path)
    assert "200 against 800 µs at the same 200 sessions" in prose.read_text("utf-8")


def test_the_page_has_the_tables_that_run_the_foreign_rows_again(tmp_path: Path) -> None:
    points = {"stranger": ladder_points(800.0, 300), "drain": ladder_points(200.0, 1200)}
    *_, prose = publish_foreign([store(tmp_path / "results", facts(), points)], tmp_path)
    _, _, rest = prose.read_text(encoding="utf-8").partition("```toml\n")
    table = tomllib.loads(rest.partition("```")[0])["foreign"]["stranger"]
    assert Foreign(**table) == STRANGER


def test_runs_that_cannot_be_published_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give their folders"):
        publish_foreign([], tmp_path)
    lone = store(tmp_path / "lone", facts(), {"drain": ladder_points(200.0, 1200)})
    with pytest.raises(ConfigError, match="expected points of foreign rows and of ours"):
        publish_foreign([lone], tmp_path)
    points = {"stranger": ladder_points(800.0, 300), "drain": ladder_points(200.0, 1200)}
    with pytest.raises(ConfigError, match="expected finished runs"):
        publish_foreign([store(tmp_path / "cut", facts(), points, finished=False)], tmp_path)


def test_the_page_is_what_the_evidence_gives(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "notebooks/findings/foreign", tmp_path / "notebooks/findings/foreign")
    *_, prose = publish_foreign([], tmp_path)
    assert prose.read_bytes() == (CHECKOUT / prose.relative_to(tmp_path)).read_bytes()
