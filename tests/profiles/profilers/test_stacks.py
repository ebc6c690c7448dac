"""Collapsed stacks there and back, and into what browsers show."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest

from profiles.profilers import remote_sampler
from profiles.profilers.flamegraph import page, tree, without_threads
from profiles.profilers.stacks import (
    NATIVE,
    Stack,
    disagreements,
    format_collapsed,
    from_cpython,
    hottest,
    parse_collapsed,
    speedscope,
    without_folders,
)

STACKS = Counter({("loop-1", "run (a.py:1)", "send (a.py:9)"): 3, ("loop-1", "run (a.py:1)"): 1, ("loop-2", "x"): 6})


def test_there_and_back() -> None:
    assert parse_collapsed(format_collapsed(STACKS)) == STACKS


def test_lines_add_up_and_a_broken_one_is_named() -> None:
    assert parse_collapsed("a;b 1\n\na;b 2\n") == {("a", "b"): 3}
    with pytest.raises(ValueError, match="line 2"):
        parse_collapsed("a 1\nno weight here\n")


def test_a_name_that_changed_while_it_was_read_stays_one_frame() -> None:
    frame = SimpleNamespace(funcname="__annotate__", filename="a;b\n\0c.py")
    assert parse_collapsed(f"t;{remote_sampler.frame_name(frame)} 3\n") == {("t", "__annotate__ (a?b??c.py)"): 3}


def test_the_hottest_frames_by_their_own_weight() -> None:
    assert hottest(STACKS, 2) == [("x", 0.6), ("send (a.py:9)", 0.3)]
    assert hottest({("thread 7",): 1, ("thread 8",): 1}) == [(NATIVE, 1.0)]
    assert remote_sampler.NATIVE == NATIVE
    assert hottest({}) == []


def test_paths_of_the_machine_are_cut_off() -> None:
    stacks: dict[Stack, int] = {("t", "f (/srv/py/lib/x.py:1)", "g (/srv/py/lib/site/y.py:2)"): 1}
    assert without_folders(stacks, ["/srv/py/lib", "/srv/py/lib/site", ""]) == {("t", "f (x.py:1)", "g (y.py:2)"): 1}


def test_speedscope_has_a_profile_per_thread_whose_weights_add_up() -> None:
    value = speedscope(STACKS, "gil")
    assert [profile["name"] for profile in value["profiles"]] == ["loop-1", "loop-2"]
    first = value["profiles"][0]
    assert first["endValue"] == sum(first["weights"]) == 4
    frames = [frame["name"] for frame in value["shared"]["frames"]]
    assert [[frames[index] for index in sample] for sample in first["samples"]] == [
        ["run (a.py:1)", "send (a.py:9)"],
        ["run (a.py:1)"],
    ]


def test_the_tree_counts_what_runs_through_a_node() -> None:
    top = tree(STACKS)
    assert top["v"] == 10
    assert [(child["n"], child["v"]) for child in top["c"]] == [("loop-1", 4), ("loop-2", 6)]


def test_the_page_stands_alone_and_holds_hostile_names() -> None:
    text = page({("t", "</script><b>&"): 2}, "a <b> title")
    assert "a &lt;b&gt; title" in text
    assert not re.search(r"(src|href)=|https?://|@import", text)
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["tree"]["c"][0]["c"][0]["n"] == "</script><b>&"


def test_a_difference_has_each_frames_share_before() -> None:
    before = without_threads({("python 17", "run"): 1, ("python 18", "run", "sleep"): 2, ("python 19",): 1})
    assert before == {("run",): 1, ("run", "sleep"): 2, (NATIVE,): 1}
    top = tree(without_threads({("worker 5", "run", "send"): 2}), before=before)
    (run,) = top["c"]
    assert (top["b"], run["b"], run["v"]) == (1.0, 0.75, 2)
    assert run["c"] == [{"n": "send", "v": 2, "b": 0.0}]
    assert '"b":' in page({("run",): 1}, "less", before=before)


def test_stacks_of_cpython_s_own_profiler_are_named_like_the_others() -> None:
    seven = [f"tid:7;main.py:serve:{line};server.py:Server.run:4{line} {line - 10}\n" for line in (12, 13)]
    text = "".join([*seven, "tid:8;<GC> 1\n"])
    assert from_cpython(text, {7: "loop-0"}) == {
        ("loop-0 7", "serve (main.py)", "Server.run (server.py)"): 5,
        ("thread 8", "<GC>"): 1,
    }


def test_two_profiles_disagree_where_own_shares_are_far_apart() -> None:
    mine = {("a 1", "run (lib/x.py)", "parse (lib/h2/y.py)"): 60, ("a 1", "run (lib/x.py)"): 37, ("a 1",): 3}
    theirs = {("t 1", "run (x.py)", "parse (y.py)"): 50, ("t 1", "run (x.py)"): 40, ("t 1", "send (z.py)"): 10}
    assert disagreements(mine, theirs) == [("parse (y.py)", 0.6, 0.5), ("send (z.py)", 0.0, 0.1)]
    assert disagreements(mine, mine) == []
