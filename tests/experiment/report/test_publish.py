"""A stored run becomes files: the same from its folder and from its evidence, and never from what is not finished."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.ask.schema import ConfigError
from experiment.report.capacity import write_capacity
from experiment.report.pages.publish import publish, publish_repeats
from experiment.report.reproduce import ratios
from experiment.setup import CHECKOUT
from experiment.store.runs import read_run, runs
from tests.experiment.invented import ladder_points, manifest, store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def gil(results: Path, *, finished: bool = True) -> Path:
    facts = manifest({"gil": "cpuset-1"}, verb="ladder")
    return store(results, facts, {"gil": ladder_points(1000, 500)}, finished=finished)


@pytest.mark.parametrize("stem", ["gil-full", "reproduce", "stock-and-threads", "thread-scaling"])
def test_a_committed_page_is_what_its_committed_evidence_gives(root: Path, stem: str) -> None:
    for written in publish(CHECKOUT / f"notebooks/findings/{stem}.json", root, name=stem):
        assert written.read_bytes() == (CHECKOUT / written.relative_to(root)).read_bytes()


def test_the_committed_page_of_repeats_is_what_its_evidence_gives(root: Path) -> None:
    kept = [CHECKOUT / f"notebooks/findings/ladders-twice-{number}.json" for number in (1, 2)]
    for written in publish_repeats(kept, root, name="ladders-twice"):
        assert written.read_bytes() == (CHECKOUT / written.relative_to(root)).read_bytes()


def test_evidence_is_compact_and_gives_the_same_page_again(root: Path) -> None:
    evidence, page, picture = publish(gil(root / "results"), root)
    text = evidence.read_text(encoding="utf-8")
    assert "not kept" not in text
    before = page.read_bytes(), picture.read_bytes()
    page.unlink()
    picture.unlink()
    publish(evidence, root)
    assert (page.read_bytes(), picture.read_bytes()) == before


def test_variables_that_were_kept_by_name_stand_in_the_title(root: Path) -> None:
    facts = manifest({"gil": "cpuset-1"}) | {"environment": {"kept": {"PYTHONMALLOC": "debug"}}}
    _, page, _ = publish(store(root / "results", facts, {"gil": ladder_points(1000, 500)}), root)
    assert "# gil · cpuset-1 · receive = gateway · quick · CPython 3.14.7 · PYTHONMALLOC=debug\n" in page.read_text(
        encoding="utf-8"
    )


def test_how_fast_the_core_was_stands_under_the_points_where_it_is_known(root: Path) -> None:
    points = ladder_points(1000, 500)
    for number, one in enumerate(points):
        one["core_speed"] = {"busy_us": 7.0 + number, "after_pause_us": 13.0}
    run = store(root / "results", manifest({"gil": "cpuset-1"}, verb="ladder"), {"gil": points})
    evidence, page, _ = publish(run, root)
    said = f"took {6 + (len(points) + 1) / 2:.1f} (7.0–{6.0 + len(points):.1f}, n={len(points)}) µs busy, 13.0 ("
    assert said in page.read_text(encoding="utf-8")
    assert "core_speed" in evidence.read_text(encoding="utf-8")
    older = publish(gil(root / "older"), root, name="older")
    assert "The gateway's core" not in older[1].read_text(encoding="utf-8")


def test_evidence_keeps_what_held_the_points_from_outside(root: Path) -> None:
    points = ladder_points(1000, 500)
    outside = {
        "outer_quotas": [{"group": "/", "vcpus": 1.5, "throttled_periods": 0, "throttled_ms": 0.0}],
        "steal_share": {"0": 0.0, "1": 0.02},
    }
    for one in points:
        one |= outside
    facts = manifest({"gil": "cpuset-1"}, verb="ladder")
    machine = {"turbo": "off", "cgroup_writable": True, "cgroup_controllers": ["cpu", "cpuset"]}
    facts["machine"] |= machine
    evidence, *_ = publish(store(root / "results", facts, {"gil": points}), root)
    kept = json.loads(evidence.read_text(encoding="utf-8"))
    assert kept["manifest"]["machine"].items() >= machine.items()
    assert all(point.items() >= outside.items() for point in kept["points"]["gil"])


def test_a_compare_run_says_what_each_factor_costs(root: Path) -> None:
    points = {"gil": ladder_points(1000, 500), "st-ft": ladder_points(1200, 450)}
    run = store(root / "results", manifest({"gil": "cpuset-1", "st-ft": "cpuset-1", "mt": "cpuset-1"}), points)
    _, page, _, bars = publish(run, root)
    text = page.read_text(encoding="utf-8")
    assert page.name == "compare-3-rows-cpuset-1-quick.md"
    assert "interpreter build, gil → st-ft (CPython 3.14.7 → 3.14.7t): +220 µs (+200 to +260), × 1.200" in text
    assert "no wheel for it" in text
    assert bars.name == "compare-3-rows-cpuset-1-quick-rows.svg"


@pytest.mark.parametrize("kind", ["unfinished", "external", "no points"])
def test_what_is_no_finished_run_of_ours_is_refused(root: Path, kind: str) -> None:
    run = gil(root / "results", finished=kind != "unfinished")
    verdict = json.loads((run / "verdict.json").read_text())
    if kind == "external":
        verdict["rows"]["gil"]["external"] = True
    if kind == "no points":
        verdict["rows"]["gil"]["points"] = []
    (run / "verdict.json").write_text(json.dumps(verdict))
    with pytest.raises(ConfigError, match="expected the folder of a finished run"):
        publish(run, root)


def test_capacity_has_a_line_for_every_point(tmp_path: Path) -> None:
    table, page, picture = write_capacity(read_run(gil(tmp_path)), tmp_path)
    with table.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["sessions"] for line in lines] == ["200", "200", "200", "500", "505", "500", "505"]
    assert lines[0]["resolves_limit"] == "False"
    assert "0–123 †" in page.read_text(encoding="utf-8")
    assert "SLO 200 / 350 ms" in picture.read_text(encoding="utf-8")


def test_folders_that_are_no_runs_are_left_out_of_the_list(tmp_path: Path) -> None:
    gil(tmp_path / "results")
    old = tmp_path / "results" / "20200101-000000-old"
    old.mkdir()
    (old / "manifest.json").write_text('{"variant": {}}')
    assert [run.name for run in runs(tmp_path / "results")] == ["20261124-040506-ladder"]


def test_reproduce_gives_intervals(tmp_path: Path) -> None:
    rows = {f"{name}@quota-1": "quota-1" for name in ("pub-gil", "pub-mt", "gil", "mt")}
    points = {"pub-gil@quota-1": ladder_points(1, 1000), "pub-mt@quota-1": ladder_points(1, 200)}
    run = read_run(store(tmp_path, manifest(rows, verb="reproduce"), points))
    assert ratios(run) == ["pub-gil : pub-mt at quota-1: 4.88–5.03"]


def test_every_notebook_runs_without_a_browser(root: Path) -> None:
    evidence, *_ = publish(gil(root / "results"), root)
    command = [sys.executable, "-m", "experiment", "notebooks", "--run", str(evidence), "--results", str(root)]
    environment = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    executed = (root / "notebooks" / "capacity.ipynb").read_text(encoding="utf-8")
    assert "confirmed 500 ↔ solid fail 505" in executed
    assert "<svg" in executed


def test_notebooks_are_committed_without_outputs() -> None:
    for path in (CHECKOUT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells), path.name


def test_repeats_say_whether_their_brackets_overlap(root: Path) -> None:
    rows = {"gil": "cpuset-1", "mt": "cpuset-1"}
    tops = ({"gil": 500, "mt": 400}, {"gil": 502, "mt": 450})
    paths = [
        store(root / "results", manifest(rows), {name: ladder_points(1000, top) for name, top in run.items()})
        for run in tops
    ]
    written = publish_repeats(paths, root, "twice")
    assert [path.name for path in written] == ["twice-1.json", "twice-1.svg", "twice-2.json", "twice-2.svg", "twice.md"]
    page = written[-1].read_text(encoding="utf-8")
    assert "- gil: confirmed 500 ↔ solid fail 505, confirmed 502 ↔ solid fail 507: they overlap (502–505)." in page
    assert "- mt: confirmed 400 ↔ solid fail 405, confirmed 450 ↔ solid fail 455: they do not overlap (450" in page
    assert "\n## 2 rows" in page
    with pytest.raises(ConfigError, match="expected finished runs"):
        publish_repeats([paths[0], gil(root / "others", finished=False)], root)
