"""The simulator as several processes on one port: the parent accepts, and hands connections to the children in turn.

In turn, and not by the kernel's hash: a gateway may hold two connections in all. A child that is asked for the stats
asks the parent, which asks all of them. Whoever dies takes the others along.
"""

import asyncio
import json
import multiprocessing
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Any

from simulator.server import BACKLOG, ServerSettings, Simulator, raise_descriptor_limit
from simulator.stats import Report
from simulator.wire.connection import Connection

_READY, _CONNECTION, _ASK, _REPORT, _ALL = b"ready", b"connection", b"ask", b"report", b"all"
_MESSAGE_BYTES = 1 << 20
_SEED_STEP = 1_000_003
"""From one process's seed to the next one's: each draws service times of its own."""


class ChildDied(Exception):
    """A process ended by itself: says which, and how."""


@dataclass(slots=True)
class _Child:
    number: int
    process: BaseProcess
    channel: socket.socket


def serve_processes(
    settings: ServerSettings, processes: int, cpus: Sequence[int], on_listening: Callable[[], None]
) -> None:
    """Serve with so many processes beside this one, each on its CPU of `cpus` if there are any; `on_listening` is
    called once they answer. Runs until it is killed.

    Raises ChildDied. No child outlives this process.
    """
    raise_descriptor_limit()
    context = multiprocessing.get_context("spawn")
    children: list[_Child] = []
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG) as listener:
        listener.setblocking(False)
        try:
            for number in range(processes):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE_BYTES)
                own = replace(
                    settings,
                    seed=settings.seed + number * _SEED_STEP,
                    max_concurrent=-(-settings.max_concurrent // processes),
                )
                arguments = (own, settings, theirs, cpus[number] if cpus else None)
                process: BaseProcess = context.Process(target=_serve_share, args=arguments, daemon=True)
                process.start()
                theirs.close()
                children.append(_Child(number, process, ours))
            for child in children:
                _expect(child, _READY)
            on_listening()
            _Parent(listener, children).run()
        finally:
            for child in children:
                child.channel.close()
                child.process.kill()
                child.process.join()


class _Parent:
    """Hands out connections, and collects reports for whoever asks."""

    def __init__(self, listener: socket.socket, children: list[_Child]) -> None:
        self._listener = listener
        self._children = children
        self._turn = 0
        self._askers: deque[_Child] = deque()
        self._reports: dict[int, Report] = {}

    def run(self) -> None:
        """Raises ChildDied."""
        by_fd = {child.channel.fileno(): child for child in self._children}
        poll = select.poll()
        for fd in (self._listener.fileno(), *by_fd):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._hear(by_fd[fd])

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # nobody more; or no descriptor, and then the children, which hold them, say so
            with connection:
                child = self._children[self._turn % len(self._children)]
                self._turn += 1
                socket.send_fds(child.channel, [_CONNECTION], [connection.fileno()])

    def _hear(self, child: _Child) -> None:
        kind, _, text = _receive(child).partition(b" ")
        if kind == _ASK:
            self._askers.append(child)
            if len(self._askers) == 1:
                self._ask_all()
            return
        self._reports[child.number] = json.loads(text)
        if len(self._reports) == len(self._children):
            self._askers.popleft().channel.send(_ALL + b" " + json.dumps([*self._reports.values()]).encode())
            self._reports.clear()
            if self._askers:
                self._ask_all()

    def _ask_all(self) -> None:
        for child in self._children:
            child.channel.send(_ASK)


def _receive(child: _Child) -> bytes:
    data = child.channel.recv(_MESSAGE_BYTES)
    if not data:
        child.process.join(1)
        raise ChildDied(f"process {child.number} ended by itself (exit {child.process.exitcode})")
    return data


def _expect(child: _Child, wanted: bytes) -> None:
    got = _receive(child)
    if got != wanted:
        raise ChildDied(f"process {child.number}: expected {wanted!r}, got {got[:40]!r}")


def _serve_share(own: ServerSettings, whole: ServerSettings, channel: socket.socket, cpu: int | None) -> None:
    """A child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    asyncio.run(_share(own, whole, channel))


async def _share(own: ServerSettings, whole: ServerSettings, channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    waiting: deque[Callable[[list[Report]], None]] = deque()
    tasks: set[asyncio.Task[Any]] = set()

    def ask(give: Callable[[list[Report]], None]) -> None:
        waiting.append(give)
        channel.send(_ASK)

    simulator = Simulator(own, loop, reports=ask, shown=whole)
    simulator.begin()

    def hear() -> None:
        data, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 1)
        kind, _, text = data.partition(b" ")
        if not data:
            os._exit(0)  # the parent has gone
        elif kind == _ASK:
            channel.send(_REPORT + b" " + json.dumps(simulator.stats.report()).encode())
        elif kind == _ALL:
            waiting.popleft()(json.loads(text))
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            connection.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(lambda: Connection(simulator.serve), connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_reader(channel.fileno(), hear)
    channel.send(_READY)
    await loop.create_future()
