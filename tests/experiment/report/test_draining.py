"""The draining gateway's benches run and keep up, the meter adds up, and the page is what its evidence gives."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiment.ask.schema import ConfigError
from experiment.bench.meter import Meter
from experiment.host import core_speed
from experiment.phases import PHASES
from experiment.report.bench import phase_lines, reaction_lines, total_lines
from experiment.report.pages.publish import GENERATED, publish_draining
from experiment.setup import CHECKOUT

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


def test_a_core_has_a_speed_after_a_pause() -> None:
    found = core_speed(Path(sys.executable), max(os.sched_getaffinity(0)))
    assert found is not None
    assert found["busy_us"] > 0
    assert found["after_pause_us"] > 0


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


def entries() -> list[dict[str, Any]]:
    loop = dict.fromkeys(PHASES, 1.0) | {"receive (kernel)": 30.0, "partial send (kernel)": 10.0}
    bare = {"loop": 5.0, "poll": 2.0, "sleep and wake-up": 3.0, "receive (kernel)": 25.0, "partial send (kernel)": 8.0}
    found: list[dict[str, Any]] = []
    for turn in range(2):
        for program, total_us, phases_us in (("draining", 160.0 + turn, loop), ("floor", 80.0, bare)):
            facts = {"tag": "3.14.7", "program": program, "turn": turn, "sessions": 1000, "total_us": total_us}
            found += [
                {**facts, "metered": False, "phases_us": {}},
                {**facts, "metered": True, "phases_us": phases_us},
            ]
    return found


def test_totals_are_paired_turn_by_turn() -> None:
    (line,) = total_lines(entries())
    assert line[:2] == ("CPython 3.14.7", "1000")
    assert line[4].startswith("2.01 (2.00–2.01, n=2)")


def test_phases_stand_beside_the_same_calls_of_the_floor_and_add_up() -> None:
    lines = {line[0]: line[1:] for line in phase_lines(entries(), "3.14.7")}
    assert lines["receive"] == ("31.0", "1.0", "30.0", "25.0", "")
    assert lines["poll"] == ("1.0", "", "1.0", "2.0", "")
    assert lines["loop"] == ("1.0", "1.0", "", "", "5.0")
    assert lines["sum"] == ("50.0", "8.0", "42.0", "38.0", "5.0")


def test_reactions_say_where_kernel_memory_was_not_observed() -> None:
    wait = {"p50": 1.2, "p95": 700.0, "max": 880.4, "count": 80}
    found = {f"{what}_ms": wait for what in ("ping", "close", "violation", "handshake")}
    (line,) = reaction_lines({"drain": {**found, "rss_bytes": 20480.0, "kernel_bytes": None}})
    assert line == ("drain", *["1 / 700 / 880"] * 3, "1 / 700 / 880: 80", "20", "not observed")


def test_the_page_is_what_its_evidence_gives(tmp_path: Path) -> None:
    kept = CHECKOUT / "notebooks/findings/draining"
    (tmp_path / "notebooks/findings/draining").mkdir(parents=True)
    for file in kept.iterdir():
        (tmp_path / "notebooks/findings/draining" / file.name).write_bytes(file.read_bytes())
    *_, prose = publish_draining([], None, tmp_path)
    assert prose.read_text(encoding="utf-8").startswith(GENERATED)
    assert prose.read_bytes() == (CHECKOUT / prose.relative_to(tmp_path)).read_bytes()


def test_a_page_without_evidence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give runs and --bench"):
        publish_draining([], None, tmp_path)
    with pytest.raises(ConfigError, match="draining and reactions"):
        publish_draining([], tmp_path, tmp_path)
