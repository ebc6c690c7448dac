"""Samples of real roles, and the arithmetic between two of them."""

import csv
import time
from pathlib import Path

import anyio
import pytest

from experiment.host import Limits, Role, Sampler, Snapshot, window
from experiment.host.sampling import COLUMNS, tcp_memory_bytes
from tests.experiment.host.conftest import MakeGroup, first_lines, script

WORK = """
    import threading, time
    def breathe():
        while True:
            time.sleep(0.001)
    for _ in range(3):
        threading.Thread(target=breathe, daemon=True).start()
    print("up", flush=True)
    while True:
        pass
"""


def test_a_window_is_the_difference_and_the_largest() -> None:
    first = Snapshot(10.0, "gateway", cpu_us=100, throttled_us=5, rss_bytes=7, run_wait_ns=None, oom_kills=3)
    middle = Snapshot(11.0, "gateway", rss_bytes=90, threads=4)
    before = Snapshot(9.0, "gateway", rss_bytes=1000)
    last = Snapshot(12.5, "gateway", cpu_us=350, throttled_us=5, rss_bytes=8, run_wait_ns=9, oom_kills=1)
    result = window(first, last, [before, middle])
    assert result["wall_s"] == 2.5
    assert result["cpu_us"] == 250
    assert result["throttled_us"] == 0
    assert result["run_wait_ns"] is None  # unknown at one end
    assert result["oom_kills"] is None  # a counter that fell is no difference
    assert result["rss_bytes_max"] == 90
    assert result["threads_max"] == 4
    assert result["descriptors_max"] is None
    assert result["user_us"] is None


@pytest.mark.anyio
async def test_a_role_is_sampled_from_outside(tmp_path: Path, make: MakeGroup) -> None:
    group = make("gateway", Limits())
    sampler = Sampler([group], tmp_path / "resources.csv")
    async with Role(script(tmp_path, WORK, pipe=True), group) as role:
        await first_lines(role, 1)
        first = sampler.snapshot("gateway")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sampler.run)
            await anyio.sleep(1.2)
            tasks.cancel_scope.cancel()
        last = sampler.snapshot("gateway")
    assert first.processes == 1
    assert first.threads == 4
    assert first.descriptors is not None
    assert 3 <= first.descriptors < 20
    assert first.rss_bytes is not None
    assert first.rss_bytes > 1 << 20
    result = sampler.window(first, last)
    assert result["cpu_us"] is not None
    assert 100_000 < result["cpu_us"] < 1.5 * result["wall_s"] * 1e6  # type: ignore[operator]
    assert result["voluntary_switches"] is not None
    assert result["voluntary_switches"] > 100
    assert result["involuntary_switches"] is not None

    with (tmp_path / "resources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["role"] for row in rows[:4]] == ["gateway", "host", "gateway", "host"]
    assert float(rows[2]["at_s"]) - float(rows[0]["at_s"]) == pytest.approx(1.0, abs=0.3)
    assert rows[0]["tcp_memory_bytes"] == ""  # not known of a role: empty, not 0
    assert int(rows[1]["tcp_memory_bytes"]) >= 0
    assert rows[1]["cpu_us"] == ""


@pytest.mark.anyio
async def test_threads_that_end_stay_counted(tmp_path: Path, make: MakeGroup) -> None:
    code = """
        import threading, time
        stop = threading.Event()
        def breathe():
            while not stop.is_set():
                time.sleep(0.001)
        thread = threading.Thread(target=breathe)
        thread.start()
        time.sleep(0.5); print("up", flush=True)
        time.sleep(0.5); stop.set(); thread.join(); print("one", flush=True)
        time.sleep(300)
    """
    group = make("gateway", Limits())
    sampler = Sampler([group], tmp_path / "resources.csv")
    async with Role(script(tmp_path, code, pipe=True), group) as role:
        lines = role.lines()
        await anext(lines)
        first = sampler.snapshot("gateway")
        await anext(lines)
        last = sampler.snapshot("gateway")
        await lines.aclose()  # type: ignore[attr-defined]
    assert (first.threads, last.threads) == (2, 1)
    assert first.voluntary_switches is not None
    assert first.voluntary_switches > 50
    assert last.voluntary_switches is not None
    assert last.voluntary_switches >= first.voluntary_switches


@pytest.mark.anyio
async def test_a_sample_is_cheap_or_spaces_itself_out(tmp_path: Path, make_real: MakeGroup) -> None:
    code = """
        import os, threading, time
        fds = [os.dup(0) for _ in range(900)]
        for _ in range(60):
            threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
        print("up", flush=True)
        time.sleep(300)
    """
    group = make_real("gateway", Limits())
    sampler = Sampler([group], tmp_path / "resources.csv")
    async with Role(script(tmp_path, code, pipe=True), group) as role:
        await first_lines(role, 1)
        began_s = time.thread_time()
        rows = [sampler.sample()[0] for _ in range(20)]
        cost_ms = (time.thread_time() - began_s) * 1000 / 20
        assert sampler.snapshot("gateway").threads == 61  # at an exact moment nothing is skipped
    assert rows[0]["threads"] == 61
    assert rows[0]["descriptors"] >= 900
    assert cost_ms < 5


def test_tcp_memory_is_whole_pages() -> None:
    found = tcp_memory_bytes()
    assert found is not None
    assert found % 4096 == 0
