"""What ran on the gateway's CPUs between two moments, from counters that are known, and on this machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiment.host import busy_between, notable, read_cores, usable_cpus
from experiment.host.cpus import CoresReading
from experiment.host.procfs import ProcessId

NONE = dict.fromkeys(("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"), 0)


def test_busy_is_what_was_neither_idle_nor_taken_by_a_hypervisor() -> None:
    first = CoresReading(10.0, {1: NONE, 2: NONE}, {ProcessId(7, 1): ("old", 5, 1)})
    ticks = {1: NONE | {"idle": 700, "softirq": 20, "irq": 1, "steal": 100}, 2: NONE | {"idle": 900, "iowait": 50}}
    others = {ProcessId(7, 1): ("old", 45, 1), ProcessId(8, 2): ("new", 300, 2), ProcessId(9, 3): ("elsewhere", 900, 0)}
    busy = busy_between(first, CoresReading(20.0, ticks, others))
    assert busy == {
        "cpus": [1, 2],
        "wall_s": 10.0,
        "busy_s": pytest.approx(2.5),  # 20 s of two CPUs, less 16 idle, 0.5 waiting, 1 stolen
        "soft_interrupts_s": 0.21,
        "others": {"new": 3.0, "old": 0.4},
    }
    assert notable(busy) == ["others ran on the gateway's CPUs in the measured window: new 3.00 s, old 0.40 s"]
    assert notable(busy | {"others": {"little": 0.19}}) == []


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    nothing = read_cores([0], [], tmp_path / "stat")
    assert nothing.ticks == {}
    assert busy_between(nothing, nothing) is None
    assert notable(None) == []


def test_a_process_that_works_on_the_cpu_is_seen_unless_it_is_the_gateway_s_own() -> None:
    cpu = max(usable_cpus())
    code = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            first, hidden = read_cores([cpu], []), read_cores([cpu], [process.pid])
            time.sleep(0.5)
            last, gone = read_cores([cpu], []), read_cores([cpu], [process.pid])
        finally:
            process.kill()
    found, without = busy_between(first, last), busy_between(hidden, gone)
    assert found is not None
    assert without is not None
    assert found["busy_s"] > 0.1
    spent = {thread for thread in last.others if thread.pid == process.pid}
    assert spent
    assert not {thread for thread in gone.others if thread.pid == process.pid}
    assert sum(found["others"].values()) > sum(without["others"].values())
    assert os.getpid() not in without["others"]
