"""Counters of threads: of this very process, and of a /proc written by hand."""

import os
import threading
from pathlib import Path

from experiment.host.threads import ThreadTimes, thread_times, times_between


def test_this_process_has_its_threads_and_they_use_time() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    first = thread_times([os.getpid()])
    sum(range(3_000_000))
    last = thread_times([os.getpid()])
    stop.set()
    thread.join()
    assert f"{os.getpid()}/{thread.native_id}" in first
    rows = times_between(first, last)
    assert rows[0]["thread"] == f"{os.getpid()}/{threading.get_native_id()}"
    assert rows[0]["user_ms"] >= 0


def _thread(proc: Path, *, schedstat: str | None, name: str = "a b) (c") -> None:
    folder = proc / "7" / "task" / "8"
    folder.mkdir(parents=True)
    fields = ["R", *["0"] * 10, "3", "4", *["0"] * 30]
    (folder / "stat").write_text(f"8 ({name}) {' '.join(fields)}\n")
    (folder / "status").write_text("Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n")
    if schedstat is not None:
        (folder / "schedstat").write_text(schedstat)


def test_hostile_names_and_every_counter(tmp_path: Path) -> None:
    _thread(tmp_path, schedstat="1000000 2000000 3\n")
    tick_ms = 1000 / os.sysconf("SC_CLK_TCK")
    assert thread_times([7, 99], tmp_path) == {"7/8": ThreadTimes("a b) (c", 1.0, 2.0, 3 * tick_ms, 4 * tick_ms, 5, 6)}


def test_without_schedstat_missing_is_none_not_zero(tmp_path: Path) -> None:
    _thread(tmp_path, schedstat=None)
    now = thread_times([7], tmp_path)
    row = times_between(now, now)[0]
    assert row["on_cpu_ms"] is None
    assert row["run_queue_wait_ms"] is None
    assert row["voluntary_switches"] == 0


def test_a_thread_that_began_in_the_window_counts_from_its_start(tmp_path: Path) -> None:
    _thread(tmp_path, schedstat="1000000 2000000 3\n")
    row = times_between({}, thread_times([7], tmp_path))[0]
    assert row["began_in_window"]
    assert row["on_cpu_ms"] == 1.0
