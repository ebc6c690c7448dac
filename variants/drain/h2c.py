"""Inference over HTTP/2 cleartext with prior knowledge: `h2` for the protocol, a few connections for all requests.

Belongs to the thread of its loop. `variants/shared/h2_client.py` is the same for anyio's event loops.
"""

from collections import deque
from collections.abc import Sequence

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

from gateway import Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.drain.inference import Address, Exchange, Owner, Upstream
from variants.drain.stream import Poller
from variants.drain.timers import Deadlines
from variants.shared.inference import Answer

_READ_BYTES = 65536
_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,  # header values stay bytes
    validate_outbound_headers=False,  # ours are constants, checked by the tests
    normalize_outbound_headers=False,
)


class _Request:
    """One exchange's stream: what of the batch has yet to be sent, and what of the answer has come."""

    __slots__ = ("answer", "exchange", "status", "unsent")

    def __init__(self, exchange: Exchange, batch: Infer) -> None:
        self.exchange = exchange
        self.unsent = memoryview(b"".join(batch.chunks))
        self.status = 0
        self.answer = bytearray()


class _Connection(Upstream):
    """One h2c connection, its `h2` state machine and the requests on it."""

    def __init__(self, pool: "H2Pool", poller: Poller) -> None:
        super().__init__(poller, pool.addresses)
        self._pool = pool
        self._h2 = H2Connection(config=_CONFIG)
        self._h2.initiate_connection()
        self.requests: dict[int, _Request] = {}
        self._blocked: set[int] = set()
        """Streams whose body waits for flow control."""
        self.leaving = False
        """The server takes no new stream here."""

    @property
    def has_room(self) -> bool:
        """Whether a request can begin now."""
        return (
            self.connected and not self.leaving and len(self.requests) < self._h2.remote_settings.max_concurrent_streams
        )

    def begin(self, exchange: Exchange, now_s: float) -> None:
        """Send a request, as far as flow control allows."""
        batch = exchange.take_batch()
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(
                stream_id,
                [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":authority", self._pool.authority),
                    (":path", "/infer"),
                    ("content-length", str(batch.audio_bytes)),
                    ("x-cpu-passes", str(batch.cpu_passes)),
                ],
            )
            exchange.connection = (self, stream_id)
            self.requests[stream_id] = _Request(exchange, batch)
            self._send_body(stream_id)
            self._write_out()
        except (OSError, ProtocolError) as error:
            exchange.finish(connection_reset(f"no stream to the inference server: {error}"), now_s)
            self.lose(f"the connection to the inference server broke: {error}", now_s)

    def _send_body(self, stream_id: int) -> None:
        request = self.requests[stream_id]
        while request.unsent:
            window = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if window <= 0:
                self._blocked.add(stream_id)
                return
            part, request.unsent = request.unsent[:window], request.unsent[window:]
            self._h2.send_data(stream_id, part, end_stream=not request.unsent)
        self._blocked.discard(stream_id)

    def _write_out(self) -> None:
        if data := self._h2.data_to_send():
            self._write((data,))

    def cancel(self, stream_id: int, now_s: float) -> None:
        """Give up a request whose time is over."""
        self._forget(stream_id)
        try:
            self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            self._write_out()
        except (OSError, ProtocolError) as error:
            self.lose(f"the connection to the inference server broke: {error}", now_s)

    def _forget(self, stream_id: int) -> _Request | None:
        self._blocked.discard(stream_id)
        return self.requests.pop(stream_id, None)

    def _on_connected(self, now_s: float) -> None:
        self._write_out()
        self._pool.has_connected(self, now_s)

    def _on_readable(self, now_s: float) -> None:
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.lose("the inference server closed the connection", now_s)
            return
        try:
            for event in self._h2.receive_data(data):
                self._handle(event, now_s)
            if self.open:
                self._write_out()
        except ProtocolError as error:
            self.lose(f"the connection to the inference server broke: {error!r}", now_s)

    def _handle(self, event: Event, now_s: float) -> None:
        match event:
            case DataReceived():
                if request := self.requests.get(event.stream_id or 0):
                    request.answer += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case ResponseReceived():
                if request := self.requests.get(event.stream_id or 0):
                    request.status = int(dict(event.headers or ())[b":status"])
            case StreamEnded():
                if request := self._forget(event.stream_id or 0):
                    request.exchange.finish(Answer(request.status, bytes(request.answer)), now_s)
                self._pool.has_room(self, now_s)
            case StreamReset():
                self._fail(event.stream_id or 0, f"the inference server reset the stream ({event.error_code!r})", now_s)
            case ConnectionTerminated():
                self.leaving = True
                for stream_id in [s for s in self.requests if s > (event.last_stream_id or 0)]:
                    self._fail(stream_id, f"the inference server is going away ({event.error_code!r})", now_s)
                self._pool.is_leaving(self, now_s)
            case WindowUpdated() | RemoteSettingsChanged():
                for stream_id in list(self._blocked):
                    self._send_body(stream_id)
                self._pool.has_room(self, now_s)

    def _fail(self, stream_id: int, reason: str, now_s: float) -> None:
        if request := self._forget(stream_id):
            request.exchange.finish(connection_reset(reason), now_s)
            self._pool.has_room(self, now_s)

    def lose(self, reason: str, now_s: float) -> None:
        if not self.open:
            return
        self.close()
        for stream_id in list(self.requests):
            if request := self._forget(stream_id):
                request.exchange.finish(connection_reset(reason), now_s)
        self._pool.has_lost(self, reason, now_s)


class H2Pool:
    """A few connections to one inference server, for one loop; each is made again on demand after it ended."""

    def __init__(
        self, poller: Poller, addresses: Sequence[Address], authority: str, now_s: float, *, connections: int
    ) -> None:
        self.addresses = addresses
        self.authority = authority
        self._poller = poller
        self._size = connections
        self._connections: deque[_Connection] = deque()
        self._waiting: deque[Exchange] = deque()
        self._openings = Deadlines(POOL_LIMIT_S)
        self._waits = Deadlines(POOL_LIMIT_S)
        self._answers = Deadlines(ANSWER_LIMIT_S)
        self._open_more(now_s)

    def post(self, batch: Infer, owner: Owner, now_s: float) -> None:
        """Send one batch on the next connection that has room, or when one has."""
        exchange = Exchange(batch, owner)
        if len(self._connections) < self._size:
            self._open_more(now_s)
        for _ in range(len(self._connections)):
            self._connections.rotate(-1)
            if self._connections[0].has_room:
                self._begin(self._connections[0], exchange, now_s)
                return
        self._waiting.append(exchange)
        self._waits.add(now_s, exchange)

    def _begin(self, connection: _Connection, exchange: Exchange, now_s: float) -> None:
        self._answers.add(now_s, exchange)
        connection.begin(exchange, now_s)

    def _open_more(self, now_s: float) -> None:
        while len(self._connections) < self._size:
            try:
                connection = _Connection(self, self._poller)
            except OSError:  # no descriptor is free: whoever waits gets room on another connection, within his time
                return
            self._connections.append(connection)
            self._openings.add(now_s, connection)

    def has_connected(self, connection: _Connection, now_s: float) -> None:
        """A connection was made."""
        self.has_room(connection, now_s)

    def has_room(self, connection: _Connection, now_s: float) -> None:
        """A connection may have room for whoever waits."""
        while self._waiting and connection.has_room:
            exchange = self._waiting.popleft()
            if not exchange.done:
                self._begin(connection, exchange, now_s)

    def is_leaving(self, connection: _Connection, now_s: float) -> None:
        """A connection takes nothing new; it finishes what it has outside the pool."""
        if connection in self._connections:
            self._connections.remove(connection)
            if self._waiting:
                self._open_more(now_s)

    def has_lost(self, connection: _Connection, reason: str, now_s: float) -> None:
        """A connection has ended. Whoever waits is told so where none is left to wait for."""
        if connection in self._connections:
            self._connections.remove(connection)
        if any(not other.done or other.connected for other in self._connections):
            return
        waiting, self._waiting = self._waiting, deque()
        for exchange in waiting:
            exchange.finish(connection_reset(reason), now_s)

    def next_deadline_s(self) -> float | None:
        """When `expire` has something to do, if nothing happens before."""
        times_s = (self._answers.next_s(), self._waits.next_s(), self._openings.next_s())
        return min((time_s for time_s in times_s if time_s is not None), default=None)

    def expire(self, now_s: float) -> None:
        """End what has run out of time."""
        for exchange in self._answers.take_expired(now_s):
            exchange.finish(inference_timeout(), now_s)
            connection, stream_id = exchange.connection
            if connection.open:
                connection.cancel(stream_id, now_s)
        for exchange in self._waits.take_expired(now_s):
            if exchange.connection is None:
                exchange.finish(pool_timeout(), now_s)
        while self._waiting and self._waiting[0].done:
            self._waiting.popleft()
        for connection in self._openings.take_expired(now_s):
            connection.lose("no connection to the inference server in time", now_s)
