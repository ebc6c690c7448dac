"""The picows host as a process of its own: it starts, answers, refuses and ends; and no session ever changes threads.

What needs a free-threaded build runs there as a process, and is skipped with set-up's reason where there is none.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import anyio
import pytest
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from gateway import Infer, Session, SessionSettings, Tally
from simulator.port import free_port
from tests.conformance.audio import Audio
from tests.conformance.session import START, check_numbers
from tests.conformance.session import Session as ClientSession
from tests.conformance.wire import Address, frame, open_wire
from tests.interpreters import kernel_knows_thread_names, python_of
from tests.simulator.conftest import ROOT, fast, request_h1
from variants.picows_loops import connection as connection_module
from variants.picows_loops import loops
from variants.picows_loops.connection import Connection
from variants.shared import loop_threads
from variants.shared.inference import Answer
from variants.shared.loop_threads import LOOPS
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

START_LIMIT_S = 10.0
__all__ = ["fast"]  # the fixture: a simulator that answers at once

SESSIONS = 200
FREE_THREADED_LOOPS = 3


@contextmanager
def host(
    infer_port: int, *options: str, python: str = sys.executable, module: str = "variants.picows_loops"
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A host that answers, and its port; killed at the end if it still runs."""
    port = free_port()
    command = [python, "-m", module, "--port", str(port), "--inference-url", f"http://127.0.0.1:{infer_port}", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_healthy(process, port)
            yield process, port
        finally:
            process.kill()


def wait_healthy(process: subprocess.Popen[str], port: int) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            answer = request_h1(port, "GET", "/health")
        except OSError:
            assert process.poll() is None, f"the host ended with status {process.returncode}"
            assert time.monotonic() < deadline_s, f"the host did not answer within {START_LIMIT_S:g} s"
            time.sleep(0.05)
            continue
        assert (answer.status, answer.json) == (200, {"ok": True})
        return


def ended(process: subprocess.Popen[str], number: signal.Signals) -> int:
    """The status after a signal, which must come soon."""
    process.send_signal(number)
    return process.wait(timeout=3)


@pytest.mark.parametrize(("loop", "transport"), [("asyncio", "h2"), ("uvloop", "h1")])
def test_a_session_is_answered_and_a_signal_ends_the_host(loop: str, transport: str, fast: int) -> None:
    async def talk(port: int) -> None:
        async with open_wire(Address("127.0.0.1", port)) as wire:
            await wire.send_text(START)
            session = ClientSession(wire, Audio(b"\1\2\3\4"))
            await session.send_frames(10)
            check_numbers(await session.all_covered(), session.audio)
            assert ended(process, signal.SIGTERM) == 0, "with a connection open"

    options = ("--loop", loop, "--transport", transport, "--flush-phase-jitter-ms", "0")
    with host(fast, *options) as (process, port):
        for path, status in (("/health?x=1", 200), ("/ws/stt", 400), ("/", 404), ("/ws/stt/", 404)):
            assert request_h1(port, "GET", path).status == status, path
        anyio.run(talk, port)


@kernel_knows_thread_names
def test_threads_carry_their_names_to_the_kernel_and_interrupting_is_no_error(fast: int) -> None:
    with host(fast) as (process, _):
        names = [(task / "comm").read_text().strip() for task in Path(f"/proc/{process.pid}/task").iterdir()]
        assert names.count("loop-0") == 1
        assert ended(process, signal.SIGINT) == 0


def refusal(*options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "variants.picows_loops", "--inference-url", "http://127.0.0.1:1", *options]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
    return finished.returncode, finished.stderr


def test_more_than_one_loop_needs_a_free_threaded_build() -> None:
    status, said = refusal("--port", str(free_port()), "--loops", "2")
    assert status == 2
    assert "--loops: expected 1 on CPython" in said


def test_no_loop_is_a_mistake() -> None:
    assert refusal("--port", str(free_port()), "--loops", "0")[0] == 2


def test_another_interpreter_than_promised_is_refused() -> None:
    status, said = refusal("--port", str(free_port()), "--expect", "3.99.1")
    assert status == 1
    assert "expected CPython 3.99.1" in said


def test_a_port_is_not_shared_with_another_host(fast: int) -> None:
    """SO_REUSEPORT would let a forgotten gateway take half of the connections."""
    with host(fast) as (_, port):
        status, said = refusal("--port", str(port))
        assert status == 1
        assert f"cannot listen on 127.0.0.1:{port}" in said


def test_a_close_is_answered_with_its_own_code_where_that_may_be_sent(fast: int) -> None:
    async def answers(port: int) -> list[int]:
        codes = []
        for payload in (b"", b"\x03\xe8", b"\x0f\xa0", b"\0\0", b"\x03\xee"):
            async with open_wire(Address("127.0.0.1", port)) as wire:
                await wire.send_raw(frame(WSMsgType.CLOSE, payload))
                codes.append((await wire.closed(2, "an answer")).code)
        return codes

    with host(fast) as (_, port):
        assert anyio.run(answers, port) == [1000, 1000, 4000, 1002, 1002]


def test_a_thread_that_dies_ends_the_host_with_its_error() -> None:
    program = (
        "import sys; from variants.picows_loops.loops import serve_loop; from variants.shared import loop_threads\n"
        "from variants.shared.options import HostOptions\n"
        "def broken(options): raise OSError('out of luck')\n"
        "loop_threads.open_client = broken\n"
        f"options = HostOptions(port={free_port()}, inference_url='http://127.0.0.1:1')\n"
        "sys.exit(loop_threads.serve('picows_loops', options, serve_loop))"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert finished.returncode == 1
    assert finished.stderr.rstrip().endswith("OSError: out of luck")


def test_a_loop_that_has_ended_can_still_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread hears of a death while the thread is still ending, its loop closed already."""

    def broken(options: HostOptions) -> None:
        raise OSError("out of luck")

    monkeypatch.setattr(loop_threads, "open_client", broken)
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    (listening,) = loop_threads.listen("127.0.0.1", free_port(), 1)
    with listening:
        thread = loop_threads.LoopThread(
            0,
            HostOptions(port=0, inference_url="http://127.0.0.1:1"),
            Tallies.create(1),
            listening,
            ended,
            loops.serve_loop,
        )
        thread.start()
        assert str(ended.get(timeout=5)) == "out of luck"
        thread.join(5)
        thread.stop()  # raised "Event loop is closed", in the moments in which the thread is still alive
    assert not thread.is_alive()


# --- a client that does not read ---


class DeafTransport:
    """Stands in for picows' transport: the kernel takes nothing of what is sent."""

    def __init__(self) -> None:
        self.underlying_transport = self
        self.listener: Connection | None = None
        self.sent: list[object] = []
        self.closing = False
        self.disconnects: list[bool] = []

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def is_closing(self) -> bool:
        return self.closing

    def send(self, kind: WSMsgType, message: object) -> None:
        assert self.listener is not None
        self.sent.append(message)
        self.listener.pause_writing()

    def disconnect(self, graceful: bool = True) -> None:
        self.disconnects.append(graceful)


class PromptClient:
    """An inference server that answers nonsense at once."""

    def __init__(self) -> None:
        self.batches = 0

    async def infer(self, batch: Infer) -> Answer:
        self.batches += 1
        return Answer(500, b"")


async def deaf_session(client: PromptClient) -> tuple[Connection, DeafTransport]:
    """A started session on a deaf transport, with a tick every 2 ms and a frame for each."""
    transport = DeafTransport()
    connection = Connection(Session(SessionSettings(flush_interval_ms=2), 0), client, Tally(), set())
    transport.listener = connection
    connection.on_ws_connected(transport)
    connection.on_ws_frame(transport, _make_test_ws_frame(WSMsgType.TEXT, START.encode(), True, False))
    await send_frames(connection, transport)
    return connection, transport


async def send_frames(connection: Connection, transport: DeafTransport) -> None:
    for _ in range(30):
        connection.on_ws_frame(transport, _make_test_ws_frame(WSMsgType.BINARY, bytes(640), True, False))
        await asyncio.sleep(0.004)


def test_a_client_that_does_not_read_fills_the_outbox_and_stops_the_flushes() -> None:
    async def run() -> None:
        client = PromptClient()
        connection, transport = await deaf_session(client)
        assert (client.batches, len(transport.sent)) == (4, 1), "one is being written, three wait"
        connection.resume_writing()
        await send_frames(connection, transport)
        assert (client.batches, len(transport.sent)) == (5, 2), "room for one, so one more"
        connection.on_ws_disconnected(transport)

    asyncio.run(run())


def test_a_closing_connection_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_LOOK_INTERVAL_S", 0.01)

    async def run() -> None:
        connection, transport = await deaf_session(PromptClient())
        assert transport.disconnects == [], "a slow reader is no reason to end it"
        transport.closing = True  # what picows does when the client ends its side
        await asyncio.sleep(0.05)
        assert transport.disconnects == [False]
        connection.on_ws_disconnected(transport)

    asyncio.run(run())


def test_each_loop_has_its_own_copy_of_what_is_called_for_each_frame() -> None:
    one, other = (connection_module.of_this_thread(Connection) for _ in range(2))
    assert issubclass(one, Connection)
    assert one.on_ws_frame is not other.on_ws_frame
    assert one.on_ws_frame.__code__ is Connection.on_ws_frame.__code__


# --- free-threaded ---


@dataclass(frozen=True)
class Stress:
    """What the load generator and the watched host say of the same few seconds."""

    load: dict[str, Any]
    host: dict[str, Any]


@pytest.fixture(scope="module")
def free_threaded_python() -> str:
    return str(python_of("picows", "3.14t"))


@pytest.fixture(scope="module")
def both(fast: int, free_threaded_python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stress]:
    """A watched host for each kind of event loop, loaded side by side: the one's threads press upon the other's."""
    with ExitStack() as stack:
        hosts: dict[str, subprocess.Popen[str]] = {}
        loads: dict[str, subprocess.Popen[bytes]] = {}
        outs = {loop: tmp_path_factory.mktemp(loop) for loop in LOOPS}
        for loop in LOOPS:
            options = ("--loop", loop, "--loops", str(FREE_THREADED_LOOPS))
            watched = host(fast, *options, python=free_threaded_python, module="tests.variants.watched_loops")
            hosts[loop], port = stack.enter_context(watched)
            load = ["--url", f"ws://127.0.0.1:{port}/ws/stt", "--sessions", str(SESSIONS), "--out", str(outs[loop])]
            timing = ["--ramp-s", "0.3", "--spread-s", "0.2", "--warmup-s", "0", "--measure-s", "2"]
            command = [sys.executable, "-m", "loadgen", *load, *timing]
            loads[loop] = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
            stack.callback(loads[loop].kill)
        stresses = {}
        for loop in LOOPS:
            assert loads[loop].wait(timeout=30) == 0
            assert ended(hosts[loop], signal.SIGTERM) == 0
            summary = json.loads((outs[loop] / "summary.json").read_text())
            stresses[loop] = Stress(summary, json.loads(hosts[loop].stdout.read()))  # type: ignore[union-attr]
        return stresses


@pytest.fixture(params=LOOPS)
def stress(request: pytest.FixtureRequest, both: dict[str, Stress]) -> Stress:
    return both[request.param]


def test_no_session_hears_anothers_audio(stress: Stress) -> None:
    """Every partial is recomputed from session and sequence range by the load generator's own arithmetic."""
    assert stress.host["gil"] is False
    wrong = [failure for failure in stress.load["failure_details"] if failure["failure"] == "protocol"]
    assert wrong == []
    assert stress.host["calls"]["answered"] >= 2 * SESSIONS, "two batches of each session were compared"


def test_only_its_own_thread_touches_a_session(stress: Stress) -> None:
    assert stress.host["gil"] is False
    assert stress.host["sessions"] == SESSIONS
    assert stress.host["most_threads_of_a_session"] == 1
    assert len(stress.host["sessions_by_thread"]) == FREE_THREADED_LOOPS, "every thread had some"
    for verb in ("start", "frame", "tick", "answered", "written", "close"):
        assert stress.host["calls"][verb] >= SESSIONS, verb
