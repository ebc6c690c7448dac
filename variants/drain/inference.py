"""What both inference transports share: a request and its time limits, and a connection being made. No HTTP here.

Belongs to the thread of its loop.
"""

import errno
import os
import socket
from collections import deque
from typing import Any, Protocol

from gateway import Failure, Infer
from variants.drain.stream import IN, OUT, Poller, Stream
from variants.shared.inference import Answer

BUFFERS_AT_ONCE = 64
_SEND_BUFFER_BYTES = 128 * 1024
"""Room for the POST of a few seconds of audio; the kernel doubles it, and takes none of it before it is used."""


class Owner(Protocol):
    """Who asked."""

    def on_outcome(self, outcome: Answer | Failure, now_s: float) -> None:
        """Called once for each batch: its answer, or why there is none."""
        ...


class Exchange:
    """One batch on its way. `done` once its owner was told."""

    __slots__ = ("_batch", "connection", "done", "owner")

    def __init__(self, batch: Infer, owner: Owner) -> None:
        self._batch: Infer | None = batch
        self.owner = owner
        self.connection: Any = None
        """What carries it, once something does."""
        self.done = False

    def take_batch(self) -> Infer:
        """The batch, to be sent: once, and from then on the exchange does not keep its audio alive."""
        batch, self._batch = self._batch, None
        assert batch is not None
        return batch

    def finish(self, outcome: Answer | Failure, now_s: float) -> None:
        """Tell the owner, unless it was told before."""
        if not self.done:
            self.done = True
            self.owner.on_outcome(outcome, now_s)


class Deadlines:
    """Things that share one time limit, in the order in which they began: which is the order in which they run out."""

    __slots__ = ("_entries", "_limit_s")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._entries: deque[tuple[float, Any]] = deque()

    def add(self, now_s: float, item: Any) -> None:
        """Begin `item`'s limit; once its `done` is true it is dropped unseen."""
        self._entries.append((now_s + self._limit_s, item))

    def next_s(self) -> float | None:
        """The earliest deadline of what is not done."""
        entries = self._entries
        while entries and entries[0][1].done:
            entries.popleft()
        return entries[0][0] if entries else None

    def take_expired(self, now_s: float) -> list[Any]:
        """Remove and return what ran out by `now_s` without being done."""
        expired = []
        while (next_s := self.next_s()) is not None and next_s <= now_s:
            expired.append(self._entries.popleft()[1])
        return expired


class Inference(Protocol):
    """A loop's way to the inference server."""

    def post(self, batch: Infer, owner: Owner, now_s: float) -> None:
        """Send one batch; the owner is told its outcome within the contract's time limits, perhaps at once."""
        ...

    def next_deadline_s(self) -> float | None:
        """When `expire` has something to do, if nothing happens before."""
        ...

    def expire(self, now_s: float) -> None:
        """End what has run out of time."""
        ...


class Upstream(Stream):
    """A connection to the inference server, made without waiting. Subclasses say what follows."""

    def __init__(self, poller: Poller, family: int, address: Any) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        super().__init__(poller, sock, IN | OUT)
        self.done = False
        """Whether the attempt to connect has ended, either way."""
        self._refusal = sock.connect_ex(address)

    @property
    def connected(self) -> bool:
        return self.done and self.open

    def on_event(self, mask: int, now_s: float) -> None:
        if not self.open:
            return
        try:
            if not self.done:
                code = self._refusal if self._refusal not in (0, errno.EINPROGRESS) else 0
                code = code or self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                if not mask & OUT:
                    return
                self.done = True
                self._listen_for(IN)
                self._on_connected(now_s)
            elif mask & OUT and self._pending:
                self._flush()
            if mask & ~OUT and self.open:
                self._on_readable(now_s)
        except OSError as error:
            self.lose(f"the connection to the inference server broke: {error}", now_s)

    def _on_connected(self, now_s: float) -> None:
        raise NotImplementedError

    def _on_readable(self, now_s: float) -> None:
        """Read. An OSError ends the connection."""
        raise NotImplementedError

    def lose(self, reason: str, now_s: float) -> None:
        """End the connection; whoever waits for it is told."""
        raise NotImplementedError
