"""README's first screen and the index of findings: what the kept evidence gives, and what a tired reader can read."""

import re
import shutil
from pathlib import Path

import pytest

from experiment.ask import ConfigError
from experiment.report.pages.front import bars, caption
from experiment.report.pages.publish import publish_front
from experiment.setup import CHECKOUT
from experiment.store import read_run
from tests.experiment.invented import ladder_points, manifest, store

FIGURE = re.compile(r"(?<![\w.-])\d[\d.]*(?![\w-])")
"""A number that stands for itself: not a part of a row's name."""
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def sentences() -> list[str]:
    """The findings: the list above the README's first heading."""
    front, _, _ = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("\n## ")
    return [line for line in front.splitlines() if line.startswith("- ")]


def test_the_front_page_and_the_index_are_what_the_evidence_gives(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "notebooks/findings", tmp_path / "notebooks/findings")
    shutil.copy(CHECKOUT / "README.md", tmp_path)
    (tmp_path / "docs").mkdir()
    written = publish_front(tmp_path)
    assert [path.name for path in written] == ["front.svg", "README.md", "README.md"]
    for path in written:
        assert path.read_bytes() == (CHECKOUT / path.relative_to(tmp_path)).read_bytes()


def test_the_picture_is_of_one_run_with_all_in_costs_where_they_are_known(tmp_path: Path) -> None:
    facts = manifest({"gil": "cpuset-1", "drain": "cpuset-1"})
    points = {"gil": ladder_points(1000.0, 400), "drain": ladder_points(150.0, 400)}
    for point in points["drain"]:
        point["gateway"]["all_in_us_per_session_second"] = 250.0
    run = read_run(store(tmp_path / "run", facts, points))
    drain, gil = bars(run)
    assert (drain.name, drain.cost.median, gil.name, gil.all_in) == ("drain", 165.0, "gil", None)
    assert drain.all_in is not None
    assert drain.all_in.median == 250.0
    assert "One run, begun 2026-11-24 04:05" in caption(run)
    two = manifest({"gil": "cpuset-1", "drain": "quota-1"})
    with pytest.raises(ConfigError, match="one shape"):
        bars(read_run(store(tmp_path / "two", two, points)))


def test_there_are_six_findings() -> None:
    assert len(sentences()) == 6


@pytest.mark.parametrize("sentence", sentences())
def test_a_finding_is_one_plain_sentence(sentence: str) -> None:
    said = LINK.sub(r"\1", sentence.removeprefix("- "))
    assert len(said) <= 200
    assert len(FIGURE.findall(said)) <= 2
    assert "(" not in said
    assert len(LINK.findall(sentence)) == 1


def test_every_page_of_findings_is_in_the_index() -> None:
    index = (CHECKOUT / "docs/README.md").read_text(encoding="utf-8")
    for page in (CHECKOUT / "docs/findings").glob("*.md"):
        assert f"](findings/{page.name})" in index
