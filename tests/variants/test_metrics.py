"""What every host counts, and whom it lets in: real hosts, alone, in threads and in processes, asked over HTTP."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway import FRAME_BYTES, FULL
from tests.variants.hosts import EACH_TIME_OR_SLOW, HOSTS, START, STOCK, running
from tests.variants.inference import InferenceServer, inference_server
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

Figures = dict[str, float]


@pytest.fixture
def prompt() -> Iterator[InferenceServer]:
    with inference_server() as server:
        yield server


def figures(port: int) -> Figures:
    """Each sample's value by its name, with the labels that it has behind it, sorted."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.request("GET", "/metrics")
    response = client.getresponse()
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = parsed(response.read())
    client.close()
    return found


def parsed(page: bytes) -> Figures:
    samples = [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]
    return {" ".join((sample.name, *sorted(sample.labels.values()))): sample.value for sample in samples}


def wait_for(port: int, holds: Callable[[Figures], bool]) -> Figures:
    """The first figures of which it holds; the last that were seen, where it does not within 5 s."""
    until_s = time.monotonic() + 5
    while not holds(found := figures(port)) and time.monotonic() < until_s:
        time.sleep(0.05)
    return found


@contextmanager
def session(port: int, *, frames: int = 0) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{port}/ws/stt", compression=None, ping_interval=None) as client:
        client.send(START)
        for _ in range(frames):
            client.send(bytes(FRAME_BYTES))
        yield client


@pytest.mark.parametrize("name", EACH_TIME_OR_SLOW)
def test_a_host_counts_for_all_its_loops_and_lets_nobody_in_when_full(name: str, prompt: InferenceServer) -> None:
    loops, is_free_threaded = 2 if "2" in HOSTS[name][1] else 1, HOSTS[name][0] is not None
    with running(name, prompt.port, "--most-sessions", "4") as (_, port), ExitStack() as stack:
        wait_for(port, lambda found: found["gateway_connections"] == 0)  # one looked whether it serves
        tried = [let_in(stack, port, name) for _ in range(8)]  # of two loops, one may be full before the other
        inside = [client for client in tried if client is not None]
        assert 4 // loops <= len(inside) <= 4
        for client in inside:
            for _ in range(5):
                client.send(bytes(FRAME_BYTES))
        for client in inside:
            assert json.loads(client.recv(timeout=5))["type"] == "partial"
        for _ in range(4):  # whichever loop is asked
            found = figures(port)
            assert found["gateway_event_loops"] == (0 if name.startswith("thread-") else loops)
            assert found["gateway_connections"] == len(inside)
            assert found["gateway_refused_total"] == 8 - len(inside)
            assert found["gateway_connected_total"] == len(inside) + 1
            assert found["gateway_frames_total"] == 5 * len(inside)
            assert found["gateway_audio_bytes_total"] == 5 * len(inside) * FRAME_BYTES
        assert found["gateway_gil_enabled"] == float(not is_free_threaded)
        assert found["gateway_flushes_total"] == found["gateway_inference_seconds_count"] >= len(inside)
        assert found["gateway_flush_lateness_seconds_count"] == found["gateway_flushes_total"]
        assert 0 < found["gateway_inference_seconds_sum"] < 5
        assert found["gateway_inferences_in_flight"] == found["gateway_backlog_frames"] == 0
        assert wait_for(port, lambda found: found["gateway_flushes_skipped_total empty"] >= 1)
        inside.pop().close()
        wait_for(port, lambda found: found["gateway_connections"] == len(inside))
        assert any(let_in(stack, port, name) is not None for _ in range(20))


def test_errors_are_counted_by_stage_and_kind(prompt: InferenceServer) -> None:
    with running("drain", 1) as (_, port), session(port, frames=3) as client:
        error = json.loads(client.recv(timeout=5))
        assert figures(port)[f"gateway_errors_total {error['kind']} {error['stage']}"] == 1


def let_in(stack: ExitStack, port: int, name: str) -> ClientConnection | None:
    """A session that stays for as long as the stack; None where the gateway is full, which it says as its host can."""
    try:
        client = stack.enter_context(session(port))
        if name in STOCK:
            client.recv(timeout=0.1)
    except TimeoutError:
        return client
    except InvalidStatus as refusal:
        said: object = refusal.response.status_code
    except ConnectionClosed as closed:
        said = closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)
    else:
        return client
    assert said == (FULL if name in STOCK else 503)
    return None


def test_nobody_is_let_in_while_too_many_requests_are_in_flight() -> None:
    with ExitStack() as stack:
        slow = stack.enter_context(inference_server(1.0))
        _, port = stack.enter_context(running("drain", slow.port, "--most-inferences", "2"))
        for _ in range(2):
            stack.enter_context(session(port, frames=1))
        for _ in range(2):
            assert slow.arrived.acquire(timeout=5)
        assert let_in(stack, port, "drain") is None
        wait_for(port, lambda found: found["gateway_inferences_in_flight"] == 0)
        assert let_in(stack, port, "drain") is not None


def test_loops_share_a_limit_and_have_room_for_one_at_least() -> None:
    admission = HostOptions(port=1, inference_url="", loops=4, most_sessions=10, most_inferences=1).admission
    assert (admission.most_connections, admission.most_inferences) == (2, 1)


def test_rows_are_each_loop_s_own_and_run_out() -> None:
    tallies = Tallies.create(1)
    first, second = tallies.take(), Tallies(tallies._path).take()
    first.enter()
    second.enter()
    second.lateness[2] += 1
    second.erred("inference_request", "timeout")
    found = parsed(tallies.page())
    assert found["gateway_connections"] == found["gateway_event_loops"] == 2
    assert found["gateway_flush_lateness_seconds_bucket 0.002"] == 0
    assert found["gateway_flush_lateness_seconds_bucket 0.005"] == 1
    assert found["gateway_flush_lateness_seconds_bucket +Inf"] == 1
    assert found["gateway_errors_total inference_request timeout"] == 1
    while len(tallies.rows()) < 65:
        tallies.take()
    with pytest.raises(RuntimeError, match="65 event loops have begun"):
        tallies.take()
