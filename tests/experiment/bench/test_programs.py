"""The draining gateway's benches run and keep up, and the meter adds up."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiment.bench import suite
from experiment.bench.meter import Meter
from experiment.run import Display
from experiment.setup import CHECKOUT, Environment, Interpreter
from tests.speaking import disturb, is_clean, speaker

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores")


def printed(program: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"experiment.bench.{program}", *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@two_cores
@pytest.mark.parametrize("program", ["floor", "draining"])
def test_every_session_is_served_once_a_second_and_the_phases_make_up_the_whole(program: str) -> None:
    cost = printed(program, "--sessions", "20", "--seconds", "2", "--metered")
    assert cost["sessions"] == 20
    assert 8 < cost["served_per_s"] < 32  # a busy machine may serve late, but what it serves is one a second
    phases = cost["phases_us"]
    assert all(phases[name] > 0 for name in ("loop", "receive (kernel)", "inference send (kernel)", "poll"))
    assert sum(phases.values()) == pytest.approx(cost["total_us"], rel=0.5)


def test_a_meter_charges_what_runs_inside_to_itself_and_waiting_by_its_cpu_time() -> None:
    meter = Meter(("rest", "outer", "inner", "wait"))
    inner = meter.wrap("inner", lambda: spin(0.02))

    def work() -> None:
        spin(0.01)
        inner()

    outer, wait = meter.wrap("outer", work), meter.wrap_waiting("wait", time.sleep)
    meter.reset()
    outer()
    wait(0.05)
    spent = meter.spent_us()
    assert 9_000 < spent["outer"] < 18_000
    assert 19_000 < spent["inner"] < 38_000
    assert spent["wait"] < 5_000
    assert spent["rest"] < 5_000


def spin(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        pass


def test_benches_do_not_see_the_user_s_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disturb(monkeypatch)
    program = speaker(tmp_path)
    found = Interpreter("3.14", str(program), "3.14.7", free_threaded=False, stand_in=False, source="made up")
    environment = Environment("drain", program, found)
    assert is_clean(suite._printed(environment, "floor"))
    monkeypatch.setattr(suite, "_environments", lambda *_: [environment])
    monkeypatch.setattr(suite, "HARNESS_PYTHON", program)
    for part in ("core", "loadgen", "simulator"):
        (tmp_path / "said.json").unlink(missing_ok=True)
        (tmp_path / part).mkdir()
        monkeypatch.chdir(tmp_path / part)
        suite.run_benchmarks((part,), Display())
        assert is_clean((tmp_path / "said.json").read_text())
