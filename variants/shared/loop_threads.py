"""Threads that each run one asyncio event loop, with its own listening socket, connections and inference client.

Ownership: a connection is accepted by one thread and stays there: transport, connection, `Session`, relay tasks and the
loop's inference client are touched by that thread only. The kernel spreads connections over the listening sockets by a
hash of addresses and ports (SO_REUSEPORT), so the threads hand each other nothing. The main thread owns the process: it
binds the sockets, and then only waits for a signal or for a thread that died.

Shared between the threads: `HostOptions` (frozen), `_Stop` (below), the memory of `variants.shared.metrics`, and what
libraries keep in their modules: anyio, above all, has one table of task states for all threads.
"""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from queue import SimpleQueue
from types import FrameType
from typing import Any

from gateway import LEAVE_LIMIT_S, Tally
from variants.shared.build import require_interpreter, running
from variants.shared.clients import open_client
from variants.shared.collector import set_collector
from variants.shared.inference import InferenceClient
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

LOOPS = ("asyncio", "uvloop")
"""Event loops that a thread can run, the default first."""

_STOP_LIMIT_S = LEAVE_LIMIT_S + 0.4
"""For all threads together; what has not ended by then ends with the process."""
_RECEIVE_BYTES = 131_072
"""That the kernel holds of one client (socket(7): it doubles this for its own use). It would grow that to megabytes for
one who sends faster than real time, and a server might take them all in one call, while everybody else waits."""


@dataclass(frozen=True)
class Here:
    """What a server has on the loop that it runs on."""

    options: HostOptions
    tallies: Tallies
    tally: Tally
    """The loop's own."""
    client: InferenceClient
    listening: socket.socket
    """Bound, and not listening yet."""
    stopped: Callable[[], Awaitable[None]]
    """Returns once the host is to end."""


Serve = Callable[[Here], Awaitable[None]]
"""A server: serves until `stopped`, then lets everybody go (`variants.shared.sessions`), and returns."""


def run_host(name: str, options: HostOptions, serve_loop: Serve) -> int:
    """A host's process: serve until a signal ends it (status 0) or a thread dies (1); 2 is a mistake in the options."""
    if options.loops < 1:
        return _refuse(name, f"--loops: expected at least 1, got {options.loops}")
    if options.loops > 1 and not running().endswith("t"):
        return _refuse(
            name,
            f"--loops: expected 1 on CPython {running()}, which has a GIL, got {options.loops}; "
            "use a free-threaded build (3.14t)",
        )
    require_interpreter(options.expect)
    return serve(name, options, serve_loop)


def _refuse(name: str, why: str) -> int:
    print(f"{name}: {why}", file=sys.stderr)
    return 2


def serve(name: str, options: HostOptions, serve_loop: Serve) -> int:
    """Run `options.loops` threads until a signal (status 0) or until one of them dies (status 1)."""
    try:
        listening = listen(options.host, options.port, options.loops)
    except OSError as error:
        print(f"{name}: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def on_signal(number: int, frame: FrameType | None) -> None:
        ended.put(None)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    tallies = Tallies.create(options.loops)
    threads = [LoopThread(n, options, tallies, each, ended, serve_loop) for n, each in enumerate(listening)]
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
        serve_loop: Serve,
    ) -> None:
        super().__init__(name=f"loop-{number}", daemon=True)
        self._options = options
        self._tallies = tallies
        self._listening = listening
        self._ended = ended
        self._serve_loop = serve_loop
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
            tally = self._tallies.take()
            await self._serve_loop(Here(self._options, self._tallies, tally, client, self._listening, stop.wait))


def _loop_factory(name: str) -> Any:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop
