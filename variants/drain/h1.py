"""Inference over pooled HTTP/1.1: a connection for each request in flight, kept open for the next, some in reserve.

Belongs to the thread of its loop. How an answer is read is `answers`' business.
"""

from collections import deque
from collections.abc import Sequence

from gateway import Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.drain.answers import AnswerReader, BrokenAnswer, Heads
from variants.drain.inference import BUFFERS_AT_ONCE, Address, Exchange, Owner, Upstream
from variants.drain.stream import Poller
from variants.drain.timers import Deadlines

RESERVE = 8
"""Connections beyond those in use that are kept open, so that a request finds one."""
_READ_BYTES = 4096


class _Connection(Upstream):
    """One connection: being made, idle, or with one exchange."""

    def __init__(self, pool: "H1Pool", poller: Poller) -> None:
        super().__init__(poller, pool.addresses)
        self._pool = pool
        self._reader = AnswerReader(pool.heads)
        self.exchange: Exchange | None = None

    def begin(self, exchange: Exchange, now_s: float) -> None:
        """Send a request."""
        self.exchange = exchange
        batch = exchange.take_batch()
        chunks, audio_bytes, cpu_passes = batch
        head = self._pool.head % (cpu_passes, audio_bytes)
        try:
            if len(chunks) < BUFFERS_AT_ONCE:
                self._write((head, *chunks))
            else:
                self._write((head, b"".join(chunks)))
        except OSError as error:
            self.lose(f"the connection to the inference server broke: {error}", now_s)

    def _on_connected(self, now_s: float) -> None:
        self._pool.has_connected(self, now_s)

    def _on_readable(self, now_s: float) -> None:
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        exchange = self.exchange
        if exchange is None:
            self.lose("the inference server spoke or left unasked", now_s)
            return
        try:
            answer = self._reader.feed(data) if data else self._reader.feed_eof()
        except BrokenAnswer as error:
            self.lose(str(error), now_s)
            return
        if answer is None:
            return
        self.exchange = None
        if self._reader.reusable and not self._pending:
            self._pool.give_back(self, now_s)
        else:
            self.close()
        exchange.finish(answer, now_s)

    def lose(self, reason: str, now_s: float) -> None:
        self.close()
        if self.exchange is not None:
            self.exchange.finish(connection_reset(reason), now_s)
        else:
            self._pool.has_lost(self, reason, now_s)


class H1Pool:
    """A pool of connections to one inference server, for one loop."""

    def __init__(self, poller: Poller, addresses: Sequence[Address], authority: str, now_s: float) -> None:
        self.addresses = addresses
        self.head = (
            b"POST /infer HTTP/1.1\r\nhost: %b\r\nx-cpu-passes: %%d\r\ncontent-length: %%d\r\n\r\n" % authority.encode()
        )
        self.heads = Heads()
        self._poller = poller
        self._idle: deque[_Connection] = deque()
        """The one that was used last at the right, where the next is taken; those never used at the left."""
        self._waiting: deque[Exchange] = deque()
        self._opening: set[_Connection] = set()
        self._connects = True
        """Whether the last attempt to connect went well; while not, none is made in advance."""
        self._openings = Deadlines(POOL_LIMIT_S)
        self._waits = Deadlines(POOL_LIMIT_S)
        self._answers = Deadlines(ANSWER_LIMIT_S)
        self._open_more(now_s)

    def post(self, batch: Infer, owner: Owner, now_s: float) -> None:
        """Send one batch, on the connection that was used last, or on the next that is made."""
        exchange = Exchange(batch, owner)
        if self._idle:
            self._begin(self._idle.pop(), exchange, now_s)
        else:
            self._waiting.append(exchange)
            self._waits.add(now_s, exchange)
        if len(self._idle) < RESERVE:
            self._open_more(now_s)

    def _begin(self, connection: _Connection, exchange: Exchange, now_s: float) -> None:
        exchange.connection = connection
        self._answers.add(now_s, exchange)
        connection.begin(exchange, now_s)

    def _open_more(self, now_s: float) -> None:
        wanted = len(self._waiting) + (RESERVE - len(self._idle) if self._connects else 0)
        for _ in range(wanted - len(self._opening)):
            try:
                connection = _Connection(self, self._poller)
            except OSError:  # no descriptor is free: whoever waits gets the next connection that is, within his time
                self._connects = False
                return
            self._opening.add(connection)
            self._openings.add(now_s, connection)

    def has_connected(self, connection: _Connection, now_s: float) -> None:
        """A connection was made."""
        self._opening.discard(connection)
        self._connects = True
        if not self._serve_waiting(connection, now_s):
            self._idle.appendleft(connection)

    def give_back(self, connection: _Connection, now_s: float) -> None:
        """A connection is free again."""
        if not self._serve_waiting(connection, now_s):
            self._idle.append(connection)

    def _serve_waiting(self, connection: _Connection, now_s: float) -> bool:
        """Use a connection for whoever waits longest; False where nobody does."""
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.done:
                self._begin(connection, exchange, now_s)
                return True
        return False

    def has_lost(self, connection: _Connection, reason: str, now_s: float) -> None:
        """A connection without an exchange has ended. One that could not be made fails whoever waits longest."""
        if connection not in self._opening:
            self._idle.remove(connection)
            return
        self._opening.discard(connection)
        self._connects = False
        while self._waiting:
            exchange = self._waiting.popleft()
            if not exchange.done:
                exchange.finish(connection_reset(reason), now_s)
                return

    def next_deadline_s(self) -> float | None:
        """When `expire` has something to do, if nothing happens before."""
        times_s = (self._answers.next_s(), self._waits.next_s(), self._openings.next_s())
        return min((time_s for time_s in times_s if time_s is not None), default=None)

    def expire(self, now_s: float) -> None:
        """End what has run out of time; a connection whose answer is late carries no other request."""
        for exchange in self._answers.take_expired(now_s):
            exchange.connection.exchange = None
            exchange.connection.close()
            exchange.finish(inference_timeout(), now_s)
        for exchange in self._waits.take_expired(now_s):
            if exchange.connection is None:
                exchange.finish(pool_timeout(), now_s)
        while self._waiting and self._waiting[0].done:
            self._waiting.popleft()
        for connection in self._openings.take_expired(now_s):
            connection.close()
            self._opening.discard(connection)
            self._connects = False
