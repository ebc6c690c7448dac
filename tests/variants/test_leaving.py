"""SIGTERM in full flight, to every host as a process: what is in flight is answered, all are told 1001, and it ends.

The free-threaded rows are skipped with set-up's reason where there is no such build.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateway import FRAME_BYTES
from tests.variants.hosts import OURS, START, running
from tests.variants.inference import InferenceServer, inference_server

Ended = tuple[list[str], int | None]
"""The kinds of the messages until the end, and the code of the close; None where TCP ended without one."""
EXIT_LIMIT_S = 5.0
ANSWER_S = 0.7
SESSIONS = 8
STATUSES = {"granian": (0,), "mt": (0, -signal.SIGABRT)}
"""That Granian may end with. After it has shut down, 2.8.7 with two workers panics now and then: a thread of Rust lets
go of a Python object while it is not attached (pyo3: "Cannot drop pointer into Python heap")."""


@pytest.fixture
def slow() -> Iterator[InferenceServer]:
    with inference_server(ANSWER_S) as server:
        yield server


def what_came(client: ClientConnection) -> Ended:
    kinds = []
    while True:
        try:
            kinds.append(json.loads(client.recv(timeout=EXIT_LIMIT_S))["type"])
        except ConnectionClosed as ended:
            return kinds, ended.rcvd.code if ended.rcvd is not None else None


def terminated(name: str, slow: InferenceServer) -> tuple[list[Ended], list[Ended], int, float]:
    """SIGTERM with a request in flight for each of some clients: what came to them, and to two others of which one sent
    no audio and the other nothing at all; the host's status; and how many seconds it took."""
    with ExitStack() as stack:
        process, port = stack.enter_context(running(name, slow.port, "--flush-phase-jitter-ms", "1"))
        url = f"ws://127.0.0.1:{port}/ws/stt"
        clients = [stack.enter_context(connect(url, compression=None, ping_interval=None)) for _ in range(SESSIONS + 2)]
        talking, others = clients[:SESSIONS], clients[SESSIONS:]
        for client in clients[:-1]:
            client.send(START)
        for client in talking:
            for _ in range(5):
                client.send(bytes(FRAME_BYTES))
        for _ in talking:
            assert slow.arrived.acquire(timeout=5)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        came = [what_came(client) for client in talking], [what_came(client) for client in others]
        status = process.wait(2 * EXIT_LIMIT_S)
        return *came, status, time.monotonic() - began_s


@pytest.mark.parametrize("name", OURS)
def test_what_is_in_flight_is_answered_and_all_are_told(name: str, slow: InferenceServer) -> None:
    answered, others, status, took_s = terminated(name, slow)
    assert answered == [(["partial"], 1001)] * SESSIONS
    assert others == [([], 1001)] * 2
    assert status == 0
    assert took_s < EXIT_LIMIT_S


@pytest.mark.parametrize("name", STATUSES)
def test_granian_cuts_open_websockets_off_and_ends_in_time(name: str, slow: InferenceServer) -> None:
    # Granian 2.8.7 ends a WebSocket's handler as it begins to stop (src/runtime.rs, `spawn_cancellable`), before the
    # application's lifespan ends: nothing is answered, and no close frame is sent. Fails once Granian mends it.
    answered, others, status, took_s = terminated(name, slow)
    assert answered == [([], None)] * SESSIONS
    assert others == [([], None)] * 2
    assert status in STATUSES[name]
    assert took_s < EXIT_LIMIT_S
