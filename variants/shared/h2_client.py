"""Inference over HTTP/2 cleartext with prior knowledge on anyio's event loops: `h2_streams` for the protocol.

A few connections carry all requests of one event loop as streams. Each has a reader and a writer task; requests only
touch the protocol's state and wake the writer, which sends what several of them left behind in one call.
Everything here belongs to the event loop that opened it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketStream, TaskGroup
from h2.exceptions import ProtocolError

from gateway import Failure, Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.shared.h2_streams import H2Streams, Lost, Outcome
from variants.shared.inference import Answer

_READ_BYTES = 65536


class _Exchange:
    """One request while its answer is awaited."""

    __slots__ = ("done", "stream", "what")

    def __init__(self) -> None:
        self.stream = 0
        self.done = anyio.Event()
        self.what: Answer | Lost | None = None


class _Connection:
    """One h2c connection. `run` reads until it ends; any number of tasks ask meanwhile."""

    def __init__(self, stream: SocketStream, authority: str) -> None:
        self._stream = stream
        self._streams = H2Streams[_Exchange](authority)
        self._to_write = anyio.Event()
        self._changed = anyio.Event()
        """Set, and replaced, when there may be room for another request, or none will be taken any more."""

    @property
    def usable(self) -> bool:
        """Whether it takes new requests."""
        return self._streams.usable

    async def run(self) -> None:
        """Serve the connection until either side ends it; every waiting exchange is then told."""
        reason = "the inference server closed the connection"
        try:
            async with self._stream, anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                await self._read()
                tasks.cancel_scope.cancel()
        except* (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as group:
            reason = f"the connection to the inference server broke: {group.exceptions[0]!r}"
        finally:
            self._settle(self._streams.lose(reason))

    async def _read(self) -> None:
        """Until the server ends the connection, or the last request is done on one that takes no more."""
        while self._streams.usable or not self._streams.idle:
            try:
                data = await self._stream.receive(_READ_BYTES)
            except anyio.EndOfStream:
                return
            self._settle(self._streams.receive(data))
            self._to_write.set()  # acknowledgements, window updates, what a window had held back
            if self._streams.broken is not None:
                return

    async def _write(self) -> None:
        while True:
            if data := self._streams.data_to_send():
                await self._stream.send(data)
            else:
                self._to_write = anyio.Event()
                await self._to_write.wait()

    def _settle(self, outcomes: Sequence[Outcome[_Exchange]]) -> None:
        for exchange, what in outcomes:
            exchange.what = what
            exchange.done.set()
        self._changed.set()
        self._changed = anyio.Event()

    async def begin(self, batch: Infer) -> _Exchange | None:
        """Begin a request, waiting while the server's limit of streams is reached; None where it takes no more."""
        while self.usable and not self._streams.has_room:
            await self._changed.wait()
        if not self.usable:
            return None
        exchange = _Exchange()
        exchange.stream = self._streams.begin(batch, exchange)
        self._to_write.set()
        return exchange

    async def finish(self, exchange: _Exchange) -> Answer | Lost:
        """The outcome of a request that was begun; one that is given up meanwhile is taken back."""
        try:
            await exchange.done.wait()
        finally:
            if exchange.what is None:  # time-out, or the client has gone
                self._streams.cancel(exchange.stream)
                self._to_write.set()
                self._settle(())
        assert exchange.what is not None
        return exchange.what


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
                exchange = None
                while exchange is None:
                    connection = await self._connection()
                    exchange = await connection.begin(batch)
        except TimeoutError:
            return pool_timeout()
        except (OSError, ProtocolError) as error:
            return connection_reset(f"no connection to the inference server: {error}")
        try:
            with anyio.fail_after(ANSWER_LIMIT_S):
                what = await connection.finish(exchange)
        except TimeoutError:
            return inference_timeout()
        return connection_reset(what.reason) if isinstance(what, Lost) else what

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
