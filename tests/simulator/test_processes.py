"""Several processes on one port: connections in turn, stats together, and nobody outlives the others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from hdrh.histogram import HdrHistogram

from simulator.stub import predict
from tests.simulator.conftest import ROOT, H2Client, request_h1, started

SECOND = bytes(range(250)) * 128
PROCESSES = 3


@pytest.fixture
def several() -> Iterator[tuple[psutil.Process, int]]:
    with started("--processes", str(PROCESSES), "--model-delay-ms", "20", "--sigma", "0") as (process, port):
        yield psutil.Process(process.pid), port


def serving(process: psutil.Process) -> list[psutil.Process]:
    """Its children that serve: multiprocessing has one more, which does not."""
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


def connections_of(process: psutil.Process, port: int) -> int:
    return sum(c.laddr.port == port and c.status == "ESTABLISHED" for c in process.net_connections("tcp"))


def test_connections_go_to_them_in_turn_and_stats_are_of_all(several: tuple[psutil.Process, int]) -> None:
    process, port = several
    with ExitStack() as stack:
        clients = [H2Client(port) for _ in range(2 * PROCESSES)]
        for client in clients:
            stack.callback(client.close)
        streams = [client.start("POST", "/infer", SECOND) for client in clients]
        for client, stream in zip(clients, streams, strict=True):
            assert client.next_answer()[0] == stream
        assert [connections_of(child, port) for child in serving(process)] == [2] * PROCESSES
        for _ in range(PROCESSES):  # whoever is asked
            stats = request_h1(port, "GET", "/stats").json
            assert (stats["requests"], stats["answered"], stats["in_flight"]) == (6, 6, 0)
            assert stats["protocols"] == {"1.1": 0, "2": 6}
            assert stats["overshoot_ms"]["count"] == 6
            assert stats["settings"]["max_concurrent"] == 65_536
    whole = HdrHistogram(1, 60_000_000, 3)
    whole.decode_and_add(stats["overshoot_hdr"])
    assert whole.get_total_count() == 6


def test_every_process_computes_and_draws_times_of_its_own(several: tuple[psutil.Process, int]) -> None:
    _, port = several
    answers = {request_h1(port, "POST", "/infer", SECOND).body for _ in range(PROCESSES)}
    assert answers == {predict(SECOND, 4).to_json()}


def wait_until_gone(processes: list[psutil.Process]) -> None:
    gone, alive = psutil.wait_procs(processes, timeout=10)
    assert len(gone) == len(processes), alive


def test_a_killed_parent_takes_its_children_along(several: tuple[psutil.Process, int]) -> None:
    process, port = several
    request_h1(port, "GET", "/health")
    children = serving(process)
    assert len(children) == PROCESSES
    process.send_signal(signal.SIGKILL)
    wait_until_gone(children)


def test_a_child_that_dies_ends_all_with_a_message() -> None:
    command = [sys.executable, "-m", "simulator", "--port", "0", "--processes", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("simulator listening on")
        children = serving(psutil.Process(process.pid))
        children[1].kill()
        wait_until_gone(children)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "simulator: process 1 ended by itself" in said


def test_each_process_is_on_its_cpu() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("it takes two CPUs")
    with started("--processes", "2", "--cpus", f"{cpus[1]},{cpus[0]}") as (process, _):
        deadline_s = time.monotonic() + 10
        while True:
            found = [child.cpu_affinity() for child in serving(psutil.Process(process.pid))]
            if found == [[cpus[1]], [cpus[0]]]:
                break
            assert time.monotonic() < deadline_s, found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--processes", "2", "--cpus", "0"], "expected one for each of 2 processes"),
        (["--processes", "2", "--control"], "expected --processes 1 with --control"),
    ],
)
def test_refuses_what_makes_no_sense(options: list[str], words: str) -> None:
    command = [sys.executable, "-m", "simulator", "--port", "0", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert words in done.stderr
