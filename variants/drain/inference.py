"""What both inference transports share: a request and its time limits, and a connection being made. No HTTP here.

Belongs to the thread of its loop.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Sequence
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


Address = tuple[int, Any]
"""A family, and a socket address of it."""


class Upstream(Stream):
    """A connection to the inference server, made without waiting, to the first of its addresses that takes it.
    Subclasses say what follows."""

    def __init__(self, poller: Poller, addresses: Sequence[Address]) -> None:
        self._untried = deque(addresses)
        self.done = False
        """Whether the attempt to connect has ended, either way."""
        super().__init__(poller, self._try_next(), IN | OUT)

    def _try_next(self) -> socket.socket:
        family, address = self._untried.popleft()
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # a kernel without IPv6, whose localhost is ::1 all the same
            if not self._untried:
                raise
            return self._try_next()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._refusal = sock.connect_ex(address)
        return sock

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
                if code and self._untried:
                    self._go_on_with(self._try_next())
                    return
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
