"""Reports that can be attached: complete, and silent about whose machine it was."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from experiment.ask.schema import ConfigError
from experiment.setup import CHECKOUT, write_json
from profiles.report import anonymous, report
from tests.experiment import invented
from tests.profiles.bisect.test_bisect import evidence as bisect_evidence
from tests.profiles.cliff.test_cliff import FINDING, evidence
from tests.profiles.collector.test_collector import evidence as collector_evidence
from tests.profiles.collector.test_collector import point as collector_point

ASK: dict[str, Any] = {
    "verb": "compare",
    "variants": ["gil", "mt"],
    "shapes": ["cpuset-1"],
    "timing": "quick",
    "sessions": "200",
    "harness": None,
}


def _names(archive: Path) -> set[str]:
    return {name.removeprefix("report/") for name in zipfile.ZipFile(archive).namelist()}


def test_of_a_comparison(tmp_path: Path) -> None:
    rows = {"gil": "cpuset-1", "mt": "cpuset-1"}
    facts = {**invented.manifest(rows), "ask": ASK}
    run = invented.store(tmp_path, facts, {name: invented.ladder_points(2000, 500) for name in rows})
    folder, archive = report(run)
    assert {"report.md", "capacity.csv", "latency.svg", "latency.png", "rows.svg", "rows.png"} <= _names(archive)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "    make compare VARIANTS=gil,mt SHAPE=cpuset-1 TIMING=quick SESSIONS=200" in text
    assert "granian 2.8.7" in text
    assert "cpu_model: Invented" in text
    report(run)  # again: it replaces its own


def test_of_the_cliff(tmp_path: Path) -> None:
    write_json(tmp_path / "cliff.json", evidence())
    folder, archive = report(tmp_path)
    assert {"report.md", "cliff.json", "cliff-rates.png", "cliff-rates.svg", "lost_wakeup.py"} <= _names(archive)
    assert "secret" not in (folder / "cliff.json").read_text(encoding="utf-8")


def test_of_a_bisection(tmp_path: Path) -> None:
    found = bisect_evidence(finished=True, command="make bisect PYTHONS=/opt/mine/bin/python3,3.14", environment={})
    write_json(tmp_path / "bisect.json", {**found, "machine": {**found["machine"], "hostname": "secret"}})
    folder, archive = report(tmp_path)
    assert {"report.md", "bisect.json", "lost_wakeup.py"} == _names(archive)
    assert "secret" not in (folder / "bisect.json").read_text(encoding="utf-8")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# granian changed it between 2.8.0 and 2.8.1.")
    assert "    make bisect PYTHONS=…/python3,3.14" in text
    write_json(tmp_path / "bisect.json", bisect_evidence(finished=False))
    with pytest.raises(ConfigError, match="expected a finished bisection"):
        report(tmp_path)


def test_how_to_run_it_again_names_what_was_laid_over_and_the_interpreters(tmp_path: Path) -> None:
    ask = {**ASK, "variants": ["gil", "mt+dist/x.whl"], "pythons": ["3.14t", "/opt/mine/bin/python3"]}
    ask |= {"overlay": ["uvloop==0.22.1", "h2==4.3.0"], "rounds": 2, "receive": "sender"}
    rows = {"gil": "cpuset-1", "mt": "cpuset-1"}
    facts = {**invented.manifest(rows), "ask": ask}
    folder, _ = report(invented.store(tmp_path, facts, {name: invented.ladder_points(2000, 500) for name in rows}))
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "VARIANTS=gil,mt+dist/x.whl SHAPE=cpuset-1" in text
    assert 'ROUNDS=2 RECEIVE=sender PYTHONS=3.14t,…/python3 WITH="uvloop==0.22.1 h2==4.3.0"' in text


def test_of_the_collector(tmp_path: Path) -> None:
    found = collector_evidence()
    for row in ("gil", "mt"):
        hottest = {"stacks": [["run (app.py)", 1.0]]}
        found["points"].append(collector_point("stacks", row, 120.0, look="stacks", hottest=hottest))
        place = tmp_path / "points" / f"stacks-{row}" / "600-1"
        place.mkdir(parents=True)
        (place / "stacks.txt").write_text(f"worker 7;run (app.py);{row} (app.py) 5\n", encoding="utf-8")
        (place / "stacks.html").write_text("<p>flames</p>", encoding="utf-8")
        (place / "wall.txt").write_text(f"worker 7;run (app.py);{row} (app.py) [off CPU] 9\n", encoding="utf-8")
    write_json(tmp_path / "collector.json", found)
    folder, archive = report(tmp_path)
    written = {"report.md", "collector.json", "held_by_its_maker.py", "gil.html", "mt.html", "mt-less-gil.html"}
    assert written | {"collector-chain-600.png", "mt.txt", "mt-wall.txt", "mt-wall-less-gil.html"} <= _names(archive)
    assert "secret" not in (folder / "collector.json").read_text(encoding="utf-8")
    assert '"b":1.0' in (folder / "mt-less-gil.html").read_text(encoding="utf-8")


def test_of_some_of_the_collectors_sets(tmp_path: Path) -> None:
    found = collector_evidence()
    found["settings"]["sets"] = {"py-spy": {"about": "by py-spy", "rows": ["gil"], "sessions": [600], "rounds": 1}}
    hottest = {"stacks": [["run (app.py)", 0.5]]}
    found["points"], found["reproduced"] = [collector_point("py-spy", "gil", 120.0, look="py-spy", hottest=hottest)], []
    place = tmp_path / "points" / "py-spy-gil" / "600-1"
    place.mkdir(parents=True)
    (place / "stacks.html").write_text("<p>flames</p>", encoding="utf-8")
    write_json(tmp_path / "collector.json", found)
    folder, archive = report(tmp_path)
    assert {"report.md", "gil-py-spy.html"} <= _names(archive)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Points of `make collector SETS=py-spy`")
    assert "| gil, 600 sessions | py-spy | 100 / 120 | on CPU | `run (app.py)` 50% |" in text


def test_of_a_profile(tmp_path: Path) -> None:
    place = tmp_path / "profile"
    place.mkdir()
    (place / "stacks.html").write_text(f"<p>{CHECKOUT}/gateway/session.py</p>", encoding="utf-8")
    profile = {
        "profiler": "forensics",
        "title": "mt · cpuset-1 · 200 sessions",
        "slowed": {"us_per_session_second": 2000.0, "us_per_session_second_profiled": 2200.0, "ratio": 1.1},
        "hottest": {"stacks": [["poll (selectors.py)", 0.4]]},
        "facts": {"findings": [FINDING]},
    }
    write_json(place / "profile.json", profile)
    write_json(tmp_path / "manifest.json", {**invented.manifest({"mt": "cpuset-1"}), "ask": {**ASK, "verb": "profile"}})
    folder, archive = report(tmp_path)
    assert {"stacks.html", "hottest.png", "hottest.svg", "lost_wakeup.py"} <= _names(archive)
    assert (folder / "stacks.html").read_text(encoding="utf-8") == "<p>gateway/session.py</p>"
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "× 1.10" in text
    assert "**lost wake-up**" in text
    assert "PROFILER=forensics" in text


def test_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the folder of a run"):
        report(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("in /usr/lib/python3.14/asyncio/base.py:7", "in …/base.py:7"),
        (f"{CHECKOUT}/gateway/session.py", "gateway/session.py"),
        ("p50/p95 and https://www.w3.org/2000/svg </g>", "p50/p95 and https://www.w3.org/2000/svg </g>"),
        ("asyncio/base_events.py", "asyncio/base_events.py"),
    ],
)
def test_absolute_paths_go(before: str, after: str) -> None:
    assert anonymous(before) == after
