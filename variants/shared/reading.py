"""The factor `reading`: with "ticks" a session's socket is read shortly before each tick, and for a look in between.

Between those the kernel keeps the audio, and nobody is woken by it. Two calls of a public API do it, an asyncio
transport's `pause_reading` and `resume_reading`: the draining idea for who keeps his server.

A `Reading` belongs to the event loop of its connection.
"""

import asyncio
from time import monotonic
from typing import Protocol

from gateway import Session

LEAD_S = 0.004
"""So long before a tick its audio is read."""
_OPEN_S = 0.002
"""How long a transport may read then: once round its event loop is enough, whatever it finds."""
LOOK_S = 0.45
"""No longer than this nobody looks: pings and closes have to be answered within a second."""


class Transport(Protocol):
    """What an asyncio transport can do about reading."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...


class Reading:
    """Of one connection, from the start of its session until `end`."""

    def __init__(self, transport: Transport, session: Session) -> None:
        self._transport, self._session = transport, session
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pause()

    def _pause(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        ahead_s = self._session.next_due_s - LEAD_S - monotonic()
        self._timer = self._loop.call_later(ahead_s if 0 < ahead_s <= LOOK_S else LOOK_S, self._resume)

    def _resume(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._timer = self._loop.call_later(_OPEN_S, self._pause)

    def end(self) -> None:
        """Read as ever from now on: the connection ends, and what comes is its end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if not self._transport.is_closing():
                self._transport.resume_reading()
