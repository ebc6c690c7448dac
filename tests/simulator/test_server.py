"""The server as its clients see it, over both protocols on one port."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hdrh.histogram import HdrHistogram

from simulator.stub import predict
from tests.simulator.conftest import ROOT, Answer, H2Client, request_h1, request_h2, started

Request = Callable[..., Answer]
both_protocols = pytest.mark.parametrize("request_", [request_h1, request_h2], ids=["http/1.1", "h2c"])
SECOND = bytes(range(250)) * 128
STATS_KEYS = {
    "requests",
    "answered",
    "in_flight",
    "queued",
    "queued_max",
    "protocols",
    "overshoot_ms",
    "overshoot_hdr",
    "loop_lag_ms",
    "descriptors_exhausted",
    "memory_exhausted",
    "settings",
}


@both_protocols
def test_health(fast: int, request_: Request) -> None:
    answer = request_(fast, "GET", "/health")
    assert (answer.status, answer.json) == (200, {"ok": True})


@both_protocols
@pytest.mark.parametrize("passes", [None, 1, 4, 7])
@pytest.mark.parametrize("body", [b"\x01\x80", SECOND, SECOND * 30], ids=["a sample", "a second", "a buffer"])
def test_answers_the_prediction(fast: int, request_: Request, passes: int | None, body: bytes) -> None:
    headers = {} if passes is None else {"x-cpu-passes": str(passes)}
    answer = request_(fast, "POST", "/infer", body, headers)
    assert (answer.status, answer.body) == (200, predict(body, passes or 4).to_json())


@both_protocols
@pytest.mark.parametrize("body", [b"", b"\x00", SECOND + b"\x00"])
def test_refuses_odd_and_empty_bodies(fast: int, request_: Request, body: bytes) -> None:
    answer = request_(fast, "POST", "/infer", body)
    assert answer.status == 400
    assert str(len(body)) in answer.json["error"]


@pytest.mark.parametrize("passes", ["0", "65", "-1", "four", "", "4.0", "9" * 5000])
def test_refuses_odd_passes(fast: int, passes: str) -> None:
    answer = request_h1(fast, "POST", "/infer", SECOND, {"x-cpu-passes": passes})
    assert answer.status == 400
    assert "x-cpu-passes from 1 to 64" in answer.json["error"]


@both_protocols
def test_unknown_paths(fast: int, request_: Request) -> None:
    for method, path in (("GET", "/"), ("GET", "/infer"), ("POST", "/health"), ("GET", "/control/nothing")):
        assert request_(fast, method, path).status == 404


def test_control_is_not_there_unless_asked_for(simulator: Callable[..., int]) -> None:
    port = simulator()
    assert request_h1(port, "PUT", "/control/behaviours/00000000", b"{}").status == 404
    assert request_h1(port, "GET", "/control/requests/00000000").status == 404


def test_stats(simulator: Callable[..., int]) -> None:
    port = simulator("--model-delay-ms", "30", "--batch-wait-max-ms", "0", "--sigma", "0", "--seed", "9")
    fresh = request_h1(port, "GET", "/stats").json
    assert fresh.keys() == STATS_KEYS
    assert fresh["overshoot_ms"] == {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}

    for request_ in (request_h1, request_h2, request_h2):
        request_(port, "POST", "/infer", SECOND)
    request_h1(port, "POST", "/infer", b"\x00")
    stats = request_h2(port, "GET", "/stats").json
    counts = {key: stats[key] for key in ("requests", "answered", "in_flight", "queued", "queued_max", "protocols")}
    assert counts == {
        "requests": 4,
        "answered": 4,
        "in_flight": 0,
        "queued": 0,
        "queued_max": 0,
        "protocols": {"1.1": 2, "2": 2},
    }
    assert stats["overshoot_ms"]["count"] == 3
    assert 0 <= stats["overshoot_ms"]["p50"] <= stats["overshoot_ms"]["max"]
    assert stats["loop_lag_ms"]["count"] > 0
    assert (stats["descriptors_exhausted"], stats["memory_exhausted"]) == (False, False)
    assert stats["settings"]["service_time"]["model_delay_ms"] == 30
    assert stats["settings"]["seed"] == 9

    merged = HdrHistogram(1, 60_000_000, 3)
    merged.decode_and_add(stats["overshoot_hdr"])
    assert merged.get_total_count() == 3
    assert merged.get_max_value() == stats["overshoot_ms"]["max"] * 1000


@both_protocols
def test_waits_out_the_service_time(simulator: Callable[..., int], request_: Request) -> None:
    port = simulator("--model-delay-ms", "200", "--batch-wait-max-ms", "0", "--sigma", "0", "--slow-probability", "0")
    started_s = time.monotonic()
    assert request_(port, "POST", "/infer", SECOND).status == 200
    assert time.monotonic() - started_s >= 0.2


def test_requests_past_the_limit_queue_in_order(simulator: Callable[..., int]) -> None:
    port = simulator("--max-concurrent", "1", "--model-delay-ms", "50", "--batch-wait-max-ms", "0", "--sigma", "0")
    client = H2Client(port)
    try:
        started_s = time.monotonic()
        streams = [client.start("POST", "/infer", SECOND) for _ in range(5)]
        answered = [client.next_answer()[0] for _ in streams]
        elapsed_s = time.monotonic() - started_s
    finally:
        client.close()
    assert answered == streams
    assert elapsed_s >= 5 * 0.05
    stats = request_h1(port, "GET", "/stats").json
    assert stats["queued_max"] == 4
    assert stats["queued"] == stats["in_flight"] == 0
    assert stats["overshoot_ms"]["max"] < 100  # the wait for a slot is no overshoot


def test_a_burst_of_requests_does_not_pay_for_its_answers_on_arrival(simulator: Callable[..., int]) -> None:
    port = simulator("--model-delay-ms", "4000", "--batch-wait-max-ms", "0", "--sigma", "0", "--slow-probability", "0")
    body, passes, requests = SECOND * 10, 64, 40
    predict(body, passes)
    before_s = time.process_time()
    predict(body, passes)
    alone_s = time.process_time() - before_s
    (pid,) = (c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.status == "LISTEN")
    process = psutil.Process(pid)
    before = process.cpu_times()
    client = H2Client(port)
    try:
        streams = [client.start("POST", "/infer", body, {"x-cpu-passes": str(passes)}) for _ in range(requests)]
        while request_h1(port, "GET", "/stats").json["requests"] < requests:
            pass
        after = process.cpu_times()
        answers = [client.next_answer()[1] for _ in streams]
    finally:
        client.close()
    assert {answer.body for answer in answers} == {predict(body, passes).to_json()}
    assert after.user + after.system - before.user - before.system < requests * alone_s / 2


def test_a_thousand_streams_on_one_connection(simulator: Callable[..., int]) -> None:
    port = simulator("--model-delay-ms", "1500", "--batch-wait-max-ms", "0", "--sigma", "0", "--slow-probability", "0")
    client = H2Client(port)
    try:
        client.start("GET", "/health")
        client.next_answer()  # the server's settings have come
        streams = [client.start("POST", "/infer", SECOND[:640]) for _ in range(1000)]
        answers = dict(client.next_answer() for _ in streams)
    finally:
        client.close()
    assert {answer.status for answer in answers.values()} == {200}
    assert set(answers) == set(streams)


def test_running_out_of_descriptors_shows() -> None:
    with started() as (process, port):
        process_ = psutil.Process(process.pid)
        spare = process_.num_fds() + 8
        process_.rlimit(psutil.RLIMIT_NOFILE, (spare, spare))
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
        time.sleep(1.5)
        for connection in idle:
            connection.close()
        deadline_s = time.monotonic() + 10
        while True:
            try:
                stats = request_h1(port, "GET", "/stats").json
                break
            except OSError:
                assert time.monotonic() < deadline_s
        assert stats["descriptors_exhausted"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it_at_once_even_with_requests_open(number: signal.Signals) -> None:
    with started("--model-delay-ms", "30000") as (process, port), ThreadPoolExecutor() as pool:
        pending = pool.submit(request_h1, port, "POST", "/infer", SECOND)
        while request_h1(port, "GET", "/stats").json["in_flight"] == 0:
            pass
        assert psutil.Process(process.pid).children() == []
        process.send_signal(number)
        assert process.wait(timeout=2) == -number
        with pytest.raises(ConnectionError):
            pending.result(timeout=5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def run_simulator(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_refuses_a_port_that_is_taken() -> None:
    with started() as (_, port):
        second = run_simulator("--port", str(port))
    assert second.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr


def test_refuses_settings_that_make_no_sense() -> None:
    refused = run_simulator("--port", "0", "--sigma", "-1")
    assert refused.returncode == 2
    assert "sigma must be a finite number of at least 0, got -1" in refused.stderr


def test_the_compiled_stub_is_cached_in_the_checkout(fast: int) -> None:
    assert list(Path(ROOT, "simulator", "__pycache__").glob("stub._checksums-*.nbc"))
