"""What the profilers' own formats are made into, and what stays where one of several processes died. Attaching is
tested in test_attach."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from experiment.host import Usage
from profiles.profilers import kinds
from profiles.profilers.kinds import Memray, ProfilerFailed, Remote, Sampling, Target, without_processes
from profiles.profilers.stacks import parse_collapsed
from tests.interpreters import python_of
from tests.profiles.profilers.attach import program
from tests.profiles.profilers.test_attach import BUSY

# A sampler of its own end: process 2 cannot be read, 4 is interrupted before it begins.
SAMPLER = """
import os, pathlib, signal, sys, time
pid, out = sys.argv[1], pathlib.Path(sys.argv[3])
if pid == "2":
    sys.exit("process 2 cannot be read")
if pid == "4":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
out.with_suffix(".up").touch()
while not asked:
    time.sleep(0.01)
out.write_text(f"main;f{pid} 1\\n")
out.with_suffix(".wall").write_text(f"main;f{pid} [off CPU] 2\\n")
out.with_suffix(".json").write_text('{"samples": 1}')
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def target(python: Path, *pids: int) -> Target:
    def usage() -> Usage:
        raise NotImplementedError

    return Target(pids[0], pids, python, free_threaded=False, usage=usage)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "expected it within 20 s"
        time.sleep(0.02)


@pytest.mark.anyio
async def test_the_good_samples_stay_where_a_process_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remote_sampler.py").write_text(SAMPLER)
    monkeypatch.setattr(kinds, "_HERE", tmp_path)
    remote, folder = Remote(), tmp_path / "profile"
    folder.mkdir()
    await remote.start(target(Path(sys.executable), 1, 2, 3, 4), folder)
    wait_for(lambda: [child.poll() is None for child, _ in remote._children.running] == [True, False, True, False])
    wait_for(lambda: len(list(folder.glob("*.up"))) == 2)
    facts = await remote.stop()
    assert (folder / "stacks.txt").read_text() == "main;f1 1\nmain;f3 1\n"
    assert (folder / "wall.txt").read_text() == "main;f1 [off CPU] 2\nmain;f3 [off CPU] 2\n"
    assert facts["processes"] == [{"samples": 1}] * 2
    assert facts["failed"] == [
        "remote-2 ended with status 1: process 2 cannot be read",
        "remote-4 was ended before it began to sample",
    ]
    assert sorted(file.name for file in folder.glob("*.log")) == ["remote-2.log", "remote-4.log"]


@pytest.mark.anyio
async def test_a_process_of_which_no_look_succeeded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = '{"samples": 0, "failures": {"RuntimeError": 7}}'
    (tmp_path / "remote_sampler.py").write_text(SAMPLER.replace('{"samples": 1}', none))
    monkeypatch.setattr(kinds, "_HERE", tmp_path)
    remote = Remote()
    await remote.start(target(Path(sys.executable), 1), tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("*.up"))) == 1)
    facts = await remote.stop()
    assert facts["failed"] == ["remote-1: no look succeeded (RuntimeError × 7)"]


@pytest.mark.anyio
async def test_where_no_process_can_be_read_the_reason_is_the_profilers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remote_sampler.py").write_text(SAMPLER)
    monkeypatch.setattr(kinds, "_HERE", tmp_path)
    remote = Remote()
    await remote.start(target(Path(sys.executable), 2), tmp_path)
    remote._children.running[0][0].wait(20)
    with pytest.raises(ProfilerFailed, match="process 2 cannot be read"):
        await remote.stop()


@pytest.mark.anyio
async def test_memory_of_one_process_stays_where_the_other_died(tmp_path: Path) -> None:
    python = python_of("memray", "3.14")
    with program(python, BUSY) as (lives, _), program(python, BUSY) as (dies, _):
        memray = Memray()
        await memray.start(target(python, lives, dies), tmp_path)
        wait_for(lambda: len(list(tmp_path.glob("memray-*.bin"))) == 2)
        os.kill(dies, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{dies}/maps").read_text())
        facts: dict[str, Any] = await memray.stop()
    assert [process["allocations"] > 0 for process in facts["processes"]] == [True]
    (failure,) = facts["failed"]
    assert f"process {dies}" in failure
    assert (tmp_path / "stacks.txt").read_text().startswith("memory;")


def test_py_spy_s_command_lines_are_cut_off() -> None:
    collapsed = (
        'process 1:"py -W error:a;b (c) -m x";process 2:"py -c \'spawn\'";thread (0x5): "loop";run (a.py:1) 3\n'
        'process 1:"py -m x";thread (26);f (b.py:2) 4\n'
        'process 1:"py -m x";g (c.py:3) 5\n'
    )
    assert (
        without_processes(collapsed) == 'thread (0x5): "loop";run (a.py:1) 3\nthread (26);f (b.py:2) 4\ng (c.py:3) 5\n'
    )


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.anyio
async def test_cpython_s_own_profiler_sees_what_runs_and_what_waits(tmp_path: Path) -> None:
    python = python_of("drain", "3.15")
    sampling = Sampling()
    with program(python, BUSY) as (pid, _):
        await sampling.start(target(python, pid), tmp_path)
        await anyio.sleep(3)
        facts = await sampling.stop()
    assert [process["pid"] for process in facts["processes"]] == [pid]
    on_cpu, wall = (parse_collapsed((tmp_path / name).read_text()) for name in ("stacks.txt", "wall.txt"))
    assert on_cpu.total() > 50
    assert wall.total() >= on_cpu.total()
    assert any(stack[-1].endswith(" (<string>)") for stack in on_cpu), on_cpu
    assert left_in(tmp_path) == ["stacks.txt", "wall.txt"]


@pytest.mark.anyio
async def test_where_cpython_s_own_profiler_is_not_to_be_had_it_says_so(tmp_path: Path) -> None:
    if sys.version_info >= (3, 15):
        pytest.skip("this Python has profiling.sampling")
    sampling = Sampling()
    await sampling.start(target(Path(sys.executable), os.getpid()), tmp_path)
    for child, _ in sampling._children.running:
        child.wait(20)
    with pytest.raises(ProfilerFailed, match=r"No module named '?profiling"):
        await sampling.stop()
