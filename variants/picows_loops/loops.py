"""The threads: each runs one event loop with its own listening socket, connections, sessions and inference client.

The WebSocket server is picows: well kept, its parser in Cython, with wheels for 3.14t, and a listener called straight
from the transport's read, so that a frame costs no task switch. Its transports are aiofastnet's (it depends on that) on
either event loop.

Ownership: a connection is accepted by one thread and stays there: transport, `Connection`, `Session`, relay tasks, the
loop's inference client and its random generator are touched by that thread only. The kernel spreads connections over
the listening sockets by a hash of addresses and ports (SO_REUSEPORT), so the threads hand each other nothing. The main
thread owns the process: it binds the sockets, and then only waits for a signal or for a thread that died.

Shared between the threads: `HostOptions` (frozen), `_Stop` (below), the memory of `variants.shared.metrics`, and what
libraries keep in their modules: anyio, above all, has one table of task states for all threads. What a frame or a tick
would take references to is each thread's own where that is ours to say (docs/findings/two-cores.md).
"""

import asyncio
import contextlib
import random
import signal
import socket
import sys
import threading
import time
import traceback
from queue import SimpleQueue
from types import FrameType
from typing import Any

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from gateway import FULL, LEAVE_LIMIT_S, Session, SessionSettings, Tally
from variants.picows_loops.connection import Connection, of_this_thread
from variants.picows_loops.framing import MOST_BYTES
from variants.shared.build import require_interpreter
from variants.shared.clients import open_client
from variants.shared.collector import set_collector
from variants.shared.inference import InferenceClient
from variants.shared.leaving import leave_all
from variants.shared.metrics import CONTENT_TYPE, Tallies
from variants.shared.options import HostOptions

LOOPS = ("asyncio", "uvloop")
"""Event loops that a thread can run, the default first."""

BACKLOG = 4096
"""Connections that the kernel holds for each listening socket until the loop comes to accept them."""

_STOP_LIMIT_S = LEAVE_LIMIT_S + 0.4
"""For all threads together; what has not ended by then ends with the process."""
_READ_BUFFER_BYTES = 4096
"""Six frames; picows grows it for a client that sends in bursts, up to what the kernel holds."""
_RECEIVE_BYTES = 131_072
"""That the kernel holds of one client (socket(7): it doubles this for its own use). It would grow that to megabytes for
one who sends faster than real time, and picows would take them all in one call, while everybody else waits."""


def serve(options: HostOptions) -> int:
    """Run `options.loops` threads until a signal (status 0) or until one of them dies (status 1)."""
    try:
        listening = listen(options.host, options.port, options.loops)
    except OSError as error:
        print(f"picows_loops: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def on_signal(number: int, frame: FrameType | None) -> None:
        ended.put(None)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    tallies = Tallies.create(options.loops)
    threads = [LoopThread(n, options, tallies, each, ended) for n, each in enumerate(listening)]
    for thread in threads:
        thread.start()
    fatal = ended.get()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    for thread in threads:
        thread.stop()
    ends_s = time.monotonic() + _STOP_LIMIT_S
    for thread in threads:
        thread.join(max(0.0, ends_s - time.monotonic()))
    if fatal is None:
        return 0
    traceback.print_exception(fatal)
    return 1


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind `count` sockets to one port. OSError where another process has it, even one that would share it with us."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    sockets = []
    for _ in range(count):
        each = socket.socket(family)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)  # its connections inherit it
        each.bind((host, port))
        sockets.append(each)
    return sockets


class _Stop:
    """How the main thread ends a loop: set by the loop's thread once, used by the main thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already: its thread is ending by itself
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class LoopThread(threading.Thread):
    """One thread with one event loop. Its name is its name in /proc/<pid>/task/*/comm, too (CPython ≥ 3.14)."""

    def __init__(
        self,
        number: int,
        options: HostOptions,
        tallies: Tallies,
        listening: socket.socket,
        ended: "SimpleQueue[BaseException | None]",
    ) -> None:
        super().__init__(name=f"loop-{number}", daemon=True)
        self._options = options
        self._tallies = tallies
        self._listening = listening
        self._ended = ended
        self._stop_of_loop: _Stop | None = None

    def run(self) -> None:
        """Serve; whatever ends it is told to the main thread."""
        try:
            with asyncio.Runner(loop_factory=_loop_factory(self._options.loop)) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._ended.put(error)

    def stop(self) -> None:
        """Ask the loop to end; called by the main thread. A thread that has no loop yet, or no more, ends by itself."""
        stop = self._stop_of_loop
        if stop is not None:
            stop.set()

    async def _serve(self) -> None:
        self._stop_of_loop = stop = _Stop()
        async with open_client(self._options) as client:
            require_interpreter(self._options.expect)  # the client's modules are the last that are imported
            set_collector(self._options.collector)
            connections: set[Connection] = set()
            server = await ws_create_server(
                self._router(client, self._tallies.take(), connections),
                sock=self._listening,
                backlog=BACKLOG,
                max_frame_size=MOST_BYTES,
                read_buffer_init_size=_READ_BUFFER_BYTES,
                enable_auto_pong=False,  # `Connection` looks at a ping's reserved bits first
            )
            await stop.wait()
            server.close()
            await leave_all(connections)

    def _router(self, client: InferenceClient, tally: Tally, connections: set[Connection]) -> Any:
        """What picows calls with each HTTP request: a listener for a WebSocket, a whole answer, or None for 404."""
        phases, admission, settings = random.Random(), self._options.admission, SessionSettings()
        connection = of_this_thread(Connection)

        def route(request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener | None:
            path = request.path.partition(b"?")[0]
            if path == b"/ws/stt":
                if not admission.admits(tally):
                    return _answer(WSUpgradeResponse.create_error_response(503, FULL.reason.encode()))
                phase_ms = phases.uniform(0, self._options.flush_phase_jitter_ms)
                return connection(Session(settings, phase_ms, tally), client, tally, connections)
            if path == b"/health":
                return _answer(
                    WSUpgradeResponse.create_ok_response(b'{"ok":true}', {"Content-Type": "application/json"})
                )
            if path == b"/metrics":
                return _answer(
                    WSUpgradeResponse.create_ok_response(self._tallies.page(), {"Content-Type": CONTENT_TYPE})
                )
            return None

        return route


def _answer(response: WSUpgradeResponse) -> WSUpgradeResponseWithListener:
    """It and no WebSocket."""
    return WSUpgradeResponseWithListener(response, None)


def _loop_factory(name: str) -> Any:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop
