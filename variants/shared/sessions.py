"""Sessions of one event loop whose connections are coroutines: each with its phase, counted, and known to who ends the
host.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from gateway import Close, Session, SessionSettings
from variants.shared.leaving import leave_all
from variants.shared.loop_threads import Here

CLOSE_LIMIT_S = 1.0
"""How long a client may take to answer our close."""
MOST_BYTES = 65_536
"""A longer message closes with 1009."""


class _Connection:
    """One of them."""

    def __init__(self, session: Session, leave: Callable[[Close], Awaitable[object]]) -> None:
        self.session, self._leave = session, leave

    async def leave(self, close: Close) -> None:
        await self._leave(close)


class Sessions:
    """Of one loop."""

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
        self._tally.enter()
        try:
            yield session
        except Exception:
            self._tally.exceptions += 1
            raise
        finally:
            self._connections.discard(connection)
            self._tally.leave()

    async def leave(self) -> None:
        """The host ends: everybody is told, once nothing is owed to him."""
        await leave_all(self._connections)
