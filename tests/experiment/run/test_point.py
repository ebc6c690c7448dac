"""What of a point's surroundings makes it INVALID, and when the harness is asked about itself."""

import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from experiment.ask import Ask, resolve_one
from experiment.ask.config import load_config
from experiment.host import AffinityGroup, Command, Limits, Role
from experiment.host.procfs import ProcessId
from experiment.run.point import _Watch, lost_groups
from experiment.run.progress import Display, Stage
from experiment.store import PointFolder


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
            stage = Stage(Display(Console(file=io.StringIO())), "a point", 1.0)
            watch = _Watch({"loadgen": role}, plan, 1, folder, port, stage, None)
            with anyio.fail_after(30):
                await watch.follow()
            ended_s = time.monotonic()
    assert watch.simulator == {"asked": 1}
    assert len(asked) == 1
    # The "verify" line comes 1.5 s before the end; a load generator that died before it is asked about at its end.
    assert (ended_s - asked[0] > 1.0) == ("verify" in phases)
