"""Layouts of loops, their paired ratios, and what is said of them."""

from pathlib import Path
from typing import Any

import pytest

from experiment.ask import ConfigError, load_config
from experiment.report import ratio
from experiment.setup import read_json, write_json
from profiles.sharing.evidence import FOLDER, Published, _scheduled, compact
from profiles.sharing.layouts import PROCESSES, THREADS, layouts
from profiles.sharing.page import _gains, claim, page
from profiles.sharing.ratios import by_round
from profiles.sharing.run import _sum, _traced, announce, chosen, of_host, sharing_of
from profiles.sharing.tables import lines, thread_lines, wait_lines


def turn(layout: str, number: int, cost: float, **more: Any) -> dict[str, Any]:
    found = {"layout": layout, "round": number, "failed": None, "us_per_session_second": cost, "busy": 0.5}
    return {**found, "waits_per_session_second": 9.0, "collections_us_per_session_second": 0.0, **more}


def run_of(**costs: list[float]) -> dict[str, Any]:
    turns = [turn(layout.replace("_", " "), n, cost) for layout, every in costs.items() for n, cost in enumerate(every)]
    run = {"host": "x", "label": "x", "row": "threads", "refused": None}
    return {**run, "interpreter": {"tag": "3.14.7t"}, "turns": turns}


def test_a_ratio_is_of_the_same_round_and_its_interval_is_students() -> None:
    found = ratio({1: 110.0, 2: 220.0, 3: 330.0}, {1: 100.0, 2: 200.0, 3: 300.0, 4: 1.0})
    assert found is not None
    assert found.mean == pytest.approx(1.1)
    assert found.count == 3
    assert found.low == pytest.approx(found.high)
    assert found.is_told
    # Two rounds of 1.0 and 1.21: the mean is 1.1, and t(0.975, 1) = 12.706 spreads it far beyond both.
    wide = ratio({1: 1.0, 2: 1.21}, {1: 1.0, 2: 1.0})
    assert wide is not None
    assert wide.mean == pytest.approx(1.1)
    assert wide.high == pytest.approx(1.1 * 1.1**12.7062, rel=1e-3)
    assert not wide.is_told
    assert ratio({1: 1.0}, {1: 1.0}) is None


def test_each_step_keeps_what_the_ones_before_it_had_of_their_own() -> None:
    of_a_host = {each.name: each for each in layouts(("gateway", "client"), shares_clock=True)}
    assert of_a_host["threads, own client"].options == ("--own", "gateway,client")
    assert of_a_host["processes"] == PROCESSES
    assert {each.processes * each.loops for each in of_a_host.values() if each.name != "one"} == {2}
    assert [each.name for each in of_a_host.values() if each.gil] == ["processes, GIL", "threads, GIL"]
    assert not any("clock" in each.name for each in layouts((), shares_clock=False))


def test_the_length_is_said_beforehand() -> None:
    sharing = sharing_of(load_config())
    windows = sharing.rounds * sum(len(of_host(host)) for host in sharing.hosts.values())
    traced_s = 2 * len(sharing.hosts) * (4.5 + 3 * sharing.window_s)
    assert f"about {(windows * (4.5 + sharing.window_s) + traced_s) / 60:.0f} min" in announce(sharing, 1)
    assert list(chosen(load_config(), ["core"]).hosts) == ["core"]
    assert not any(layout.gil for layout in of_host(sharing.hosts["mt"]))
    with pytest.raises(ConfigError, match=r"\[sharing\] is missing"):
        sharing_of(load_config().model_copy(update={"sharing": None}))
    with pytest.raises(ConfigError, match="SETS: expected some of core, threads, mt, drain-threads; got threds"):
        chosen(load_config(), ["threds"])


def test_a_turn_is_the_sum_of_its_loops() -> None:
    loop = {"cpu_us": 1e6, "session_seconds": 1000, "waits": 500, "preempted": 0, "run_wait_us": 0.0}
    process = {"gil": False, "wall_s": 2.0, "collections_s": 0.1, "loops": [loop]}
    both = _sum([process, {**process, "loops": [{**loop, "cpu_us": 2e6}]}])
    assert both["us_per_session_second"] == 1500
    assert both["busy"] == 0.75
    assert both["collections_us_per_session_second"] == 100
    nothing = _sum([{**process, "loops": [{**loop, "session_seconds": 0}]}])
    assert nothing["failed"] == "no session-second was served"


def test_what_processes_wait_for_is_added_up_by_place() -> None:
    wait = {"kind": "lock", "where": "a ← b", "times": 2, "us": 10.0, "longest_us": 8.0}
    one = {"refused": None, "sees_stops": True, "session_seconds": 500, "waits": [wait]}
    found = _traced([one, {**one, "waits": [{**wait, "us": 5.0}, {**wait, "where": "c", "us": 90.0}]}])
    assert found["session_seconds"] == 1000
    assert [(each["where"], each["times"], each["us"]) for each in found["waits"]] == [
        ("c", 2, 90.0),
        ("a ← b", 4, 15.0),
    ]
    run = {**run_of(processes=[100.0]), "traced": {"processes, traced": found}}
    assert wait_lines({"runs": [run]})[0] == ["x", "processes", "lock", "c", "2.0", "90", "0.01"]
    refused = {**run, "traced": {"threads, traced": {**found, "refused": "no perf", "waits": []}}}
    assert wait_lines({"runs": [refused]}) == [["x", "threads", "not traced: no perf", "", "", "", ""]]


def test_threads_that_hardly_ran_are_left_out_and_what_was_not_seen_is_not_nought() -> None:
    busy = {"name": "loop-0", "on_cpu_ms": 4321.4, "run_queue_wait_ms": None, "voluntary_switches": 9}
    idle = {"name": "idle", "on_cpu_ms": 3.0, "run_queue_wait_ms": 0.0, "voluntary_switches": 1}
    threads = [{**each, "involuntary_switches": 0} for each in (busy, idle)]
    assert thread_lines({"threads": threads}) == [["loop-0", "4,321", "–", "9", "0"]]


def test_of_several_profilers_the_scheduler_s_is_kept(tmp_path: Path) -> None:
    for name, profiler in (("profile", "memray"), ("profile-sched", "sched")):
        facts = {"threads": [{"name": profiler}]}
        write_json(
            tmp_path / name / "profile.json", {"profiler": profiler, "title": "t", "sessions": 2, "facts": facts}
        )
    assert _scheduled(tmp_path) == {"title": "t", "sessions": 2, "threads": [{"name": "sched"}]}
    with pytest.raises(ConfigError, match="PROFILER=sched"):
        _scheduled(tmp_path / "profile")


def test_a_change_of_a_library_is_measured_against_the_host_without_it() -> None:
    without = run_of(processes=[100.0, 101.0], threads=[110.0, 111.0], threads_again=[110.0, 111.0])
    changed = {**run_of(processes=[100.0, 101.0], threads=[99.0, 99.9]), "label": "x+anyio"}
    said = _gains({"runs": [without, changed]})
    assert said is not None
    assert "- x+anyio, threads: × 0.900" in said
    assert _gains({"runs": [without]}) is None


def test_a_failed_window_is_told_and_not_counted() -> None:
    run = run_of(processes=[100.0, 100.0], threads=[110.0, 112.0])
    run["turns"].append({"layout": "one", "round": 0, "failed": "process-0.log: ended with status 1"})
    assert by_round(run["turns"], "one") == {}
    told = lines({"runs": [run]})
    assert told[0][:2] == ["x", "processes"]
    assert told[1][3].startswith("1.110 (")
    assert told[2][2].startswith("failed: process-0.log")


def test_the_gap_is_claimed_where_it_is_beyond_a_and_a() -> None:
    costs: dict[str, list[float]] = {
        "processes": [100.0, 101.0, 99.0],
        "processes again": [100.0, 101.0, 99.5],
        "threads": [110.0, 111.0, 109.0],
        "threads again": [110.0, 111.5, 109.0],
        "one": [100.0, 101.0, 99.0],
    }
    run = run_of(**{name.replace(" ", "_"): values for name, values in costs.items()})
    assert "× 1.100" in claim(run)
    assert "91 % of the process ceiling" in claim(run)
    same = run_of(processes=[100.0, 101.0, 99.0], threads=[100.0, 100.0, 100.0], processes_again=[103.0, 99.0, 100.0])
    assert "not told" in claim(same)
    costs["threads again"] = [101.0, 99.0, 101.0]  # the second time there was none
    assert "not told" in claim(run_of(**{name.replace(" ", "_"): values for name, values in costs.items()}))


def test_the_committed_page_is_what_its_evidence_gives() -> None:
    from profiles.sharing.publish import PROSE, text

    assert PROSE.read_text(encoding="utf-8") == text(), f"{PROSE.name}: run `python -m profiles publish-sharing`"


def test_kept_evidence_names_no_place_of_the_machine() -> None:
    from experiment.setup import CHECKOUT

    for file in (CHECKOUT / FOLDER).glob("*.json"):
        kept = read_json(file)
        assert kept is not None
        if "runs" in kept:
            assert compact(kept) == kept
        if file.stem == "turns":
            assert page(Published(kept)).startswith("# Two cores")


def test_layouts_of_processes_and_threads_differ_in_nothing_else() -> None:
    assert (PROCESSES.processes, PROCESSES.loops, PROCESSES.options) == (2, 1, ())
    assert (THREADS.processes, THREADS.loops, THREADS.options) == (1, 2, ())
