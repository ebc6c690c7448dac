"""A small real server on a port of 127.0.0.1, while a block runs. What it says is its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import anyio
from anyio.abc import SocketAttribute, SocketStream


class Server(Protocol):
    """What takes connections, and is told on which port."""

    port: int

    async def handle(self, stream: SocketStream) -> None: ...


S = TypeVar("S", bound=Server)


@asynccontextmanager
async def listening(server: S, port: int = 0) -> AsyncIterator[S]:
    """Listen on a free port (or a given one) of 127.0.0.1 while the context is open."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, reuse_port=True)
    async with listener, anyio.create_task_group() as tasks:
        server.port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, server.handle)
        yield server
        tasks.cancel_scope.cancel()
