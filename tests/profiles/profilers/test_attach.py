"""Stacks and scripts, read from and sent into a living process of either build."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from experiment.setup import CHECKOUT
from profiles.profilers.inject import CannotInject, inject
from profiles.profilers.stacks import parse_collapsed
from tests.interpreters import python_of
from tests.profiles.profilers.attach import FREE_THREADED_OR_GIL, program

BUSY = """
import threading, time
def spin():
    while True:
        sum(range(500))
threading.Thread(target=spin, daemon=True, name="spinner").start()
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
def test_the_sampler_sees_who_runs_and_who_sleeps(tag: str, tmp_path: Path) -> None:
    python, out = python_of("memray", tag), tmp_path / "stacks.txt"
    sampler = CHECKOUT / "profiles" / "profilers" / "remote_sampler.py"
    with program(python, BUSY) as (pid, _):
        child = subprocess.Popen([str(python), str(sampler), str(pid), "100", str(out)])
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    stacks = parse_collapsed(out.read_text(encoding="utf-8"))
    assert sum(count for stack, count in stacks.items() if any("spin (" in frame for frame in stack)) > 20
    of_all = parse_collapsed(out.with_suffix(".wall").read_text(encoding="utf-8"))
    asleep = {stack[0] for stack in of_all if stack[-1].endswith(" [off CPU]")}
    assert asleep
    assert {stack[0] for stack in of_all} == asleep | {stack[0] for stack in stacks}
    facts = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["samples"] > 50
    assert min(facts["running_share"].values()) < 0.2 < max(facts["running_share"].values())


@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
def test_a_script_runs_in_a_thread_that_is_not_the_main_one(tag: str, tmp_path: Path) -> None:
    done, script = tmp_path / "done", tmp_path / "script.py"
    script.write_text(f"import threading; open({str(done)!r}, 'a').write(threading.current_thread().name)")
    with program(python_of("memray", tag), BUSY) as (pid, _):
        asked = inject(pid, script)
        assert len(asked) == 2
        assert pid in asked
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not (done.exists() and done.read_text()):
            time.sleep(0.02)
    assert done.read_text() == "spinner"


def test_what_is_no_python_is_refused() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        with pytest.raises(CannotInject, match="is no CPython"):
            inject(child.pid, Path("x.py"))
    finally:
        child.kill()
        child.wait()
    with pytest.raises(CannotInject, match="it must run"):
        inject(child.pid, Path("x.py"))
    with pytest.raises(CannotInject, match="at most 512"):
        inject(1, Path("x" * 600))
