"""One TCP connection on asyncio: which protocol it speaks, whole requests handed on, answers written.

The protocols themselves are `http1` and `http2`; what is answered, and when, is the application's.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from simulator.wire.http1 import CONTINUE, BadRequest, Reader, answer_head
from simulator.wire.http2 import PREFACE, Asked, Connection2, ConnectionError2
from simulator.wire.request import Exchange, Request

_READ_BYTES = 256 << 10
_BUFFER = memoryview(bytearray(_READ_BYTES))
"""What a read fills: used up before the next one, so that all connections of a process share it."""

Application = Callable[[Exchange], None]


class Connection(asyncio.BufferedProtocol):
    """A client's connection."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._transport: Any = None
        self._begun = b""  # before it is known which protocol comes
        self._reader: Reader | None = None
        self._h2: Connection2 | None = None
        self._h1_open: _Exchange1 | None = None
        self._h2_open: dict[int, _Exchange2] = {}
        self._is_deaf = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        data = _BUFFER[:nbytes]
        if self._is_deaf:
            return
        if self._h2 is not None:
            self._on_h2(self._h2, data)
        elif self._reader is not None:
            self._reader.feed(data)
            self._next_h1(self._reader)
        else:
            self._begin(self._begun + data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = True
        left: list[Exchange] = [*self._h2_open.values()]
        if self._h1_open is not None:
            left.append(self._h1_open)
        self._h1_open, self._h2_open = None, {}
        for exchange in left:
            exchange.left()

    # Which protocol

    def _begin(self, data: bytes) -> None:
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._begun = data
        elif data.startswith(PREFACE):
            self._h2 = Connection2()
            self._on_h2(self._h2, memoryview(data)[len(PREFACE) :])
        else:
            self._reader = Reader()
            self._reader.feed(data)
            self._next_h1(self._reader)

    # HTTP/1.1

    def _next_h1(self, reader: Reader) -> None:
        if self._h1_open is not None:
            return  # it waits for the answer before it
        try:
            found = reader.next()
        except BadRequest as error:
            body = str(error).encode()
            self._transport.write(answer_head(error.status, len(body), is_last=True) + body)
            self.close()
            return
        if found is not None:
            self._h1_open = exchange = _Exchange1(self, *found)
            self._application(exchange)
        elif reader.must_continue:
            reader.must_continue = False
            self._transport.write(CONTINUE)

    def answered_h1(self, *, is_last: bool) -> None:
        """The open request has its answer: on with the next one."""
        self._h1_open = None
        if is_last:
            self.close()
        elif self._reader is not None and not self._is_deaf:
            self._next_h1(self._reader)

    # HTTP/2

    def _on_h2(self, h2: Connection2, data: memoryview) -> None:
        try:
            events = h2.receive(data)
        except ConnectionError2:
            self.flush_h2(h2)
            self.close()
            return
        for event in events:
            if isinstance(event, Asked):
                exchange = self._h2_open[event.stream] = _Exchange2(self, h2, event.stream, event.request)
                self._application(exchange)
            elif (gone := self._h2_open.pop(event.stream, None)) is not None:
                gone.left()
        self.flush_h2(h2)

    def flush_h2(self, h2: Connection2) -> None:
        """Write what the connection has to say."""
        if out := h2.take():
            self._transport.write(out)

    def answered_h2(self, stream: int) -> None:
        """That request has its answer."""
        self._h2_open.pop(stream, None)

    # Ending

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._transport.write(data)

    def close(self) -> None:
        """Take nothing more, send what is still to be sent, and end it."""
        self._is_deaf = True
        self._transport.close()

    def finish(self) -> None:
        """End our side with a FIN; what the client still says is not heard."""
        self._is_deaf = True
        self._transport.write_eof()

    def reset(self) -> None:
        """End it with a RST."""
        self._is_deaf = True
        sock = self._transport.get_extra_info("socket")
        if not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def go_deaf(self) -> None:
        """Neither hear nor say anything more, until the client ends it."""
        self._is_deaf = True


class _OnConnection(Exchange):
    """What is the same whatever the protocol: what is done to the connection."""

    def __init__(self, connection: Connection, request: Request) -> None:
        super().__init__(request)
        self._connection = connection

    def reset(self) -> None:
        if not self.is_gone:
            self._connection.reset()

    def say(self, data: bytes) -> None:
        if not self.is_gone:
            self._connection.write(data)
            self._connection.go_deaf()


class _Exchange1(_OnConnection):
    protocol = "1.1"

    def __init__(self, connection: Connection, request: Request, is_last: bool) -> None:
        super().__init__(connection, request)
        self._is_last = is_last

    def answer(self, status: int, body: bytes, declared_bytes: int | None = None) -> None:
        if not self.is_gone:
            length = len(body) if declared_bytes is None else declared_bytes
            self._connection.write(answer_head(status, length, is_last=self._is_last) + body)
            self._connection.answered_h1(is_last=self._is_last)

    def answer_half(self, status: int, body: bytes, then: str) -> None:
        if self.is_gone:
            return
        self._connection.write(answer_head(status, len(body), is_last=False) + body[: len(body) // 2])
        if then in ("end", "fin"):
            self._connection.finish()
        elif then == "rst":
            self._connection.reset()
        else:
            self._connection.go_deaf()


class _Exchange2(_OnConnection):
    protocol = "2"

    def __init__(self, connection: Connection, h2: Connection2, stream: int, request: Request) -> None:
        super().__init__(connection, request)
        self._h2 = h2
        self._stream = stream

    def answer(self, status: int, body: bytes, declared_bytes: int | None = None) -> None:
        if not self.is_gone:
            self._h2.answer(self._stream, status, body, len(body) if declared_bytes is None else declared_bytes)
            self._connection.flush_h2(self._h2)
            self._connection.answered_h2(self._stream)

    def answer_half(self, status: int, body: bytes, then: str) -> None:
        if self.is_gone:
            return
        self._h2.answer(self._stream, status, body[: len(body) // 2], len(body), ends=then == "end")
        self._connection.flush_h2(self._h2)
        if then == "end":
            self._connection.answered_h2(self._stream)
        elif then == "fin":
            self._connection.finish()
        elif then == "rst":
            self._connection.reset()
