"""README's first screen and the index of findings: what the kept evidence gives, and what a tired reader can read."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize("unlike", [{}, {"contract": 2}, {"machine": {"cpu_model": "Another"}}])
def test_only_what_one_machine_measured_by_one_contract_stands_in_one_picture(
    tmp_path: Path, unlike: dict[str, Any]
) -> None:
    runs = []
    for name, changed in (("gil", unlike), ("drain", {})):
        facts = manifest({name: "cpuset-1"})
        facts |= {key: facts[key] | value if key == "machine" else value for key, value in changed.items()}
        runs.append(read_run(store(tmp_path / name, facts, {name: ladder_points(1000.0, 400)})))
    assert {bar.name for bar in bars(*runs)} == ({"gil"} if unlike else {"gil", "drain"})
    assert ("Orange" in caption(*runs)) == (not unlike)


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
