"""Sessions of one event loop on an anyio backend, and how a host ends: nobody is cut off who is owed an answer."""

import random
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import anyio

from gateway import LEAVE_LIMIT_S, Close, Session, SessionSettings
from variants.shared.loop_threads import Here
from variants.shared.metrics import counted

_LOOK_S = 0.02


class Leaving(Protocol):
    """One connection of the host's."""

    session: Session

    async def leave(self, close: Close) -> None:
        """Send the close."""
        ...


Connection = TypeVar("Connection", bound=Leaving)


async def leave_all(connections: Collection[Connection]) -> None:
    """Have every connection's answer in flight relayed, then close it. Returns when all have left the collection, from
    which the host removes them as they end, or at the limit."""

    async def leave(connection: Connection) -> None:
        close = connection.session.leave()
        while connection.session.owes and connection in connections:  # noqa: ASYNC110, the core tells nobody
            await anyio.sleep(_LOOK_S)
        if connection in connections:
            await connection.leave(close)

    with anyio.move_on_after(LEAVE_LIMIT_S):
        async with anyio.create_task_group() as tasks:
            for connection in tuple(connections):
                tasks.start_soon(leave, connection)
        while connections:  # noqa: ASYNC110, nor does a set
            await anyio.sleep(_LOOK_S)


class _Connection:
    """One that is a coroutine."""

    def __init__(self, session: Session, leave: Callable[[Close], Awaitable[object]]) -> None:
        self.session, self._leave = session, leave

    async def leave(self, close: Close) -> None:
        await self._leave(close)


class Sessions:
    """Of one loop whose connections are coroutines: each with its phase, counted, and known to who ends the host."""

    def __init__(self, here: Here) -> None:
        self._tally, self._jitter_ms = here.tally, here.options.flush_phase_jitter_ms
        self._phases, self._settings = random.Random(), SessionSettings()
        self._connections: set[_Connection] = set()

    @contextmanager
    def begun(self, leave: Callable[[Close], Awaitable[object]]) -> Iterator[Session]:
        """One that was let in, for as long as its connection is served. `leave` sends the close where the host ends."""
        session = Session(self._settings, self._phases.uniform(0, self._jitter_ms), self._tally)
        connection = _Connection(session, leave)
        self._connections.add(connection)
        try:
            with counted(self._tally):
                yield session
        finally:
            self._connections.discard(connection)

    async def leave(self) -> None:
        """The host ends: everybody is told, once nothing is owed to him."""
        await leave_all(self._connections)
