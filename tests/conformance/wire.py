"""One client connection: ordinary traffic through websockets' protocol core, framing tricks as raw bytes.

Remembers everything that came and when. What should have come is the rules' business.
"""

import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio.abc import SocketAttribute, SocketStream
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri
from websockets.utils import apply_mask

from tests.conformance.expect import Failed

T = TypeVar("T")

CONNECT_LIMIT_S = 5.0
_READ_BYTES = 65536


@dataclass(frozen=True)
class Address:
    """Where the gateway listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Received:
    """One message (or one pong's payload), and when it came on time.monotonic()."""

    arrived_s: float
    data: str | bytes


@dataclass(frozen=True)
class Closing:
    """The gateway's close frame."""

    arrived_s: float
    code: int
    reason: str


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes | None = b"random"
) -> bytes:
    """One frame as bytes, right or wrong: RFC 6455, section 5.2.

    Args:
        reserved: the three reserved bits, 0 … 7.
        mask: its four bytes; None for an unmasked frame; by default drawn.
    """
    length = len(payload)
    is_masked = 0 if mask is None else 0x80
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if length < 126:
        head += bytes([is_masked | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", is_masked | 126, length)
    else:
        head += struct.pack("!BQ", is_masked | 127, length)
    if mask is None:
        return head + payload
    key = secrets.token_bytes(4) if mask == b"random" else mask
    return head + key + apply_mask(payload, key)


class Wire:
    """An open WebSocket. Made by `open_wire`, which keeps reading in the background."""

    def __init__(self, stream: SocketStream, protocol: ClientProtocol) -> None:
        self.messages: list[Received] = []
        self.pongs: list[Received] = []
        self.closing: Closing | None = None
        self.ended_s: float | None = None
        """When the TCP connection ended; with `ended_by`, how."""
        self.ended_by = ""
        self._protocol = protocol
        self._stream = stream
        self._sending = anyio.Lock()
        self._changed = anyio.Event()
        self._fragments = b""
        self._opcode = Opcode.TEXT
        self._response: Response | None = None

    @property
    def protocol(self) -> ClientProtocol:
        """Its `send_…` verbs queue frames, `send()` writes them. Failed where the connection is no longer open."""
        if self._protocol.state is not State.OPEN:
            raise Failed(f"expected the connection to stay open, but {self.state}")
        return self._protocol

    @property
    def local_port(self) -> int:
        return self._stream.extra(SocketAttribute.local_port)

    async def send(self) -> None:
        """Write what the protocol core has queued, in one call."""
        await self.send_raw(b"".join(self._protocol.data_to_send()))

    async def send_raw(self, data: bytes) -> None:
        """Write bytes as they are. A connection that the gateway has ended takes them silently: see `ended_by`."""
        async with self._sending:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._stream.send(data)

    async def send_text(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        await self.send()

    async def send_fin(self) -> None:
        """End our direction of the connection without a close frame."""
        with suppress(OSError):
            await self._stream.send_eof()

    async def send_reset(self) -> None:
        """Vanish with a RST: the gateway hears nothing more from this connection."""
        await reset(self._stream)

    async def wait_for(self, ready: Callable[[], T | None], within_s: float, what: str) -> T:
        """What `ready` gives once it gives something. Failed when the connection ends, or the time runs out, before."""
        with anyio.move_on_after(within_s):
            while (found := ready()) is None:
                if self.ended_s is not None:
                    break
                await self._changed.wait()
        if found is None:
            raise Failed(f"expected {what} within {within_s:g} s, but {self.state}")
        return found

    @property
    def state(self) -> str:
        """What a failure has to say about the connection."""
        if self.closing is not None:
            reason = f" ({self.closing.reason})" if self.closing.reason else ""
            return f"the gateway closed with {self.closing.code}{reason}"
        if self.ended_s is not None:
            return f"the connection ended with {self.ended_by}"
        return "nothing more came"

    async def closed(self, within_s: float, what: str) -> Closing:
        """The gateway's close frame."""
        return await self.wait_for(lambda: self.closing, within_s, what)

    async def ended(self, within_s: float) -> float:
        """When the TCP connection ended."""
        return await self.wait_for(lambda: self.ended_s, within_s, "the end of the TCP connection")

    async def handshake(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        await self.send()
        await self.wait_for(lambda: self._response, CONNECT_LIMIT_S, "an answer to the upgrade request")
        if self._protocol.handshake_exc is not None:
            raise Failed(f"expected an upgrade to WebSocket, got {self._protocol.handshake_exc}")

    async def read(self) -> None:
        """Take what comes until the connection ends, answering pings and closes."""
        try:
            while True:
                data = await self._stream.receive(_READ_BYTES)
                now_s = time.monotonic()
                self._protocol.receive_data(data)
                for event in self._protocol.events_received():
                    self._take(event, now_s)
                self._notify()
                if replies := b"".join(self._protocol.data_to_send()):
                    await self.send_raw(replies)
        except anyio.EndOfStream:
            self._protocol.receive_eof()
            self.ended_by = "FIN, without a close frame"
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.ended_by = "RST, without a close frame"
        if self._protocol.parser_exc is not None and not isinstance(self._protocol.parser_exc, EOFError):
            self.ended_by = f"frames that break RFC 6455 ({self._protocol.parser_exc})"
        self.ended_s = time.monotonic()
        self._notify()

    def _take(self, event: object, now_s: float) -> None:
        if isinstance(event, Response):
            self._response = event
            return
        assert isinstance(event, Frame)
        match event.opcode:
            case Opcode.CLOSE:
                close = Close.parse(event.data)
                self.closing = Closing(now_s, close.code, close.reason)
            case Opcode.PONG:
                self.pongs.append(Received(now_s, bytes(event.data)))
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                if event.opcode is not Opcode.CONT:
                    self._opcode, self._fragments = event.opcode, b""
                self._fragments += bytes(event.data)
                if event.fin:
                    self.messages.append(Received(now_s, self._message()))

    def _message(self) -> str | bytes:
        if self._opcode is Opcode.TEXT:
            with suppress(UnicodeDecodeError):
                return self._fragments.decode()
        return self._fragments

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


async def reset(stream: SocketStream) -> None:
    """End a TCP connection with a RST."""
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def connect(gateway: Address) -> SocketStream:
    """A TCP connection. Failed where none is made in time."""
    try:
        with anyio.fail_after(CONNECT_LIMIT_S):
            return await anyio.connect_tcp(gateway.host, gateway.port)
    except (OSError, TimeoutError) as error:
        raise Failed(f"cannot connect to {_in_url(gateway.host)}:{gateway.port}: {error!r}") from None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@asynccontextmanager
async def open_wire(gateway: Address, **offers: Any) -> AsyncIterator[Wire]:
    """Connect and upgrade at /ws/stt; leaving the block ends the TCP connection, politely or not.

    Args:
        offers: what else `websockets.client.ClientProtocol` takes: extensions, subprotocols, origin.
    """
    stream = await connect(gateway)
    uri = parse_uri(f"ws://{_in_url(gateway.host)}:{gateway.port}/ws/stt")
    wire = Wire(stream, ClientProtocol(uri, **offers))
    async with stream, anyio.create_task_group() as tasks:
        tasks.start_soon(wire.read)
        try:
            await wire.handshake()
            yield wire
        finally:
            tasks.cancel_scope.cancel()
