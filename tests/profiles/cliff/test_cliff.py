"""What the cliff's evidence is said to mean; the committed page and pictures are what the committed evidence gives."""

from pathlib import Path
from typing import Any

import pytest

from experiment.ask.config import load_config
from experiment.ask.schema import ConfigError
from experiment.setup import CHECKOUT, write_json
from experiment.store.runs import read_run
from profiles.__main__ import GENERATED
from profiles.cliff import hazard
from profiles.cliff.evidence import EVIDENCE, compact, keep, read_evidence
from profiles.cliff.figures import draw_all
from profiles.cliff.gap import take_apart
from profiles.cliff.page import page, point_lines
from profiles.cliff.rates import cell_rates, lives, verdict
from profiles.cliff.run import _taken_up, announce, study_of
from profiles.cliff.survey import page as survey_page
from tests.experiment import invented

FINDING = {"kind": "lost wake-up", "what": "coroutine app waits for a future that is done", "stack": ["app (app.py:7)"]}


def cell(stalls: int, frames: int, **factors: Any) -> dict[str, Any]:
    lives = [[frames // (stalls + 1), True] for _ in range(stalls)] + [
        [frames - stalls * (frames // (stalls + 1)), False]
    ]
    looks = [[FINDING]] * min(stalls, 3)
    turn = {"seconds": 20.0, "frames": frames, "stalls": stalls, "lives": lives, "findings": looks}
    return {
        "factors": {"about": "invented", **factors},
        "interpreter": {"tag": "3.14.7t", "prefix": "somebody's own folder", "packages": {"granian": "2.7.4"}},
        "refused": None,
        "turns": [turn],
    }


def evidence() -> dict[str, Any]:
    point = {
        "variant": "mt-2.7.4",
        "timing": "burst",
        "shape": "cpuset-2",
        "sessions": 150,
        "refused": None,
        "interpreter": None,
        "load": {
            "frames": {"sent": 100_000, "answered": 90_000},
            "newest_ms": {"p50": 98.0, "p95": 140.0},
            "stalls": {"count": 3, "recovered": 1, "never_recovered": 2},
        },
        "failure_details": [{"session": 1, "failure": "stalled", "at_s": 9.0, "detail": ""}],
        "timeline": [[1, 150, 98.0, 140.0], [2, 148, 97.0, 141.0]],
        "findings": [FINDING],
        "sockets": [{"recv_queue_bytes": 64000}],
    }
    refused = {**cell(0, 1), "turns": [], "refused": "no wheel for it"}
    return {
        "started": "2026-11-24T04:05:06+00:00",
        "finished": True,
        "machine": {"cpus": 2, "cpu_model": "Invented", "kernel": "6.18.0-1", "hostname": "secret"},
        "settings": {
            "reference": "2.7.4",
            "clients": 4,
            "turns": 1,
            "turn_s": 20,
            "fraction": 0.1,
            "shape": "cpuset-2",
            "sessions": 150,
        },
        "cells": {
            "2.7.4": cell(20, 200_000),
            "2.8.0": cell(1, 200_000),
            "2.8.1": cell(0, 1_000_000),
            "newest": cell(0, 100_000),
            "2.7.4 uvloop": refused,
        },
        "points": [point],
    }


def test_verdicts_follow_from_counts_and_intervals() -> None:
    cells = {cell.name: cell for cell in cell_rates(evidence())}
    assert {name: found.verdict for name, found in cells.items()} == {
        "2.7.4": "affected",
        "2.8.0": "affected",
        "2.8.1": "unaffected",
        "newest": "not resolved",
    }
    assert cells["2.7.4"].ratio is None
    ratio = cells["2.8.1"].ratio
    assert ratio is not None
    assert ratio.high < 0.1
    assert (cells["2.7.4"].lost, cells["2.7.4"].looks) == (1, 3)  # three looks at one stuck task


def test_without_a_stall_in_the_reference_nothing_is_cleared() -> None:
    none = hazard.poisson_rate(0, 1e9)
    assert verdict(none, None, 0.1) == "not resolved"
    changed = evidence()
    changed["cells"]["2.7.4"] = cell(0, 10)
    assert "do not settle it" in page(changed, None, [], None)


def test_an_uncertain_reference_clears_nobody() -> None:
    """The rate's own limit is under a tenth of the reference's middle; that of their ratio is not."""
    reference, other = hazard.poisson_rate(3, 1000.0), hazard.poisson_rate(0, 12_500.0)
    assert other.high < 0.1 * reference.rate
    assert verdict(other, hazard.rate_ratio(other, reference), 0.1) == "not resolved"


def test_every_life_counts_for_survival() -> None:
    frames, stalled = lives(evidence(), "2.7.4")
    assert len(frames) == 21
    assert sum(stalled) == 20


def test_the_page_says_what_is_not_known_too() -> None:
    text = page(compact(evidence()), None, ["a.svg"], None)
    assert "Affected: 2.7.4, 2.8.0. Unaffected: 2.8.1. Not resolved: newest." in text
    assert "do not settle it" in text  # the newest version is not cleared
    assert "2.7.4 uvloop did not run: no wheel for it" in text
    assert "**lost wake-up**" in text
    assert "up to 64,000 bytes" in text
    assert "| under the lock (from 2.8.1) | 0 of " in text


def test_compact_evidence_names_no_machine() -> None:
    text = str(compact(evidence()))
    assert "somebody" not in text
    assert "secret" not in text


def test_pictures_are_drawn_in_every_format(tmp_path: Path) -> None:
    written = draw_all(evidence(), None, tmp_path, (".png", ".svg"))
    assert [path.name for path in written] == ["cliff-rates.png", "cliff-survival.png", "cliff-healthy.png"]
    assert all(path.with_suffix(".svg").stat().st_size > 1000 for path in written)


def test_only_finished_evidence_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finished `make cliff`"):
        keep(tmp_path, None, tmp_path)
    with pytest.raises(ConfigError, match="make cliff"):
        read_evidence(tmp_path)


def test_the_gap_adds_up(tmp_path: Path) -> None:
    rows = dict.fromkeys(("gil", "st-ft", "mt", "gil-picows"), "cpuset-1")
    costs = {"gil": 2000.0, "st-ft": 2100.0, "mt": 2300.0, "gil-picows": 900.0}
    points = {name: invented.ladder_points(us, 500) for name, us in costs.items()}
    gap = take_apart(read_run(invented.store(tmp_path, invented.manifest(rows), points)))
    assert gap is not None
    # The middle of three rounds costs 1.1 of what is given.
    assert [(step.before, step.after, round(step.middle)) for step in gap.steps] == [
        ("gil", "st-ft", 110),
        ("st-ft", "mt", 220),
    ]
    assert round(gap.whole.middle) == 330
    assert round(gap.unexplained) == 0
    assert "| gil → mt | the whole gap | +330" in gap.text()
    assert [(step.before, step.after) for step in gap.aside] == [("gil", "gil-picows")]


def test_without_both_rows_there_is_no_gap(tmp_path: Path) -> None:
    rows = {"gil": "cpuset-1", "st-ft": "cpuset-1"}
    points = {name: invented.ladder_points(2000, 500) for name in rows}
    assert take_apart(read_run(invented.store(tmp_path, invented.manifest(rows), points))) is None


def test_points_count_what_was_acknowledged_and_who_never_recovered() -> None:
    (line,) = point_lines(evidence())
    assert line[3:5] == ["90,000", "2"]


def test_a_point_without_an_acknowledged_frame_has_no_rate() -> None:
    changed = evidence()
    point = changed["points"][0]
    point["load"] = {"frames": {"sent": 10, "answered": 0}, "newest_ms": None, "stalls": None}
    assert point_lines(changed)[0][-1] == "no frame was acknowledged"
    assert "nothing added" not in page(changed, None, [], None)


def test_a_stall_that_an_earlier_run_saw_is_not_forgotten(tmp_path: Path) -> None:
    for started, stalls in (("2026-11-24", 3), ("2026-11-25", 0), ("2026-11-26", 0)):
        changed = evidence() | {"started": started}
        changed["cells"]["2.7.4 one core"] = cell(stalls, 500_000)
        write_json(tmp_path / "run" / EVIDENCE, changed)
        keep(tmp_path / "run", None, tmp_path)
        keep(tmp_path / "run", None, tmp_path)  # publishing twice adds nothing
    found, _ = read_evidence(tmp_path)
    assert [run["started"] for run in found["earlier"]] == ["2026-11-24", "2026-11-25"]
    text = page(found, None, [], None)
    assert text.count("2.7.4 one core did not stall this time. It did on 2026-11-24: 3 in 500,000") == 1


def test_a_cell_that_broke_off_keeps_what_it_saw() -> None:
    changed = evidence()
    changed["cells"]["2.8.0"]["refused"] = "no connection"
    text = page(changed, None, [], None)
    assert "2.8.0 ran no further: no connection" in text
    assert "2.7.4 uvloop did not run: no wheel for it" in text


def test_the_claim_looks_at_every_version_before_the_fix() -> None:
    changed = evidence()
    changed["cells"]["newest"] = cell(0, 1_000_000)
    assert "hold it up: 2.7.4 and 2.8.0 stall, 2.8.1 and newest do not" in page(changed, None, [], None)
    changed["cells"]["2.8.0"] = cell(0, 1_000_000)
    assert "do not settle it" in page(changed, None, [], None)


@pytest.mark.parametrize(("stalls", "words"), [(1, "only makes it rarer"), (18, "does not show to make it rarer")])
def test_rarer_is_said_by_the_interval(stalls: int, words: str) -> None:
    changed = evidence()
    changed["cells"]["2.7.4 one core"] = cell(stalls, 200_000)
    assert words in page(changed, None, [], None)


def test_a_plan_too_small_to_see_a_stall_says_so() -> None:
    config = load_config()
    assert config.cliff is not None
    small = config.model_copy(update={"cliff": config.cliff.model_copy(update={"turn_s": 0.5, "turns": 1})})
    assert "Nothing can be called unaffected" in announce(small, "cliff")


def test_it_says_beforehand_how_long_it_takes() -> None:
    said = announce(load_config(), "cliff")
    assert "min. To call a cell unaffected takes" in said
    assert "19 cells, 2 turns of 20 s each: about 15 min." in announce(load_config(), "survey")


def test_the_committed_page_is_what_the_committed_evidence_gives(tmp_path: Path) -> None:
    found, gap = read_evidence()
    findings = CHECKOUT / "docs" / "findings"
    pictures = draw_all(found, gap, tmp_path, (".svg",))
    flames = "flame-graphs.md" if (findings / "flame-graphs.md").exists() else None
    text = page(found, gap, [picture.name for picture in pictures], flames)
    assert (findings / "free-threaded-cliff.md").read_text(encoding="utf-8") == f"{GENERATED}\n\n{text}"


def test_a_survey_names_who_stalls_who_does_not_and_who_could_not_run() -> None:
    found = evidence()
    found["settings"]["reference"] = "granian-2.7.4"
    refused = {**cell(0, 1), "turns": [], "refused": "no wheel for it"}
    found["cells"] = {"granian-2.7.4": cell(20, 200_000), "uvicorn": cell(0, 1_000_000), "hypercorn": refused}
    said = survey_page(found)
    assert "- granian-2.7.4 stalls: 100 (" in said
    most = hazard.poisson_rate(0, 1_000_000).high * 1e6
    assert f"- unaffected: uvicorn. None stalled: less than {most:.3g} times in a million each (95 %)." in said
    assert "- hypercorn: no wheel for it" in said


def test_a_survey_is_taken_up_where_it_asked_the_same(tmp_path: Path) -> None:
    study = study_of(load_config(), "survey")
    cells = {label: {"factors": one.model_dump(), "turns": []} for label, one in list(study.cells.items())[:3]}
    settings = study.model_dump(exclude={"cells", "points"})
    write_json(tmp_path / EVIDENCE, {"settings": settings, "cells": cells})
    assert _taken_up(tmp_path, study, settings)["cells"] == cells
    with pytest.raises(ConfigError, match=r"RESUME: .* was asked something else"):
        _taken_up(tmp_path, study, {**settings, "turns": 9})
    with pytest.raises(ConfigError, match="expected the folder of an interrupted run"):
        _taken_up(tmp_path / "none", study, settings)
