"""Inference over HTTP/2 cleartext with prior knowledge on epoll: a few connections for all requests.

`variants/shared/h2_streams.py` has the protocol. Belongs to the thread of its loop.
"""

from collections import deque
from collections.abc import Sequence

from h2.exceptions import ProtocolError

from gateway import Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.drain.inference import Address, Exchange, Owner, Upstream
from variants.drain.stream import Poller
from variants.drain.timers import Deadlines
from variants.shared.h2_streams import H2Streams, Lost, Outcome

_READ_BYTES = 65536


class _Connection(Upstream):
    """One h2c connection and the requests on it."""

    def __init__(self, pool: "H2Pool", poller: Poller) -> None:
        super().__init__(poller, pool.addresses)
        self._pool = pool
        self._streams = H2Streams[Exchange](pool.authority)

    @property
    def has_room(self) -> bool:
        """Whether a request can begin now."""
        return self.connected and self._streams.has_room

    def begin(self, exchange: Exchange, now_s: float) -> None:
        """Send a request, as far as flow control allows."""
        try:
            exchange.connection = (self, self._streams.begin(exchange.take_batch(), exchange))
            self._write_out()
        except (OSError, ProtocolError) as error:
            exchange.finish(connection_reset(f"no stream to the inference server: {error}"), now_s)
            self.lose(f"the connection to the inference server broke: {error}", now_s)

    def _write_out(self) -> None:
        if data := self._streams.data_to_send():
            self._write((data,))

    def cancel(self, stream_id: int, now_s: float) -> None:
        """Give up a request whose time is over."""
        self._streams.cancel(stream_id)
        try:
            self._write_out()
        except OSError as error:
            self.lose(f"the connection to the inference server broke: {error}", now_s)
        self._look_round(now_s)

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
        self._settle(self._streams.receive(data), now_s)
        if self._streams.broken is not None:
            self.lose(self._streams.broken, now_s)
            return
        self._write_out()
        self._look_round(now_s)

    def _settle(self, outcomes: Sequence[Outcome[Exchange]], now_s: float) -> None:
        for exchange, what in outcomes:
            exchange.finish(connection_reset(what.reason) if isinstance(what, Lost) else what, now_s)

    def _look_round(self, now_s: float) -> None:
        """After requests have ended: whoever waits has room, or this connection takes no more and may end."""
        if not self.open:
            return
        if self._streams.usable:
            self._pool.has_room(self, now_s)
        else:
            self._pool.is_leaving(self, now_s)
            if self._streams.idle:
                self.close()

    def lose(self, reason: str, now_s: float) -> None:
        if not self.open:
            return
        self.close()
        self._settle(self._streams.lose(reason), now_s)
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
