"""Exactly one thread for each session: a blocking socket, and websockets' protocol without I/O.

The main thread accepts. A session's socket, protocol and `Session` belong to its thread; `session.Gateway` says what
all threads share.
"""

import select
import signal
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator
from time import monotonic
from types import FrameType

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway import LEAVE_LIMIT_S
from variants.shared.options import BACKLOG, CLOSE_LIMIT_S, MOST_BYTES, HostOptions
from variants.shared.websockets_http import answer
from variants.thread_per_session.session import Ended, Gateway

_READ_BYTES = 65_536
_GRAIN_S = 0.02
"""A frame's time: a thread that waits for bytes looks at the clock as often, by the kernel's time limit on `recv`."""
_SEND_LIMIT_S = 5.0
"""A client that has not read for so long is dropped."""
_REQUEST_LIMIT_S = 5.0
"""How long a connection may take to ask for something."""
_MESSAGES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


def serve(options: HostOptions) -> int:
    """Accept until a signal comes; a thread for each connection."""
    gateway = Gateway(options)
    listening = socket.create_server(
        (options.host, options.port),
        family=socket.AF_INET6 if ":" in options.host else socket.AF_INET,
        backlog=BACKLOG,
    )

    def on_signal(number: int, frame: FrameType | None) -> None:
        gateway.leaving.set()
        listening.shutdown(socket.SHUT_RDWR)  # accept() returns

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    threads: set[threading.Thread] = set()
    while not gateway.leaving.is_set():
        try:
            sock, _ = listening.accept()
        except OSError as error:
            if not gateway.leaving.is_set():
                print(f"thread_per_session: a connection was not accepted: {error}", file=sys.stderr)
                gateway.leaving.wait(_GRAIN_S)
            continue
        thread = threading.Thread(target=_serve_connection, args=(gateway, sock), daemon=True)
        threads = {each for each in threads if each.is_alive()} if len(threads) % 64 == 0 else threads
        threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no thread can be had: who waits is refused, the rest are served
            threads.discard(thread)
            sock.close()
            print(f"thread_per_session: a client is refused: {error}", file=sys.stderr)
    ends_s = monotonic() + LEAVE_LIMIT_S
    for thread in threads:
        thread.join(max(0.0, ends_s - monotonic()))
    return 0


def _serve_connection(gateway: Gateway, sock: socket.socket) -> None:
    with sock:
        wire = BlockingWire(sock)
        try:
            if wire.shake_hands(gateway):
                gateway.serve(wire)
        except Ended:
            pass


def _limit(sock: socket.socket, option: int, limit_s: float) -> None:
    whole, part = divmod(limit_s, 1.0)
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(whole), int(part * 1e6)))


class BlockingWire:
    """One connection. `Wire` says what its methods do."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _limit(sock, socket.SO_RCVTIMEO, _GRAIN_S)
        _limit(sock, socket.SO_SNDTIMEO, _SEND_LIMIT_S)
        self._sock = sock
        self._protocol = ServerProtocol(max_size=MOST_BYTES)
        self._fragments: list[bytes] = []
        self._is_text = False
        self._messages: deque[str | bytes] = deque()

    def shake_hands(self, gateway: Gateway) -> bool:
        """Answer the first request; whether it goes on as a WebSocket."""
        until_s, data = monotonic() + _REQUEST_LIMIT_S, b""
        while b"\r\n\r\n" not in data:
            if monotonic() >= until_s or gateway.leaving.is_set() or len(data) > MOST_BYTES:
                return False
            data += self._read()
        head, end, rest = data.partition(b"\r\n\r\n")
        self._protocol.receive_data(head + end)
        for event in self._protocol.events_received():
            assert isinstance(event, Request)
            self._protocol.send_response(self._response(gateway, event))
        self._write_replies()
        if self._protocol.state is not State.OPEN:
            return False
        self._protocol.receive_data(rest)
        return True

    def _response(self, gateway: Gateway, request: Request) -> Response:
        tallies, options = gateway.tallies, gateway.options
        said = answer(request, self._protocol.reject, lambda: tallies.admits(options.admission), tallies.page)
        return self._protocol.accept(request) if said is None else said

    @property
    def has_more(self) -> bool:
        return bool(self._messages)

    def receive(self, until_s: float) -> str | bytes | None:
        while not self._decoded():
            data = self._read()
            if data:
                self._protocol.receive_data(data)
            elif monotonic() >= until_s:
                return None
        return self._messages.popleft()

    def while_waiting(self, fd: int, until_s: float) -> Iterator[str | bytes]:
        poll = select.poll()
        for each in (fd, self._sock.fileno()):
            poll.register(each, select.POLLIN)
        while True:
            while self._decoded():
                yield self._messages.popleft()
            ready = dict(poll.poll(max(0.0, until_s - monotonic()) * 1000))
            if fd in ready or not ready:
                return
            self._protocol.receive_data(self._read())

    def _decoded(self) -> bool:
        """Whether there is a message. Pings are answered; `Ended` where the connection was closed, or must be."""
        if not self._messages:
            for event in self._protocol.events_received():
                assert isinstance(event, Frame)
                if self._protocol.state is State.OPEN:  # what follows a violation or a close is ignored
                    self._take(event)
            self._write_replies()
            if not self._messages and self._protocol.state is not State.OPEN:
                self._finish()
        return bool(self._messages)

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in _MESSAGES:
            return  # a control frame: the protocol has answered it
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin and not self._is_text:
                self._messages.append(bytes(frame.data))
                return
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        whole = b"".join(self._fragments)
        self._fragments.clear()
        if not self._is_text:
            self._messages.append(whole)
            return
        try:
            self._messages.append(whole.decode())
        except UnicodeDecodeError as error:
            self._protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")

    def _read(self) -> bytes:
        """What has come; nothing within the grain."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            raise Ended from None
        if not data:
            raise Ended
        return data

    def _write_replies(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._send(data)

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError:  # the time limit among them
            raise Ended from None

    def send_text(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._write_replies()

    def close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)
        self._write_replies()
        self._finish()

    def _finish(self) -> None:
        """Our last byte is written: wait for the peer's close frame and FIN, within the limit. Closing at once would
        reset the connection where the peer still sends, and lose our close."""
        until_s = monotonic() + CLOSE_LIMIT_S
        try:
            while self._protocol.close_rcvd is None and monotonic() < until_s:
                self._protocol.receive_data(self._read())
                self._protocol.events_received()
            self._sock.shutdown(socket.SHUT_WR)
            while monotonic() < until_s:
                self._read()
        except OSError:
            pass
        raise Ended
