"""What perf says of futexes and stopped worlds is paired by thread, and added up by who waits."""

import shutil
import subprocess
import sys
import time

import pytest

from experiment.bench import waits

SAID = """\
  763  10.000000:            syscalls:sys_enter_futex: uaddr: 0x1, op: 0x00000189, val: 0x0
\t           98c0c __futex_abstimed_wait_common (/usr/lib/libc.so.6)
\t           98c0d sem_clockwait (/usr/lib/libc.so.6)
\t          240563 _PySemaphore_Wait (inlined)
\t          240563 _PyMutex_LockTimed (/opt/bin/python3.14)
\t          140563 [unknown] (/opt/lib/_granian.so)
\t          140563 [unknown] ([unknown])

  764  10.000100:            syscalls:sys_enter_futex: uaddr: 0x1, op: 0x00000081, val: 0x1
\t          240563 _PyMutex_Unlock

  764  10.000150:             syscalls:sys_exit_futex: 0x1
\t          240563 _PyMutex_Unlock

  764  10.000200:         gateway_lab_7:stop_0: (5647)
\t          240563 _PyEval_StopTheWorld
\t          240564 gc_collect_main

  763  10.000500:             syscalls:sys_exit_futex: 0x0
\t           98c0c __futex_abstimed_wait_common

  764  10.002200:        gateway_lab_7:start_0: (5647)
\t          240563 _PyEval_StartTheWorld
"""

CONTEND = """
import threading, time
lock = threading.Lock()
def hold():
    while True:
        with lock:
            time.sleep(0.01)
for _ in range(2):
    threading.Thread(target=hold, daemon=True).start()
time.sleep(60)
"""


def test_waits_are_paired_by_thread_and_wake_ups_are_none() -> None:
    lock, stop = sorted(waits.waits(waits.events(iter(SAID.splitlines())), None), key=lambda each: each["kind"])
    assert lock["where"] == "_PySemaphore_Wait ← _PyMutex_LockTimed ← _granian.so"
    assert (lock["kind"], lock["times"]) == ("lock", 1)
    assert lock["us"] == pytest.approx(500, abs=0.2)
    assert (stop["kind"], stop["where"]) == ("stopped world", "_PyEval_StopTheWorld ← gc_collect_main")
    assert stop["longest_us"] == pytest.approx(2000, abs=0.2)


def test_of_other_threads_only_stops_of_the_world_count() -> None:
    (found,) = waits.waits(waits.events(iter(SAID.splitlines())), frozenset((99,)))
    assert found["kind"] == "stopped world"


def test_without_perf_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(waits.CannotTrace, match="expected perf on PATH, found none"), waits.tracing():
        pass


@pytest.mark.skipif(shutil.which("perf") is None, reason="no perf on this machine")
def test_a_lock_that_two_threads_want_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", CONTEND]) as process:
        try:
            with waits.tracing() as trace:
                trace.start(process.pid)
                time.sleep(1.5)
                found = trace.stop(None, 0.0, time.monotonic())
        except waits.CannotTrace as error:
            pytest.skip(f"perf may not look here: {error}")
        finally:
            process.kill()
    assert sum(each["times"] for each in found if each["kind"] == "lock") > 20
