"""How a host on an anyio backend ends: nobody is cut off while an answer is owed to him."""

from collections.abc import Collection
from typing import Protocol, TypeVar

import anyio

from gateway import LEAVE_LIMIT_S, Close, Session

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
