"""The other side of a draining gateway: its clients and its inference server, in a process of their own.

Clients send a frame every 20 ms and read nothing; POSTs are answered after 80 ms. Standard library only: it runs on the
interpreter whose gateway it feeds.
"""

import multiprocessing
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

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
_SLOTS = 20
_SLOT_S = 0.001
_SERVICE_S = 0.08
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Feeder:
    """The running process, as its parent sees it."""

    inference_port: int
    _pipe: Connection

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
    inference = socket.create_server((LOOPBACK, 0), backlog=_BACKLOG)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_feed, args=(theirs, inference, gateway_port, sessions, cores[0]), daemon=True)
    child.start()
    os.sched_setaffinity(0, {cores[-1]})
    try:
        yield Feeder(inference.getsockname()[1], ours)
    finally:
        os.sched_setaffinity(0, cores)
        child.kill()
        child.join()
        inference.close()


def _feed(pipe: Connection, inference: socket.socket, gateway_port: int, sessions: int, cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    clients = [connect_client(gateway_port) for _ in range(sessions)]
    slots = [[sock.send for sock in clients[slot::_SLOTS]] for slot in range(_SLOTS)]
    server, begin_s, index = InferenceServer(inference), time.monotonic(), 0
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
        self._due: deque[tuple[float, socket.socket, bytes]] = deque()

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
            _, sock, answer = self._due.popleft()
            sock.send(answer)
            self.answered += 1

    def _take(self, fd: int, data: bytes, now_s: float) -> None:
        if not data:
            self._epoll.unregister(fd)
            self._by_fd.pop(fd).close()
            return
        owed = self._owed.pop(fd, 0)
        if not owed:  # a request begins; its head comes in one piece
            head, _, data = data.partition(b"\r\n\r\n")
            owed = length = int(head.rpartition(b" ")[2])
            self._answers[fd] = self._answer(length)
        owed -= len(data)
        if owed:
            self._owed[fd] = owed
        else:
            self._due.append((now_s + _SERVICE_S, self._by_fd[fd], self._answers[fd]))

    @staticmethod
    def _answer(length: int) -> bytes:
        body = _ANSWER % (length * 2, length)
        return _HEAD % len(body) + body
