"""What the collector's evidence is said to mean; the committed page is what the committed evidence gives."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from experiment.ask import ConfigError, load_config
from experiment.report import Spread
from experiment.setup import CHECKOUT, write_json
from profiles.__main__ import COLLECTOR_GENERATED
from profiles.collector import tables
from profiles.collector.chain import cells, take_apart
from profiles.collector.evidence import EVIDENCE, FOLDER, POINTS, Published, compact, keep, read_evidence
from profiles.collector.figures import draw_all
from profiles.collector.page import headline, page
from profiles.collector.run import _answers, announce, chosen, collector_of, points
from profiles.collector.slices import CannotSetSlice, set_slice, slice_ms_of

P95 = {
    "gil": 120.0,
    "gil-gc-off": 122.0,
    "st-ft-gc-off": 150.0,
    "mt-one-loop-gc-off": 160.0,
    "mt-gc-off": 200.0,
    "mt": 400.0,
}


def point(of_set: str, row: str, p95: float, *, round_: int = 1, again: int = 0, **other: Any) -> dict[str, Any]:
    process = {"window_s": 1.0}
    thread = {"name": "granian-worker", "on_cpu_ms": 3000.0, "run_queue_wait_ms": 600.0}
    return {
        "set": of_set,
        "row": row,
        "again": again,
        "round": round_,
        "sessions": 600,
        "shape": "cpuset-1",
        "slice_ms": None,
        "look": "collections",
        "refused": None,
        "folder": "600-1",
        "status": "PASS",
        "newest_ms": {"p50": 100.0, "p95": p95},
        "gateway": {"us_per_session_second": 1600.0},
        "run_wait_us_per_session_second": 300.0,
        "threads": [{**thread, "voluntary_switches": 5000, "involuntary_switches": 1000}],
        "processes": [process],
        "collections": [[9.5, 0.1, 90_000], [-50_000.0, 50_010.0, 7]],
        "answers": {
            "met": {"count": 100, "p50_ms": 180.0, "p95_ms": 300.0},
            "free": {"count": 900, "p50_ms": 95.0, "p95_ms": 120.0},
        },
        **other,
    }


def evidence() -> dict[str, Any]:
    chain = [point("chain", row, p95 + 2 * n, round_=n) for n in (1, 2, 3) for row, p95 in P95.items()]
    chain += [point("chain", row, P95[row] + 10 + n, round_=n, again=1) for n in (1, 2, 3) for row in ("gil", "mt")]
    chain.append(point("chain", "mt", 5000.0, round_=4) | {"status": "INVALID"})
    stock = {
        "owners": [
            {"thread": "granian-worker", "objects": 9000, "queued": 4000, "queued_types": {"dict": 4000}},
            {"thread": "loop", "objects": 91_000, "queued": 0, "queued_types": {}},
            {"thread": "nobody", "objects": 10, "queued": 0, "queued_types": {}},
        ],
        "tracked": 100_010,
        "freed": {"dict": 4000, "Handle": 3},
        "freed_in_all": 4003,
    }
    looked = [point(name, "mt", 400.0, look="census") for name in ("growth", "designs")]
    for one in looked:
        one["processes"] = [{**one["processes"][0], **stock}]
    makers = [
        {
            "maker": maker,
            "collected_per_1000_messages": held,
            "collections": 3,
            "longest_collection_ms": 80.0,
            "answer_p50_us": 9.0,
            "answer_max_ms": 81.0,
        }
        for maker, held in (("in C", 1000.0), ("in C, naps", 0.0))
    ]
    sets: dict[str, Any] = {
        "chain": {"about": "steps", "rows": [*P95, "gil", "mt"], "sessions": [600], "rounds": 3},
        **{name: {"about": name, "rows": ["mt"], "sessions": [600]} for name in ("growth", "designs")},
        **{name: {"about": name, "rows": ["mt"], "sessions": [600]} for name in ("settings", "slices", "cores")},
    }
    return {
        "started": "2026-11-24T04:05:06+00:00",
        "finished": True,
        "contract": 2,
        "machine": {"cpus": 2, "cpu_model": "Invented", "kernel": "6.18.0-1", "hostname": "secret"},
        "settings": {"shape": "cpuset-1", "timing": "quick", "pythons": [], "sets": sets},
        "measure_s": 15.0,
        "rows": {"mt": {"variant": {}, "interpreter": {"tag": "3.14.7t", "prefix": "somebody's own"}, "refused": None}},
        "reproduced": [
            {"python": "3.14.7", "gil": False, "live": 10, "makers": makers},
            {
                "python": "3.14.7",
                "gil": True,
                "live": 10,
                "makers": [{**makers[0], "collected_per_1000_messages": 0.0}],
            },
        ],
        "points": [*chain, *looked],
    }


def test_steps_are_the_rounds_differences_and_add_up() -> None:
    apart = take_apart(evidence(), 600, "p95")
    assert apart is not None
    assert [(step.before, step.after, step.change.median) for step in apart.steps] == [
        ("gil", "gil-gc-off", 2.0),
        ("gil-gc-off", "st-ft-gc-off", 28.0),
        ("st-ft-gc-off", "mt-one-loop-gc-off", 10.0),
        ("mt-one-loop-gc-off", "mt-gc-off", 40.0),
        ("mt-gc-off", "mt", 200.0),
    ]
    assert apart.whole.change.median == sum(step.change.median for step in apart.steps) == 280.0
    assert apart.share(apart.steps[-1]) == 200 / 280


def test_a_step_within_what_a_row_differs_from_itself_is_not_told() -> None:
    apart = take_apart(evidence(), 600, "p95")
    assert apart is not None
    assert apart.reach == 9.0  # of +7 … +9 ms
    assert [apart.is_told(step) for step in apart.steps] == [False, True, True, True, True]
    assert "- At 600 sessions no collections on the GIL build (+2 ms) is not told from A/A." in page(
        Published(evidence()), []
    )


def test_points_of_a_harness_that_fell_behind_count_for_nothing() -> None:
    spread = cells(evidence(), "chain")["mt", 0, 600, None].spread("p95")
    assert spread is not None
    assert (spread.high, spread.count) == (406.0, 3)


def test_a_collection_whose_beginning_was_not_heard_counts_for_nothing() -> None:
    cell = cells(evidence(), "chain")["mt", 0, 600, None]
    assert (cell.longest_ms, cell.pause_ms_per_s, cell.freed, cell.collections_per_s) == (
        100.0,
        Spread(100.0, 100.0, 100.0, 3),
        Spread(150.0, 150.0, 150.0, 3),
        Spread(1.0, 1.0, 1.0, 3),
    )


def test_the_page_says_what_was_seen() -> None:
    text = page(Published(compact(evidence())), ["collector-chain-600.svg"])
    assert "| mt | 600 | granian-worker | 9,000 | 4,000 | 4,000 dict |" in text
    assert "nobody" not in text.split("### What waits")[1].split("What one more")[0].split("\n\n", 2)[2]
    assert (
        "3.14.7t: 1000–1000 of 1000; where the maker comes by a line of Python now and then 0; on the GIL build 0."
        in text
    )
    assert "the collections are 71% of the gap in p95, by medians" in text
    assert "![collector-chain-600.svg](collector-chain-600.svg)" in text
    assert "and stops every thread for 100 ms a second at 600 sessions" in headline(evidence())


def test_compact_evidence_names_no_machine() -> None:
    text = str(compact(evidence()))
    assert "somebody" not in text
    assert "secret" not in text
    assert "600-1" not in text


def test_pictures_are_drawn_in_every_format(tmp_path: Path) -> None:
    written = draw_all(evidence(), tmp_path, (".png", ".svg"))
    assert [path.name for path in written] == ["collector-chain-600.png", "collector-growth.png"]
    assert all(path.with_suffix(".svg").stat().st_size > 1000 for path in written)


def test_only_finished_evidence_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finished `make collector`"):
        keep(tmp_path, root=tmp_path)
    with pytest.raises(ConfigError, match="make collector"):
        read_evidence(tmp_path)
    write_json(tmp_path / "run" / EVIDENCE, evidence())
    assert keep(tmp_path / "run", root=tmp_path) == [tmp_path / FOLDER / POINTS]
    assert read_evidence(tmp_path).ceilings is None


def test_the_next_cpython_is_laid_beside_this_one() -> None:
    rows = ("st-ft", "st-ft-3.15t", "mt", "mt-3.15t")
    measured = [point("builds", row, 300.0 + 10 * place) for place, row in enumerate(rows)]
    settings = {"sets": {"builds": {"sessions": [600], "rows": list(rows)}}}
    interpreters = {row: {"interpreter": {"tag": "3.15.0rc1t" if "15" in row else "3.14.7t"}} for row in rows}
    other = evidence() | {"points": measured, "settings": settings, "rows": interpreters}
    text = page(Published(evidence(), builds=other), [])
    assert "st-ft: 3.14.7t, st-ft-3.15t: 3.15.0rc1t" in text
    assert "| mt → mt-3.15t | newest p95, 600 sessions | +10" in text
    both = page(Published(evidence(), merging=other), [])
    assert "A CPython that merges in place of a detached owner" in both
    assert "_Py_THREAD_SUSPENDED" in both
    assert "| st-ft → st-ft-3.15t | newest p95, 600 sessions | +10" in both


def test_all_rows_take_turns_within_a_round() -> None:
    config = load_config()
    chain = [one for one in points(collector_of(config)) if one.set == "chain"]
    settings = collector_of(config).sets["chain"]
    first = chain[: len(settings.rows)]
    assert [one.row for one in first] == settings.rows
    assert {(one.round, one.sessions) for one in first} == {(1, settings.sessions[0])}
    assert [one.again for one in first if one.row == "mt"] == [0, 1]
    assert {one.row for one in points(collector_of(config))} <= set(config.variants)
    assert f"{len(list(points(collector_of(config))))} points of 33 s (chain {len(chain)}, " in announce(config)
    assert announce(config).startswith("the reproducer, and ")


def test_some_sets_can_be_chosen_and_the_reproducer_is_one_of_them() -> None:
    config = load_config()
    builds = chosen(config, ["builds"])
    assert {one.set for one in points(collector_of(builds))} == {"builds"}
    assert announce(builds).startswith("16 points of 33 s (builds 16): about ")
    on = [(one.row, one.python) for one in points(collector_of(builds)) if one.round == 1 and one.sessions == 450]
    assert on == [("st-ft", "3.14t"), ("st-ft", "3.15t"), ("mt", "3.14t"), ("mt", "3.15t")]
    named = chosen(config, ["builds"], ["/a/python", "/b/python"])
    assert {one.python for one in points(collector_of(named))} == {"/a/python", "/b/python"}
    alone = chosen(config, ["reproducer"])
    assert list(points(collector_of(alone))) == []
    assert announce(alone) == "the reproducer: about 3 min"
    with pytest.raises(ConfigError, match=r"expected some of reproducer, chain, .*; got chains"):
        chosen(config, ["chains", "builds"])


def test_an_answer_is_met_by_a_collection_that_ran_while_it_was_due(tmp_path: Path) -> None:
    file = tmp_path / "samples.csv"
    rows = [
        (10.1, 100, "1"),  # due at 10.0: the collection of 10.05 stands in its way
        (10.04, 100, "1"),  # there before it began
        (10.4, 100, "1"),  # due after it ended
        (10.1, 100, "0"),  # of no window
    ]
    with file.open("w", encoding="ascii", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["arrival_s", "newest_ms", "newest_in_window", "kind"])
        writer.writerows([*([*row, "partial"] for row in rows), (10.1, "", "", "ack")])
    assert _answers(file, [[10.05, 0.1, 5]]) == {
        "met": {"count": 1, "p50_ms": 100.0, "p95_ms": 100.0},
        "free": {"count": 2, "p50_ms": 100.0, "p95_ms": 100.0},
    }
    assert _answers(tmp_path / "none.csv", []) is None


def test_a_thread_is_given_its_slice_and_the_kernel_says_so() -> None:
    before = slice_ms_of(0)
    try:
        assert set_slice([os.getpid()], 20) >= 1
    except CannotSetSlice as error:
        pytest.skip(str(error))
    try:
        assert slice_ms_of(0) == 20
        with pytest.raises(CannotSetSlice, match="500 ms: the kernel says 100 ms"):
            set_slice([os.getpid()], 500)
    finally:
        set_slice([os.getpid()], before)


@pytest.mark.skipif(not (CHECKOUT / FOLDER / POINTS).exists(), reason="nothing was published yet")
def test_the_committed_page_is_what_the_committed_evidence_gives(tmp_path: Path) -> None:
    published = read_evidence()
    found = published.points
    findings = CHECKOUT / "docs" / "findings"
    pictures = draw_all(found, tmp_path, (".svg",))
    text = page(published, [picture.name for picture in pictures])
    assert (findings / "who-frees-it.md").read_text(encoding="utf-8") == f"{COLLECTOR_GENERATED}\n\n{text}"
    for picture in pictures:
        assert (findings / picture.name).read_bytes() == picture.read_bytes()
    assert headline(found) in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert tables.reproduced_lines(found["reproduced"])
