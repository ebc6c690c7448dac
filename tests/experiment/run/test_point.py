"""What of a point's surroundings makes it INVALID, and when the harness is asked about itself."""

import io
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from rich.console import Console

from experiment.ask import Ask, load_config, resolve_one
from experiment.host import AffinityGroup, CgroupHost, Command, Limits, OuterQuota, Role, make_group, usable_cpus
from experiment.host.procfs import ProcessId
from experiment.run.point import _summarise, _Watch, lost_groups
from experiment.run.probe import ProbeError, get_json
from experiment.run.progress import Display, Stage
from experiment.run.surroundings import Surroundings
from experiment.store import PointFolder
from tests.experiment.host.conftest import script

LOAD = """
    import json, pathlib, time
    for phase, periods in (("ramp", 3), ("warmup", 3), ("measure", 5), ("drain", 5), ("verify", 5), ("done", 9)):
        pathlib.Path("cpu.stat").write_text(f"nr_throttled {periods}\\nthrottled_usec {periods * 1000}\\n")
        print(json.dumps({"event": "phase", "phase": phase}), flush=True)
        while not pathlib.Path(phase).exists():
            time.sleep(0.01)
"""
"""A load whose phases end when they were seen, under a quota that throttles."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_point_that_an_outer_quota_throttled_is_invalid_and_keeps_by_how_much(tmp_path: Path) -> None:
    async def saw(phase: str, _: Mapping[str, Role]) -> None:
        (tmp_path / phase).touch()

    async def silent() -> dict[str, Any]:
        raise ProbeError("there is no simulator")

    plan = resolve_one(load_config(), Ask("experiment", target="ws://127.0.0.1:9"))
    folder = PointFolder.create(tmp_path, "external", 5, 1)
    surroundings = Surroundings([OuterQuota(tmp_path, "/box", 0.5)], usable_cpus())
    host = CgroupHost("none", (), ("taken away for this test",), ())
    group = make_group(host, ProcessId.current(), "loadgen", Limits())
    async with Role(script(tmp_path, LOAD, pipe=True), group) as role:
        with Display().stage("a point", 1.0) as stage:
            watch = _Watch({"loadgen": role}, plan, 5, folder, silent, stage, saw, surroundings)
            await watch.follow()
    summary = _summarise(plan, 5, folder, watch, None, {})
    assert summary["status"] == "INVALID"
    assert summary["reasons"][0] == (
        "a quota that is not the run's (0.5 vCPU, group /box) throttled it in 2 periods, 2 ms in all"
    )
    assert summary["outer_quotas"] == [{"group": "/box", "vcpus": 0.5, "throttled_periods": 2, "throttled_ms": 2.0}]


def test_a_role_that_lost_its_group_is_named_with_the_reason() -> None:
    lost = AffinityGroup(ProcessId.current(), "gateway", Limits(frozenset({0})), "a cgroup could not be made: EBUSY")
    (said,) = lost_groups(True, [lost])
    assert said.startswith("gateway lost its group: ")
    assert "EBUSY" in said
    assert lost_groups(False, [lost]) == []


@contextmanager
def stats_server() -> Iterator[tuple[int, list[float]]]:
    """Its port, and when each question came; the answer is how many came so far."""
    asked: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(time.monotonic())
            body = json.dumps({"asked": len(asked)}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.anyio
@pytest.mark.parametrize(("phases", "then"), [("ramp measure drain verify", 0), ("ramp measure", 1)])
async def test_the_simulator_is_asked_once_and_before_the_check_takes_the_core(
    tmp_path: Path, phases: str, then: int
) -> None:
    lines = [json.dumps({"event": "phase", "phase": phase}) for phase in phases.split()]
    code = f"import sys, time\nfor line in {lines!r}: print(line, flush=True)\ntime.sleep(1.5)\nsys.exit({then})"
    group = AffinityGroup(ProcessId.current(), "loadgen", Limits(), "no cgroup is needed here")
    command = Command([sys.executable, "-c", code], tmp_path, tmp_path / "loadgen.log", pipe_stdout=True)
    plan = resolve_one(load_config(), Ask(verb="experiment"))
    folder = PointFolder.create(tmp_path, "gil", 1, 1)
    with stats_server() as (port, asked):
        async with Role(command, group) as role:

            async def ask() -> dict[str, Any]:
                return await get_json("127.0.0.1", port, "/stats")

            stage = Stage(Display(Console(file=io.StringIO())), "a point", 1.0)
            watch = _Watch({"loadgen": role}, plan, 1, folder, ask, stage, None, Surroundings([], []))
            with anyio.fail_after(30):
                await watch.follow()
            ended_s = time.monotonic()
    assert watch.simulator == {"asked": 1}
    assert len(asked) == 1
    # The "verify" line comes 1.5 s before the end; a load generator that died before it is asked about at its end.
    assert (ended_s - asked[0] > 1.0) == ("verify" in phases)


def test_steal_time_of_the_measured_window_alone_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = {"ramp": (0, 100), "warmup": (50, 200), "measure": (50, 300), "drain": (80, 800), "verify": (500, 1300)}
    around = Surroundings([], [1])
    for phase, read in ticks.items():
        monkeypatch.setattr(
            "experiment.run.surroundings.steal_ticks", lambda cpus, read=read: dict.fromkeys(cpus, read)
        )
        around.mark(phase)
    assert around.steal_share() == {"1": 0.06}
    assert around.notes() == ["the hypervisor took 6.0% of CPU 1 in the measured window"]
    assert Surroundings([], [1]).notes() == []
