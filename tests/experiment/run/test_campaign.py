"""A campaign's rows in turn, its refusals, and taking it up again, with the measuring left out."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from experiment.ask import Ask, asked, shapes
from experiment.ask.config import load_config
from experiment.ask.plan import Plan
from experiment.ask.schema import ConfigError
from experiment.host import ShapeRefused
from experiment.run import launch, runner
from experiment.run.campaign import make_campaign
from experiment.run.harness import HarnessCosts
from experiment.run.launch import Launch
from experiment.run.progress import Display, Stage
from experiment.setup import Environment, Interpreter, NotOnInterpreter, SetupError, write_json
from experiment.store.folders import PointFolder
from experiment.store.runs import StoredRun, read_run
from tests.experiment.invented import interpreter, point

Verdict = Callable[[str, int], str]
CONFIG = load_config()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Points in the order they were run; a test replaces `verdict` through `measure`."""
    order: list[tuple[str, int]] = []
    monkeypatch.setattr("experiment.ask.plan.usable_cpus", lambda: frozenset(os.sched_getaffinity(0)) | {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(runner, "contents", lambda _: {"packages": {}})
    monkeypatch.setattr(
        runner, "prepare", lambda plan, _: (Launch(plan.variant, None, None), interpreter(plan.variant.interpreter))
    )

    async def conform(*_: Any) -> str:
        return "conforms"

    monkeypatch.setattr(runner, "conform", conform)
    measure(monkeypatch, order, lambda _, sessions: "PASS" if sessions <= 300 else "FAIL")
    return order


def measure(monkeypatch: pytest.MonkeyPatch, order: list[tuple[str, int]], verdict: Verdict) -> None:
    ran: list[tuple[str, Path]] = []

    async def run_point(
        _: Any,
        plan: Plan,
        __: Any,
        sessions: int,
        folder: PointFolder,
        stage: Stage,
        costs: HarnessCosts | None = None,
    ) -> dict[str, Any]:
        # A row's probe and its first point know nothing; later ones know what the one before them cost the harness.
        assert costs == (HarnessCosts(321.0, 321.0) if ran.count((plan.variant_name, folder.path.parents[2])) else None)
        if folder.path.parent.parent.name == "points":
            ran.append((plan.variant_name, folder.path.parents[2]))
        summary = point(sessions, verdict(plan.variant_name, sessions), 1000, "")
        used = {"cpu_us": sessions * 10 * 321.0, "wall_s": 10.0}
        summary["window"] = {"loadgen": used, "simulator": used}
        write_json(folder.summary, summary)
        order.append((plan.variant_name, sessions))
        return summary

    monkeypatch.setattr(runner, "run_point", run_point)


def ask(*variants: str, ladder: str = "no", rounds: int = 1, **more: Any) -> Ask:
    return Ask("compare", variants, ("cpuset-1",), "smoke", ladder=ladder, rounds=rounds, **more)


def carry_out(results: Path, wanted: Ask, resumed: Path | None = None) -> StoredRun:
    campaign = make_campaign(CONFIG, wanted, results)
    return read_run(anyio.run(runner.run_campaign, campaign, Display(), resumed))


def test_rows_take_points_in_turn_each_round_beginning_one_further(
    tmp_path: Path, taken: list[tuple[str, int]]
) -> None:
    run = carry_out(tmp_path, ask("gil", "gil-h1", "mt", sessions=(200,), rounds=3))
    names = [name for name, _ in taken]
    assert names == ["gil", "gil-h1", "mt", "gil-h1", "mt", "gil", "mt", "gil", "gil-h1"]
    assert run.finished
    assert [one.purpose for one in run.rows[1].points] == ["listed-1", "listed-2", "listed-3"]


def test_after_the_costs_every_row_climbs_its_own_ladder(tmp_path: Path, taken: list[tuple[str, int]]) -> None:
    run = carry_out(tmp_path, ask("gil", "mt", sessions=(200,), rounds=2, ladder="confirm"))
    for row in run.rows:
        assert str(row.bracket).startswith("confirmed ")
        assert " ↔ solid fail " in str(row.bracket)
        assert row.verdict["ended"] == "the edge is found"


def test_a_row_is_stored_with_the_factors_that_ran_and_what_was_asked_beside(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(sys.executable)

    def ensure(environment: str, asked: str, **_: Any) -> Environment:
        free = asked.endswith("t")
        if free and environment == "granian":
            raise NotOnInterpreter("granian is not on 3.13t: granian==1 has no wheel for it")
        version = "3.13.5" if free else "3.14.7"
        found = Interpreter(asked, str(here), version, free_threaded=free, stand_in=free, source="already there")
        return Environment(environment, here, found)

    monkeypatch.setattr(launch, "ensure", ensure)
    monkeypatch.setattr(runner, "prepare", launch.prepare)
    gil, mt, st_ft = (row.facts for row in carry_out(tmp_path, ask("gil", "mt", "st-ft", sessions=(200,))).rows)
    assert [mt["variant"][name] for name in ("interpreter", "environment", "loop")] == [
        "3.13t",
        "granian-3.13t",
        "asyncio",
    ]
    assert mt["asked"] == {"interpreter": "3.14t", "environment": "granian", "loop": "uvloop"}
    assert (mt["interpreter"]["tag"], mt["interpreter"]["requested"]) == ("3.13.5t", "3.14t")
    # A row that ran as asked, and one that did not run at all.
    assert (gil["variant"], gil["asked"]) == ({"name": "gil", **CONFIG.variants["gil"].model_dump()}, None)
    assert (st_ft["variant"]["interpreter"], st_ft["asked"], st_ft["interpreter"]) == ("3.14t", None, None)


def test_a_row_that_cannot_run_is_stored_with_its_reason(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(plan: Any, _: Any) -> Any:
        if plan.variant.interpreter == "3.14t":
            raise SetupError("CPython 3.14t is not to be had")
        return Launch(plan.variant, None, None), interpreter(plan.variant.interpreter)

    monkeypatch.setattr(runner, "prepare", prepare)
    run = carry_out(tmp_path, ask("gil", "mt", sessions=(200,)))
    assert [row.refused is None for row in run.rows] == [True, False]
    assert "CPython 3.14t is not to be had" in str(run.rows[1].refused)
    with pytest.raises(SetupError):
        carry_out(tmp_path, ask("mt", sessions=(200,)))


def test_an_interrupted_run_is_taken_up_again(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str, sessions: int) -> str:
        if len(taken) == 3:
            raise KeyboardInterrupt
        return "PASS"

    wanted = ask("gil", "mt", sessions=(100, 200), rounds=2)
    with monkeypatch.context() as patched:
        measure(patched, taken, interrupt)
        with pytest.raises(KeyboardInterrupt):
            carry_out(tmp_path, wanted)
    (folder,) = tmp_path.glob("2*")
    assert not read_run(folder).finished
    assert asked(folder) == wanted
    run = carry_out(tmp_path, asked(folder), folder)
    assert run.finished
    assert len(taken) == 8
    assert [one.sessions for one in run.rows[0].points] == [100, 200, 100, 200]


def test_a_ladder_begins_where_a_probe_says_also_when_it_is_taken_up_again(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str, sessions: int) -> str:
        if len(taken) == 2:
            raise KeyboardInterrupt
        return "PASS" if sessions <= 600 else "FAIL"

    wanted = Ask("ladder", ("gil",), ("cpuset-1",), "smoke")
    measure(monkeypatch, taken, interrupt)
    with pytest.raises(KeyboardInterrupt):
        carry_out(tmp_path, wanted)
    assert taken == [("gil", 40), ("gil", 500)]  # 1000 µs at 40 sessions: half of the 1000 that fill a vCPU
    (folder,) = tmp_path.glob("2*")
    measure(monkeypatch, taken, lambda _, sessions: "PASS" if sessions <= 600 else "FAIL")
    (row,) = carry_out(tmp_path, wanted, folder).rows
    assert [each.sessions for each in row.points][:2] == [500, 750]
    assert taken.count(("gil", 40)) == 1
    assert row.verdict["probe"] == {
        "sessions": 40,
        "status": "PASS",
        "us_per_session_second": 1000,
        "first_rung": 500,
    }


def test_start_says_it_instead_and_a_first_listed_point_is_as_good_as_a_probe(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(monkeypatch, taken, lambda _, sessions: "PASS" if sessions <= 600 else "FAIL")
    carry_out(tmp_path / "start", Ask("ladder", ("gil",), ("cpuset-1",), "smoke", start=70))
    assert taken[0] == ("gil", 70)
    taken.clear()
    carry_out(tmp_path / "listed", ask("gil", sessions=(200,), ladder="confirm"))
    assert taken[:3] == [("gil", 200), ("gil", 500), ("gil", 750)]
    taken.clear()
    carry_out(tmp_path / "both", ask("gil", sessions=(200,), ladder="confirm", start=300))
    assert taken[:3] == [("gil", 200), ("gil", 300), ("gil", 450)]


def test_variables_kept_by_name_are_recorded_and_another_value_cannot_take_the_run_up(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ask("gil", sessions=(200,), keep_env=("PYTHONMALLOC",))
    monkeypatch.setenv("PYTHONMALLOC", "mimalloc")
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    run = carry_out(tmp_path, wanted)
    assert run.manifest["environment"]["kept"] == {"PYTHONMALLOC": "mimalloc"}
    assert "PYTHONASYNCIODEBUG" in run.manifest["environment"]["dropped"]
    assert "PATH" in run.manifest["environment"]["passed"]
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    with pytest.raises(ConfigError, match="environment PYTHONMALLOC: was 'mimalloc', is 'malloc'"):
        carry_out(tmp_path, wanted, tmp_path / run.name)
    monkeypatch.delenv("PYTHONMALLOC")
    with pytest.raises(ConfigError, match="KEEP_ENV: expected variables that are set, PYTHONMALLOC is not"):
        carry_out(tmp_path, wanted)


def test_another_plan_or_interpreter_cannot_take_it_up(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = carry_out(tmp_path, ask("gil", sessions=(200,)))
    with pytest.raises(ConfigError, match="ask: has changed"):
        carry_out(tmp_path, ask("gil", sessions=(300,)), tmp_path / run.name)
    monkeypatch.setattr(
        runner, "prepare", lambda plan, _: (Launch(plan.variant, None, None), interpreter(version="3.14.9"))
    )
    with pytest.raises(ConfigError, match=r"row gil interpreter version: was '3\.14\.7', is '3\.14\.9'"):
        carry_out(tmp_path, ask("gil", sessions=(200,)), tmp_path / run.name)


def test_several_shapes_make_rows_of_every_pair(taken: list[tuple[str, int]], tmp_path: Path) -> None:
    wanted = Ask("compare", ("gil", "mt"), ("quota-0.5", "quota-0.25"), "smoke", ladder="confirm")
    campaign = make_campaign(CONFIG, wanted, tmp_path)
    assert [row.label for row in campaign.rows] == ["gil@quota-0.5", "mt@quota-0.5", "gil@quota-0.25", "mt@quota-0.25"]
    starts = [search.ladder.start for search in campaign.searches.values() if search.ladder]
    assert starts == [100, 100, 50, 50]
    low, high, most = campaign.seconds()
    assert 0 < low <= high <= most


def test_a_shape_that_is_refused_ends_its_row_only(
    taken: list[tuple[str, int]], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("experiment.ask.plan.usable_cpus", lambda: frozenset({0, 1}))
    campaign = make_campaign(CONFIG, Ask("compare", ("gil",), ("cpuset-1", "cpuset-2"), "smoke"), tmp_path)
    assert [row.refused is None for row in campaign.rows] == [True, False]
    with pytest.raises(ShapeRefused):
        make_campaign(CONFIG, Ask("experiment", ("gil",), ("cpuset-2",), "smoke"), tmp_path)
    with pytest.raises(ConfigError, match="unknown shape"):
        make_campaign(CONFIG, Ask("compare", ("gil", "mt"), ("nosuch",), "smoke"), tmp_path)


@pytest.mark.parametrize(("cores", "wide"), [(2, False), (8, True)])
def test_reproduce_says_when_something_stands_in(monkeypatch: pytest.MonkeyPatch, cores: int, wide: bool) -> None:
    monkeypatch.setattr("experiment.ask.reproduce.usable_cpus", lambda: frozenset(range(cores)))
    wanted, said = shapes(CONFIG)
    assert ("quota-2" in wanted) == wide
    assert ("stands in for 2 vCPU : 1" in said) == (not wide)
