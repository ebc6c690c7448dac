"""The other side of a gateway: its clients and its inference server, in a process of their own.

Clients send a frame every 20 ms and read nothing; POSTs are answered after 80 ms. It runs on the interpreter whose
gateway it feeds: the standard library alone, and for HTTP/2 the hpack that such a gateway has, too.
"""

import multiprocessing
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

LOOPBACK = "127.0.0.1"
FRAME = b"\x82\xfe\x02\x80" + b"mask" + bytes(640)
UPGRADE = (
    b"GET /ws/stt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_START = b'\x81\x90\x00\x00\x00\x00{"type":"start"}'
_ANSWER = (
    b'{"rms":2425.5023191083533,"zero_crossings":350,"checksum":1745339397,"samples":%d,'
    b'"transcript":"now","audio_bytes":%d}'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SLOTS = 20
_SLOT_S = 0.001
_SERVICE_S = 0.08
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Feeder:
    """The running process, as its parent sees it."""

    inference_port: int
    _pipe: Connection

    def begin(self) -> None:
        """The gateway listens: connect, and send."""
        self._pipe.send(None)

    def answered(self) -> int:
        """POSTs answered so far: each is one session-second."""
        self._pipe.send(None)
        count: int = self._pipe.recv()
        return count


@contextmanager
def feeding(gateway_port: int, sessions: int) -> Iterator[Feeder]:
    """A feeder on the lowest core, this process on the highest, for as long as it is used.

    Raises:
        OSError: there is only one core.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise OSError(f"expected two cores, one for the gateway and one for its clients; this process may use {cores}")
    with feeding_from(cores[0], gateway_port, sessions) as feeder:
        feeder.begin()
        os.sched_setaffinity(0, {cores[-1]})
        try:
            yield feeder
        finally:
            os.sched_setaffinity(0, cores)


@contextmanager
def feeding_from(cpu: int, gateway_port: int, sessions: int, transport: str = "h1") -> Iterator[Feeder]:
    """A feeder on one CPU, which begins when it is told to. To be had before there are threads: it is a fork."""
    inference = socket.create_server((LOOPBACK, 0), backlog=_BACKLOG)
    ours, theirs = multiprocessing.Pipe()
    arguments = (theirs, inference, gateway_port, sessions, cpu, transport)
    child = multiprocessing.get_context("fork").Process(target=_feed, args=arguments, daemon=True)
    child.start()
    theirs.close()  # so that its end is noticed
    try:
        yield Feeder(inference.getsockname()[1], ours)
    finally:
        child.kill()
        child.join()
        inference.close()


def _feed(
    pipe: Connection, inference: socket.socket, gateway_port: int, sessions: int, cpu: int, transport: str
) -> None:
    os.sched_setaffinity(0, {cpu})
    server = H2InferenceServer(inference) if transport == "h2" else InferenceServer(inference)
    while not pipe.poll(_SLOT_S):
        server.serve(time.monotonic())  # a gateway connects before it listens
    pipe.recv()
    clients = [connect_client(gateway_port) for _ in range(sessions)]
    slots = [[sock.send for sock in clients[slot::_SLOTS]] for slot in range(_SLOTS)]
    begin_s, index = time.monotonic(), 0
    while True:
        for send in slots[index % _SLOTS]:
            send(FRAME)
        server.serve(time.monotonic())
        if pipe.poll(0):
            pipe.recv()
            pipe.send(server.answered)
        index += 1
        time.sleep(max(0.0, begin_s + index * _SLOT_S - time.monotonic()))


def connect_client(port: int) -> socket.socket:
    """One that has sent its upgrade request and its start message, without waiting for an answer."""
    sock = socket.create_connection((LOOPBACK, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(UPGRADE + _START)
    return sock


class InferenceServer:
    """Accepts connections, takes POSTs of any length, and answers each when its time has come."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self.answered = 0
        self._listener = listener
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        self._by_fd: dict[int, socket.socket] = {}
        self._owed: dict[int, int] = {}
        self._answers: dict[int, bytes] = {}
        self._due: deque[tuple[float, Callable[[], Any]]] = deque()

    def serve(self, now_s: float) -> None:
        """Take what has come, and answer what is due."""
        for fd, _ in self._epoll.poll(0):
            if fd == self._listener.fileno():
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._by_fd[sock.fileno()] = sock
                self._epoll.register(sock.fileno(), select.EPOLLIN)
            else:
                self._take(fd, self._by_fd[fd].recv(1 << 20), now_s)
        while self._due and self._due[0][0] <= now_s:
            _, answer = self._due.popleft()
            answer()
            self.answered += 1

    def _take(self, fd: int, data: bytes, now_s: float) -> None:
        if data:
            self._hear(fd, data, now_s)
        else:
            self._epoll.unregister(fd)
            self._by_fd.pop(fd).close()

    def _hear(self, fd: int, data: bytes, now_s: float) -> None:
        owed = self._owed.pop(fd, 0)
        if not owed:  # a request begins; its head comes in one piece
            head, _, data = data.partition(b"\r\n\r\n")
            said = _LENGTH.search(head)
            if said is None:
                raise ValueError(f"expected a head with a content-length, in one piece, got {head[:200]!r}")
            owed = length = int(said[1])
            self._answers[fd] = self._answer(length)
        owed -= len(data)
        if owed:
            self._owed[fd] = owed
        else:
            self._due.append((now_s + _SERVICE_S, partial(self._by_fd[fd].send, self._answers[fd])))

    @staticmethod
    def _answer(length: int) -> bytes:
        body = _body(length)
        return _HEAD % len(body) + body


def _body(length: int) -> bytes:
    return _ANSWER % (length * 2, length)


class H2InferenceServer(InferenceServer):
    """The same over HTTP/2, by the simulator's protocol."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener)
        self._h2: dict[int, Any] = {}

    def _hear(self, fd: int, data: bytes, now_s: float) -> None:
        from simulator.wire.http2 import PREFACE, Asked, Connection2

        if fd not in self._h2:
            self._h2[fd] = Connection2()
            data = data.removeprefix(PREFACE)  # it comes in one piece
        h2 = self._h2[fd]
        for event in h2.receive(data):
            if isinstance(event, Asked):
                answer = partial(self._say, fd, event.stream, _body(len(event.request.body)))
                self._due.append((now_s + _SERVICE_S, answer))
        if out := h2.take():
            self._by_fd[fd].send(out)

    def _say(self, fd: int, stream: int, body: bytes) -> None:
        h2 = self._h2[fd]
        h2.answer(stream, 200, body, len(body))
        self._by_fd[fd].send(h2.take())
