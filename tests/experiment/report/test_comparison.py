"""Ratios round by round, one factor at a time, and runs that may not stand in one table."""

from pathlib import Path
from typing import Any

import pytest

from experiment.ask.schema import ConfigError
from experiment.report.comparison import compare
from experiment.report.costs import Spread, carried, factor, neighbours
from experiment.store.evidence import write_evidence
from experiment.store.merge import differences
from experiment.store.runs import read_run
from experiment.terms import Bracket
from tests.experiment.invented import interpreter, ladder_points, manifest, store

ROWS = dict.fromkeys(("gil", "gil-h1", "st-ft", "mt", "gil-picows", "threads-uvloop", "threads"), "cpuset-1")


def test_drift_cancels_in_ratios_of_a_round(tmp_path: Path) -> None:
    points = {"gil": ladder_points(1000, 500), "mt": ladder_points(1500, 400)}
    rows = {"gil": "cpuset-1", "mt": "cpuset-1", "threads": "cpuset-1"}
    known = compare([read_run(store(tmp_path, manifest(rows), points))])
    assert known.sessions == 200
    gil, mt, threads = known.lines()
    assert gil[2:6] == ("1100 (1000–1300, n=3)", "1", "confirmed 500 ↔ solid fail 505", "1")
    assert mt[1:4] == ("3.14.7t", "1650 (1500–1950, n=3)", "1.500 (1.500–1.500, n=3)")
    assert mt[5] == "0.79–0.81"
    assert threads[-1] == "no wheel for it"


def with_itself(tmp_path: Path, again: list[float], other_us: float) -> list[tuple[str, ...]]:
    """Lines of gil, of itself again with rounds at these multiples of its cost, and of gil-h1."""
    known = manifest(dict.fromkeys(("gil", "gil-h1"), "cpuset-1"))
    gil, h1 = known["rows"]["gil"], known["rows"]["gil-h1"]
    known["rows"] = {"gil": gil, "gil-again": {**gil, "again_of": "gil"}, "gil-h1": h1}
    points = {name: ladder_points(us, 500) for name, us in (("gil", 1000), ("gil-again", 1000), ("gil-h1", other_us))}
    for times, point in zip(again, points["gil-again"], strict=False):
        point["gateway"]["us_per_session_second"] *= times
    return compare([read_run(store(tmp_path, known, points))]).lines()


def test_no_difference_is_called_one_inside_the_reach_of_a_row_beside_itself(tmp_path: Path) -> None:
    gil, again, h1 = with_itself(tmp_path, [1.0, 1.05, 0.98], 1040)
    assert gil[3] == "1"
    assert again[3] == "1.000 (0.980–1.050, n=3)"
    assert "A/A: gil again" in again[-1]
    # 1 / 1.05 is the lower end: which of the two came first says nothing.
    assert h1[3] == "1.040 (1.040–1.040, n=3); A/A 0.952–1.050; not told apart"


def test_a_ratio_outside_that_reach_is_a_difference(tmp_path: Path) -> None:
    h1 = with_itself(tmp_path, [1.0, 1.05, 0.98], 900)[2]
    assert h1[3] == "0.900 (0.900–0.900, n=3); A/A 0.952–1.050"


def test_an_invalid_round_is_left_out(tmp_path: Path) -> None:
    points = {"gil": ladder_points(1000, 500), "gil-h1": ladder_points(900, 500)}
    points["gil-h1"][1]["status"] = "INVALID"
    rows = {"gil": "cpuset-1", "gil-h1": "cpuset-1"}
    known = compare([read_run(store(tmp_path, manifest(rows), points))])
    assert known.lines()[1][3] == "0.900 (0.900–0.900, n=2)"


def test_a_cost_that_was_taken_at_a_fail_says_so(tmp_path: Path) -> None:
    points = {"gil": ladder_points(1000, 500), "mt": ladder_points(900, 150)}
    for one in points["mt"][:2]:
        one["status"] = "FAIL"
    known = compare([read_run(store(tmp_path, manifest({"gil": "cpuset-1", "mt": "cpuset-1"}), points))])
    assert known.lines()[1][-1] == "2 of 3 cost points FAIL"


def test_each_factor_is_found_between_the_rows_that_differ_in_it_alone() -> None:
    found = {(one, other): what for one, other, what in neighbours(manifest(ROWS)["rows"])}
    assert found["gil", "gil-h1"].startswith("transport")
    assert found["gil", "st-ft"] == "interpreter build"
    assert found["gil", "gil-picows"] == "server stack"
    assert found["st-ft", "mt"].startswith("runtime")
    assert found["threads-uvloop", "threads"] == "event loop"
    assert ("gil", "mt") not in found
    assert ("gil-h1", "st-ft") not in found


def test_a_row_that_is_another_at_its_shape_is_not_paired_again() -> None:
    names = ("gil", "multiprocess", "gil-h1")
    at_one = manifest(dict.fromkeys(names, "cpuset-1"))["rows"]
    assert [pair[:2] for pair in neighbours(at_one)] == [("gil", "gil-h1")]
    at_two = manifest(dict.fromkeys(names, "cpuset-2"))["rows"]
    assert [pair[:2] for pair in neighbours(at_two)] == [("gil", "multiprocess"), ("gil", "gil-h1")]


def test_shapes_of_threads_are_compared_at_equal_sessions_for_each_thread(tmp_path: Path) -> None:
    rows = {f"threads@quota-{n}x0.25": f"quota-{n}x0.25" for n in (1, 2)}
    points = {label: ladder_points(1000, 500) for label in rows}
    doubled = [{**point, "sessions": 2 * point["sessions"]} for point in points["threads@quota-2x0.25"]]
    known = compare([read_run(store(tmp_path, manifest(rows), {**points, "threads@quota-2x0.25": doubled}))])
    assert known.sessions == 200
    assert known.how.startswith("cost at 200 sessions for each thread;")
    assert known.lines()[1][3] == "1.000 (1.000–1.000, n=3)"


def test_a_shape_is_a_factor_too() -> None:
    rows = manifest({"gil@quota-0.5": "quota-0.5", "gil@quota-0.25": "quota-0.25"})["rows"]
    assert factor(*rows.values()) == "shape quota-0.5 → quota-0.25"


def test_factors_are_said_with_ratio_and_spread(tmp_path: Path) -> None:
    points = {"gil": ladder_points(1000, 500), "gil-h1": ladder_points(900, 500)}
    run = read_run(store(tmp_path, manifest({"gil": "cpuset-1", "gil-h1": "cpuset-1"}), points))
    assert compare([run]).factors() == [
        "transport to the inference server, gil → gil-h1: -110 µs (-130 to -100), × 0.900 (0.900–0.900, n=3)"
    ]


def test_ratios_of_several_runs_are_of_all_pairs(tmp_path: Path) -> None:
    runs = [
        read_run(store(tmp_path, manifest({row: "cpuset-1"}), {row: ladder_points(us, 500)}))
        for row, us in (("gil", 1000), ("gil-h1", 900))
    ]
    known = compare(runs)
    assert not known.interleaved
    assert "n=9" in known.lines()[1][3]
    assert known.factors() == []
    assert "not interleaved" in known.how


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("machine", "cpu_model"), "Other", "machine cpu_model: a has 'Invented', b has 'Other'"),
        (("machine", "kernel"), "6.1", "machine kernel: "),
        (("contract",), 2, "contract version: a has 1, b has 2"),
        (("environment",), {"kept": {"PYTHON_JIT": "1"}}, "environment PYTHON_JIT: a has None, b has '1'"),
        (("timing", "name"), "full", "timing name: "),
        (("slo", "newest_p95_ms"), 1, "slo newest_p95_ms: "),
        (("rows", "gil", "shape", "vcpus"), 2, "shapes cpuset-1: "),
        (("rows", "gil", "interpreter"), interpreter(version="3.13.0"), "row gil interpreter version: "),
        (("rows", "gil", "interpreter"), interpreter(packages={"h2": "4.2"}), "row gil package granian: "),
        (("rows", "gil", "interpreter", "commit"), "beef", "row gil interpreter commit: a has 'c0ffee', b has 'beef'"),
        (("rows", "gil", "interpreter", "jit_enabled"), True, "interpreter 3.14 jit_enabled: "),
        (("interpreters", "harness", "libpython_sha256"), "4d", "harness interpreter libpython_sha256: "),
        (
            ("rows", "gil", "interpreter", "package_contents", "h2"),
            "local file ba9876543211",
            "packages of granian on 3.14 h2: a has '4.3.0 index ba9876543210', b has '4.3.0 local file ba9876543211'",
        ),
        (("rows", "gil", "variant", "loop"), "asyncio", "row gil loop: "),
        (("interpreters", "harness"), interpreter(version="3.12.1"), "harness interpreter version: "),
    ],
)
def test_a_fact_that_differs_is_named(place: tuple[str, ...], value: Any, named: str) -> None:
    one, other = manifest({"gil": "cpuset-1"}), manifest({"gil": "cpuset-1"})
    assert differences({"a": one, "b": other}) == []
    *way, key = place
    table = other
    for name in way:
        table = table[name]
    table[key] = value
    assert any(line.startswith(named) for line in differences({"a": one, "b": other}))


def test_what_of_cgroups_can_be_written_must_agree_where_both_runs_say_it() -> None:
    older, one, other = (manifest({"gil": "cpuset-1"}) for _ in range(3))
    one["machine"] |= {"cgroup_writable": True, "cgroup_controllers": ["cpu", "cpuset", "memory"]}
    other["machine"] |= {"cgroup_writable": False, "cgroup_controllers": []}
    assert differences({"a": one, "b": other}) == [
        "machine cgroup_writable: a has True, b has False",
        "machine cgroup_controllers: a has ['cpu', 'cpuset', 'memory'], b has []",
    ]
    assert differences({"a": one, "b": one}) == differences({"a": older, "b": other}) == []


def test_rows_of_one_environment_must_have_the_same_packages() -> None:
    one, other = manifest({"gil": "cpuset-1"}), manifest({"gil-h1": "cpuset-1"})
    other["rows"]["gil-h1"]["interpreter"]["packages"] = {"granian": "2.8.6", "h2": "4.3.0"}
    del other["rows"]["gil-h1"]["interpreter"]["package_contents"]  # as in a run of before
    assert differences({"a": one, "b": other}) == ["packages of granian on 3.14 granian: a has '2.8.7', b has '2.8.6'"]


def test_a_run_of_before_that_knows_less_of_its_interpreter_is_compared_by_what_both_know() -> None:
    one, other = manifest({"gil": "cpuset-1"}), manifest({"gil": "cpuset-1"})
    for facts in (other["rows"]["gil"]["interpreter"], other["interpreters"]["harness"]):
        for name in ("commit", "jit_enabled", "libpython_sha256", "package_contents"):
            del facts[name]
    assert differences({"a": one, "b": other}) == []


def test_evidence_keeps_what_tells_interpreters_and_packages_apart(tmp_path: Path) -> None:
    facts = manifest({"gil": "cpuset-1"})
    run = read_run(store(tmp_path, facts, {"gil": ladder_points(1, 500)}))
    write_evidence(run, tmp_path / "kept.json")
    kept = read_run(tmp_path / "kept.json")
    assert differences({"run": run.manifest, "evidence": kept.manifest}) == []
    other = manifest({"gil": "cpuset-1"})
    other["rows"]["gil"]["interpreter"] |= {
        "jit_enabled": True,
        "package_contents": {"granian": "directory 0", "h2": ""},
    }
    unlike = {line.partition(": ")[0] for line in differences({"evidence": kept.manifest, "other": other})}
    assert unlike >= {"row gil interpreter jit_enabled", "row gil package granian"}


def test_rows_that_asked_for_one_interpreter_must_have_found_the_same() -> None:
    one, other = manifest({"gil": "cpuset-1"}), manifest({"gil-h1": "cpuset-1"})
    found = other["rows"]["gil-h1"]
    found["variant"]["interpreter"] = "3.11"
    found["interpreter"] = interpreter(version="3.11.2", requested="3.14")
    assert differences({"a": one, "b": other}) == ["interpreter 3.14 version: a has '3.14.7', b has '3.11.2'"]


def test_unlike_runs_refuse_to_merge(tmp_path: Path) -> None:
    other = manifest({"gil": "cpuset-1"})
    other["machine"]["cpus"] = 64
    runs = [
        read_run(store(tmp_path, facts, {"gil": ladder_points(1, 500)}))
        for facts in (manifest({"gil": "cpuset-1"}), other)
    ]
    with pytest.raises(ConfigError, match="cannot be compared; they differ in machine cpus\nmachine cpus: "):
        compare(runs)
    with pytest.raises(ConfigError, match="got one twice"):
        compare([runs[0], runs[0]])


def test_ceilings_are_compared_from_bracket_to_bracket() -> None:
    assert carried(Bracket(190, 200), Bracket(100, 110)) == (190 / 110, 2.0)
    assert carried(Bracket(190, None), Bracket(100, 110)) is None
    assert carried(Bracket(None, 5), Bracket(100, 110)) is None


def test_a_spread_of_nothing_is_none() -> None:
    assert Spread.of([]) is None
    assert Spread.of([1, 2, 9]) == Spread(2, 1, 9, 3)
