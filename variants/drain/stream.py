"""Non-blocking sockets on one epoll: who is told of an event, and what could not be written yet. No protocol here.

A `Poller` and all its streams belong to one thread, the loop's; nothing in them is shared.
"""

import select
import socket
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

Buffer = bytes | bytearray | memoryview

IN, OUT = select.EPOLLIN, select.EPOLLOUT
HANGUP_ONLY = select.EPOLLRDHUP | select.EPOLLET
"""Woken once when the peer ends its direction or the connection breaks, and never by data."""
_BUFFERS_AT_ONCE = 64
_EVENTS_AT_ONCE = 1024


class Handler(Protocol):
    """What a descriptor's events are told to."""

    def on_event(self, mask: int, now_s: float) -> None:
        """Handle what epoll reported. An event may be stale or imagined: only reading and writing tell."""
        ...


class Poller:
    """An epoll, and who handles which descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._closing: list[socket.socket] = []

    def add(self, fd: int, handler: Handler, mask: int) -> None:
        self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def change(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def close(self, sock: socket.socket) -> None:
        """Forget a socket now, and close it after this round, so that no event of the round meets its successor."""
        fd = sock.fileno()
        del self._handlers[fd]
        self._epoll.unregister(fd)
        self._closing.append(sock)

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Who is told of something."""
        return tuple(self._handlers.values())

    def wait(self, timeout_s: float | None) -> list[tuple[Handler, int]]:
        """What happened, each with who handles it. Who was forgotten meanwhile must look at that itself."""
        for sock in self._closing:
            sock.close()
        self._closing.clear()
        events = self._epoll.poll(timeout_s, _EVENTS_AT_ONCE)
        handlers = self._handlers
        return [(handlers[fd], mask) for fd, mask in events]

    def end(self) -> None:
        """Close every stream, and the epoll."""
        for handler in self.handlers:
            if isinstance(handler, Stream):
                handler.close()
        self.wait(0)
        self._epoll.close()


class Stream:
    """A TCP socket of one loop. Subclasses handle its events."""

    def __init__(self, poller: Poller, sock: socket.socket, mask: int) -> None:
        self.open = True
        self._poller = poller
        self._sock = sock
        self._fd = sock.fileno()
        self._mask = mask
        self._pending: deque[tuple[memoryview, bool]] = deque()
        """What the socket has not taken yet; True at the last piece of a message whose writing is reported."""
        poller.add(self._fd, self, mask)

    def on_event(self, mask: int, now_s: float) -> None:
        raise NotImplementedError

    def _go_on_with(self, sock: socket.socket) -> None:
        """Take another socket in place of one that nothing was written to yet."""
        self._poller.close(self._sock)
        self._sock, self._fd = sock, sock.fileno()
        self._poller.add(self._fd, self, self._mask)

    def _message_written(self) -> None:
        """A message that was to be reported has left."""

    def _listen_for(self, mask: int) -> None:
        """Be told of these events from now on, and of room to write where something waits."""
        self._mask = mask
        self._poller.change(self._fd, mask | OUT if self._pending else mask)

    def _write(self, pieces: Sequence[Buffer], *, report: bool = False) -> None:
        """Write now what the socket takes, the rest when it has room. Raises OSError where the connection broke."""
        if not self.open:
            return
        try:
            if self._pending:
                taken = 0
            elif len(pieces) == 1:
                taken = self._sock.send(pieces[0])
            else:
                taken = self._sock.sendmsg(pieces)
        except BlockingIOError:
            taken = 0
        if taken == sum(map(len, pieces)):
            if report:
                self._message_written()
            return
        for piece in pieces:
            length = len(piece)
            if taken >= length:
                taken -= length
            else:
                self._pending.append((memoryview(piece)[taken:], False))
                taken = 0
        if report:
            self._pending[-1] = (self._pending[-1][0], True)
        self._poller.change(self._fd, self._mask | OUT)

    def _flush(self) -> None:
        """Write what waits. Raises OSError where the connection broke."""
        pending = self._pending
        while pending:
            try:
                taken = self._sock.sendmsg([piece for piece, _ in islice(pending, _BUFFERS_AT_ONCE)])
            except BlockingIOError:
                return
            while pending and taken >= len(pending[0][0]):
                piece, report = pending.popleft()
                taken -= len(piece)
                if report:
                    self._message_written()
            if taken:
                piece, report = pending[0]
                pending[0] = (piece[taken:], report)
        self._poller.change(self._fd, self._mask)

    @property
    def unwritten_bytes(self) -> int:
        """What waits to be written."""
        return sum(len(piece) for piece, _ in self._pending)

    def close(self) -> None:
        """End the connection; again is no error."""
        if self.open:
            self.open = False
            self._pending.clear()
            self._poller.close(self._sock)
