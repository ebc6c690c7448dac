"""A small real h2c server: `h2` on the server side, over anyio's sockets. What it does with a request is the test's."""

import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, SettingsAcknowledged, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from tests.variants.shared.listening import listening


class Request:
    """One stream, from its headers on."""

    def __init__(self, connection: "ServerConnection", stream_id: int, headers: dict[bytes, bytes]) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.headers = headers
        self.body = bytearray()
        self.unacknowledged_bytes = 0
        self.whole = anyio.Event()
        """The body has ended."""
        self.reset = anyio.Event()
        self.reset_code: int | None = None

    async def answer(self, status: int, body: bytes = b"") -> None:
        """Headers, body and the end of the stream."""
        h2 = self.connection.h2
        h2.send_headers(self.stream_id, [(":status", str(status))])
        h2.send_data(self.stream_id, body, end_stream=True)
        await self.connection.flush()

    async def refuse(self, code: ErrorCodes) -> None:
        """RST_STREAM."""
        self.connection.h2.reset_stream(self.stream_id, code)
        await self.connection.flush()

    async def make_room(self, room_bytes: int) -> None:
        """A WINDOW_UPDATE of the stream alone."""
        self.connection.h2.increment_flow_control_window(room_bytes, self.stream_id)
        await self.connection.flush()

    async def acknowledge(self) -> None:
        """Give back the window that the body has used so far."""
        used_bytes, self.unacknowledged_bytes = self.unacknowledged_bytes, 0
        if used_bytes:
            self.connection.h2.acknowledge_received_data(used_bytes, self.stream_id)
            await self.connection.flush()


Behaviour = Callable[[Request], Awaitable[None]]


@dataclass
class H2Server:
    """Runs `behaviour` in a task for each request, as soon as its headers are there."""

    behaviour: Behaviour
    settings: dict[SettingCodes | int, int]
    acknowledges: bool
    """Whether windows are given back as data arrives; if not, the behaviour does it."""
    port: int = 0
    connections: list["ServerConnection"] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Violations of HTTP/2 by the client."""
    _change: anyio.Event = field(default_factory=anyio.Event)

    async def arrived(self, requests: int) -> None:
        """Until so many requests have come, on all connections together."""
        while len(self.requests) < requests:
            await self._change.wait()

    async def settled(self, connections: int) -> None:
        """Until so many clients have connected and know our settings."""
        while sum(connection.is_settled for connection in self.connections) < connections:
            await self._change.wait()

    def changed(self) -> None:
        """Wake whoever waits for one of these."""
        self._change.set()
        self._change = anyio.Event()

    async def handle(self, stream: SocketStream) -> None:
        """Serve one connection until it ends."""
        connection = ServerConnection(self, stream)
        self.connections.append(connection)
        async with stream, anyio.create_task_group() as tasks:
            await connection.run(tasks)
            tasks.cancel_scope.cancel()


class ServerConnection:
    """One client's connection."""

    def __init__(self, server: H2Server, stream: SocketStream) -> None:
        self.server = server
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.is_settled = False
        self.ended = anyio.Event()
        self._stream = stream
        self._lock = anyio.Lock()
        self._open: dict[int, Request] = {}

    async def flush(self) -> None:
        """Send what the state machine has to say."""
        async with self._lock:
            await self._stream.send(self.h2.data_to_send())

    async def go_away(self, last_stream_id: int) -> None:
        """GOAWAY; the socket stays open."""
        self.h2.close_connection(ErrorCodes.NO_ERROR, last_stream_id=last_stream_id)
        await self.flush()

    async def go_away_gracefully(self, last_stream_id: int) -> None:
        """GOAWAY, after which the streams up to that one are still answered: `h2` itself would take it for the end."""
        async with self._lock:
            await self._stream.send(GoAwayFrame(0, last_stream_id=last_stream_id).serialize())

    async def drop(self, *, reset: bool) -> None:
        """End the TCP connection: RST or FIN."""
        if reset:
            raw: socket.socket = self._stream.extra(SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()

    async def run(self, tasks: TaskGroup) -> None:
        self.h2.initiate_connection()
        self.h2.update_settings(self.server.settings)  # in force once they are acknowledged
        await self.flush()
        try:
            while True:
                for event in self.h2.receive_data(await self._stream.receive()):
                    await self._handle(event, tasks)
                await self.flush()
        except ProtocolError as error:
            self.server.failures.append(repr(error))
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass
        finally:
            self.ended.set()

    async def _handle(self, event: Event, tasks: TaskGroup) -> None:
        match event:
            case RequestReceived(stream_id=int(stream_id)):
                request = self._open[stream_id] = Request(self, stream_id, dict(event.headers or ()))
                self.server.requests.append(request)
                self.server.changed()
                tasks.start_soon(self._behave, request)
            case DataReceived(stream_id=int(stream_id)):
                request = self._open[stream_id]
                request.body += event.data or b""
                request.unacknowledged_bytes += event.flow_controlled_length or 0
                if self.server.acknowledges:
                    await request.acknowledge()
            case StreamEnded(stream_id=int(stream_id)):
                self._open[stream_id].whole.set()
            case SettingsAcknowledged():
                self.is_settled = all(
                    self.h2.local_settings.get(name) == value for name, value in self.server.settings.items()
                )
                self.server.changed()
            case StreamReset(stream_id=int(stream_id)):
                self._open[stream_id].reset_code = event.error_code
                self._open[stream_id].reset.set()

    async def _behave(self, request: Request) -> None:
        try:
            await self.server.behaviour(request)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # the client has gone


def h2_server(
    behaviour: Behaviour,
    *,
    settings: dict[SettingCodes | int, int] | None = None,
    acknowledges: bool = True,
    port: int = 0,
) -> AbstractAsyncContextManager[H2Server]:
    """Of this behaviour, `listening`."""
    return listening(H2Server(behaviour, settings or {}, acknowledges), port)
