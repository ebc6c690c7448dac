"""A bisection asks what it was asked, runs real servers on real releases, and writes a page that says so."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from experiment.ask import Config, ConfigError, load_config
from experiment.run import Display
from experiment.setup import SetupError, read_json
from profiles.bisect.page import answer, command, lines, page
from profiles.bisect.question import Asked, pose
from profiles.bisect.run import EVIDENCE, cost_plan, run_bisect

GRANIAN = Asked("granian", "2.8.6", "2.8.7", cell="2.8.0 GIL")


def evidence(**more: Any) -> dict[str, Any]:
    one: dict[str, Any] = {"interpreter": {"tag": "3.14.7t", "marks": ""}, "refused": None, "ended": True, "pairs": []}
    asked = {"package": "granian", "oldest": "2.7.4", "newest": "2.8.7", "pythons": None, "cell": "2.7.4"}
    return {
        "asked": {**asked, "cost": None, "variant": None},
        "subject": "granian, cell 2.7.4 of [cliff.cells]: does it stall?",
        "candidates": ["2.7.4", "2.8.0", "2.8.1", "2.8.7"],
        "settings": {"error": 0.001, "cost_error": 0.01},
        "machine": {"cpus": 2, "cpu_model": "a CPU", "kernel": "6.1"},
        "started": "2026-11-26T19:00:00+00:00",
        "looked_at": {
            "2.7.4": {**one, "decision": "changed", "stalls": 4, "frames": 40_000},
            "2.8.7": {**one, "decision": "unchanged", "stalls": 0, "frames": 202_000},
            "2.8.0": {**one, "decision": "changed", "stalls": 3, "frames": 30_000},
            "2.8.1": {**one, "decision": "unchanged", "stalls": 0, "frames": 202_000},
        },
        "change": {"before": "2.8.0", "after": "2.8.1"},
        "nothing": None,
        "seconds": 150.0,
        **more,
    }


def test_the_page_names_the_two_neighbours_the_evidence_and_how_to_see_it_again() -> None:
    text = page(evidence(), command(evidence()["asked"]))
    assert text.startswith("# granian changed it between 2.8.0 and 2.8.1.\n")
    assert "4 of 4 candidates looked at, 474,000 frames, 2.5 min." in text
    assert 'make bisect PACKAGE="granian" FROM="2.7.4" TO="2.8.7" CELL="2.7.4"' in text
    assert [line[0] for line in lines(evidence())] == ["2.7.4", "2.8.0", "2.8.1", "2.8.7"]
    assert lines(evidence())[1][2:] == ["stalls", "3 stalls in 30,000 frames"]
    none = evidence(change=None, nothing="2.7.4 and 2.8.7 are alike: changed")
    assert answer(none) == "No change was found: 2.7.4 and 2.8.7 are alike: changed."


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(), "expected PACKAGE, FROM and TO, or at least two PYTHONS in order"),
        (Asked(pythons=("3.14",)), "at least two PYTHONS"),
        (Asked(pythons=("3.14", "3.14")), "PYTHONS: expected every interpreter once"),
        (Asked("granian"), "expected two versions, FROM the older and TO the newer"),
        (Asked("granian", "2.8.1", "2.8.1"), "expected two versions"),
        (Asked("granian", "2.7.4", "2.8.7", pythons=("3.14", "3.14t")), "one thing is bisected at a time"),
        (Asked(pythons=("3.14", "3.14t"), oldest="2.7.4"), "FROM and TO are versions of a PACKAGE"),
        (replace(GRANIAN, cell="nosuch"), "CELL: expected one of 2.7.4, 2.8.0"),
        (replace(GRANIAN, cost=1.05), "COST: expected a ratio such as 1.05"),
        (replace(GRANIAN, cell=None, cost=1.0), "COST: expected a ratio such as 1.05"),
        (Asked(pythons=("3.14", "3.14t"), cost=1.05, variant="nosuch"), "unknown variant 'nosuch'"),
    ],
)
def test_a_wrong_question_says_what_was_expected(asked: Asked, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pose(load_config(), asked, lambda _: None)
    assert said in str(caught.value)


def test_interpreters_are_candidates_in_the_order_that_they_are_given() -> None:
    question = pose(load_config(), Asked(pythons=("3.15t", "3.14t", "3.13t"), cost=0.95), lambda _: None)
    assert question.labels == ["3.15t", "3.14t", "3.13t"]
    assert [cost_plan(load_config(), question, each).build.python for each in question.candidates] == question.labels
    assert "CPython, row gil: does it cost 0.95 × 3.15t? 3 candidates" in question.announce(33)


def test_two_builds_of_one_version_are_two_candidates(here: str, tmp_path: Path) -> None:
    other = tmp_path / "bin" / "python3"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\n{here} "$@" | sed "s#{here}#{other}#g"\n')
    other.chmod(0o755)
    question = pose(load_config(), Asked(pythons=(here, str(other)), cost=1.05), lambda _: None)
    version = sys.version.split()[0]
    assert question.labels == [version, f"{version}-2"]


@pytest.fixture
def here() -> str:
    """The Python of this test, where rows run on it."""
    if sys.version_info < (3, 13):
        pytest.skip("rows run on CPython 3.13 and newer")
    return str(Path(getattr(sys, "_base_executable", sys.executable)))


def quickly(config: Config) -> Config:
    assert config.bisect is not None
    return config.model_copy(update={"bisect": config.bisect.model_copy(update={"error": 0.4, "most_s": 20})})


def test_two_releases_that_do_not_stall_are_alike_and_a_bisection_is_taken_up_again(here: str, tmp_path: Path) -> None:
    config = quickly(load_config())
    try:
        question = pose(config, replace(GRANIAN, pythons=(here,)), print)
    except SetupError as error:
        pytest.skip(error.reason)
    assert question.labels == ["2.8.6", "2.8.7"]

    def bisect(resumed: Path | None = None) -> tuple[Path, dict[str, Any]]:
        with Display() as display:
            folder = anyio.run(run_bisect, config, question, tmp_path, display, resumed)
        return folder.path, read_json(folder.path / EVIDENCE) or {}

    folder, found = bisect()
    assert (found["change"], found["nothing"]) == (None, "2.8.6 and 2.8.7 are alike: unchanged")
    needed = question.stalls.frames_if_sound
    for label, one in found["looked_at"].items():
        assert (one["decision"], one["stalls"]) == ("unchanged", 0)
        assert one["frames"] >= needed
        assert one["interpreter"]["packages"]["granian"] == label
        assert one["interpreter"]["version"] == sys.version.split()[0]
    assert found["looked_at"].keys() == {"2.8.6", "2.8.7"}
    again, same = bisect(folder)
    assert (again, same["looked_at"]) == (folder, found["looked_at"])
    assert Asked.of(found) == question.asked
