"""Inference over HTTP/2 cleartext with prior knowledge: `h2` for the protocol, anyio for the sockets.

A few connections carry all requests of one event loop as streams. Each has a reader and a writer task; requests only
touch the `h2` state machine and wake the writer, which sends what several of them left behind in one call.
Everything here belongs to the event loop that opened it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketStream, TaskGroup
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from gateway import Failure, Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.shared.inference import Answer

_READ_BYTES = 65536
_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,  # header values stay bytes
    validate_outbound_headers=False,  # ours are constants, checked by the tests
    normalize_outbound_headers=False,
)


class _ConnectionLost(Exception):
    """The peer ended the connection or the stream before the answer was whole."""


class _Exchange:
    """One request's stream while its answer is awaited."""

    __slots__ = ("body", "done", "lost", "status")

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.done = anyio.Event()
        self.lost: str | None = None


class _Connection:
    """One h2c connection. `run` reads until it ends; `exchange` is called by any number of tasks meanwhile."""

    def __init__(self, stream: SocketStream, authority: str) -> None:
        self._stream = stream
        self._authority = authority
        self._h2 = H2Connection(config=_CONFIG)
        self._h2.initiate_connection()  # the preface comes first, also when a request begins before `run` does
        self._exchanges: dict[int, _Exchange] = {}
        self._to_write = anyio.Event()
        self._room = anyio.Event()
        """Set, and replaced, when a flow-control window, the stream limit or the number of streams changed."""
        self.usable = True

    async def run(self) -> None:
        """Serve the connection until either side ends it; every waiting exchange is then told."""
        reason = "the inference server closed the connection"
        try:
            async with self._stream, anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                await self._read()
                tasks.cancel_scope.cancel()
        except* (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, ProtocolError) as group:
            reason = f"the connection to the inference server broke: {group.exceptions[0]!r}"
        finally:
            self.usable = False
            for exchange in self._exchanges.values():
                exchange.lost = reason
                exchange.done.set()
            self._exchanges.clear()
            self._changed()

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive(_READ_BYTES)
            except anyio.EndOfStream:
                return
            for event in self._h2.receive_data(data):
                self._handle(event)
            self._to_write.set()  # acknowledgements, window updates

    async def _write(self) -> None:
        while True:
            if data := self._h2.data_to_send():
                await self._stream.send(data)
            else:
                self._to_write = anyio.Event()
                await self._to_write.wait()

    def _handle(self, event: Event) -> None:
        match event:
            case DataReceived():
                if exchange := self._exchanges.get(event.stream_id or 0):
                    exchange.body += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case ResponseReceived():
                if exchange := self._exchanges.get(event.stream_id or 0):
                    exchange.status = int(dict(event.headers or ())[b":status"])
            case StreamEnded():
                self._finish(event.stream_id or 0, None)
            case StreamReset():
                self._finish(event.stream_id or 0, f"the inference server reset the stream ({event.error_code!r})")
            case ConnectionTerminated():
                self.usable = False
                for stream_id in [s for s in self._exchanges if s > (event.last_stream_id or 0)]:
                    self._finish(stream_id, f"the inference server is going away ({event.error_code!r})")
            case WindowUpdated() | RemoteSettingsChanged():
                self._changed()

    def _finish(self, stream_id: int, lost: str | None) -> None:
        if exchange := self._exchanges.pop(stream_id, None):
            exchange.lost = lost
            exchange.done.set()
            self._changed()

    def _changed(self) -> None:
        self._room.set()
        self._room = anyio.Event()

    async def open_stream(self, batch: Infer) -> tuple[int, _Exchange]:
        """Begin a request, waiting while the peer's limit of streams is reached."""
        while self.usable and len(self._exchanges) >= self._h2.remote_settings.max_concurrent_streams:
            await self._room.wait()
        if not self.usable:
            raise _ConnectionLost("the connection ended while a stream was awaited")
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream_id,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", self._authority),
                (":path", "/infer"),
                ("content-length", str(batch.audio_bytes)),
                ("x-cpu-passes", str(batch.cpu_passes)),
            ],
        )
        exchange = self._exchanges[stream_id] = _Exchange()
        self._to_write.set()  # without waiting for the body: the server may give it room only then
        return stream_id, exchange

    async def finish(self, stream_id: int, exchange: _Exchange, batch: Infer) -> Answer:
        """Send the body of a request that was begun, and await the whole answer."""
        try:
            if not await self._send_body(stream_id, exchange, memoryview(b"".join(batch.chunks))):
                self._cancel(stream_id)  # answered before all of it was sent: nobody else will end our half
            await exchange.done.wait()
        finally:
            if self._exchanges.pop(stream_id, None):  # given up: time-out, or the client has gone
                self._cancel(stream_id)
        if exchange.lost is not None:
            raise _ConnectionLost(exchange.lost)
        return Answer(exchange.status, bytes(exchange.body))

    async def _send_body(self, stream_id: int, exchange: _Exchange, body: memoryview) -> bool:
        """False where the answer came, or the stream ended, before all of it was sent."""
        sent, end = 0, len(body)
        while sent < end and not exchange.done.is_set():
            window = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if window <= 0:
                await self._room.wait()
                continue
            chunk = body[sent : sent + window]
            sent += len(chunk)
            self._h2.send_data(stream_id, chunk, end_stream=sent == end)
            self._to_write.set()
        return sent == end

    def _cancel(self, stream_id: int) -> None:
        try:
            self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        except ProtocolError:
            return  # never opened, or the connection has ended meanwhile: nothing to take back
        self._to_write.set()
        self._changed()


class _Slot:
    """One place of the pool: a connection, made again on demand after it ended."""

    def __init__(self) -> None:
        self.connection: _Connection | None = None
        self.lock = anyio.Lock()


class H2Client:
    """A pool of h2c connections to one inference server, for one event loop. Made by `open_h2_client`."""

    def __init__(self, host: str, port: int, connections: int, tasks: TaskGroup) -> None:
        self._host = host
        self._port = port
        self._tasks = tasks
        self._slots = [_Slot() for _ in range(connections)]
        self._turn = 0

    async def infer(self, batch: Infer) -> Answer | Failure:
        """Send one batch within the protocol's time limits; transport trouble comes back as a value."""
        try:
            with anyio.fail_after(POOL_LIMIT_S):
                connection = await self._connection()
                stream_id, exchange = await connection.open_stream(batch)
        except TimeoutError:
            return pool_timeout()
        except (OSError, _ConnectionLost, ProtocolError) as error:
            return connection_reset(f"no connection to the inference server: {error}")
        try:
            with anyio.fail_after(ANSWER_LIMIT_S):
                return await connection.finish(stream_id, exchange, batch)
        except TimeoutError:
            return inference_timeout()
        except (_ConnectionLost, ProtocolError) as error:
            return connection_reset(str(error))

    async def _connection(self) -> _Connection:
        self._turn = (self._turn + 1) % len(self._slots)
        slot = self._slots[self._turn]
        if slot.connection is not None and slot.connection.usable:
            return slot.connection
        async with slot.lock:
            if slot.connection is None or not slot.connection.usable:
                stream = await anyio.connect_tcp(self._host, self._port)
                slot.connection = _Connection(stream, f"{self._host}:{self._port}")
                self._tasks.start_soon(slot.connection.run)
            return slot.connection

    async def connect(self) -> None:
        """Open every connection before it is needed; a server that is not there yet is no error."""
        for _ in self._slots:
            try:
                with anyio.fail_after(POOL_LIMIT_S):
                    await self._connection()
            except OSError:
                return


@asynccontextmanager
async def open_h2_client(host: str, port: int, connections: int) -> AsyncIterator[H2Client]:
    """An `H2Client` whose connections end with the context."""
    async with anyio.create_task_group() as tasks:
        client = H2Client(host, port, connections, tasks)
        await client.connect()
        yield client
        tasks.cancel_scope.cancel()
