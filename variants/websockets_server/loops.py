"""A serving loop over websockets' asyncio server, one in each thread of `variants.shared.loop_threads`.

Everything here belongs to its loop's thread: connections, sessions, and the inference client.
"""

import random
from contextlib import suppress
from http import HTTPStatus
from time import monotonic

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gateway import FULL, Close, Session, SessionSettings
from variants.shared.leaving import leave_all
from variants.shared.loop_threads import BACKLOG, Here
from variants.shared.metrics import CONTENT_TYPE
from variants.shared.reading import Reading
from variants.shared.relay import start_relay

MOST_BYTES = 65_536
_MOST_QUEUED = 256
"""Frames of five seconds: as many may come at once where nobody reads between ticks."""
_CLOSE_LIMIT_S = 1.0
"""How long a client may take to answer our close."""


class _Connection:
    """One WebSocket, for who ends the host."""

    def __init__(self, session: Session, socket: ServerConnection) -> None:
        self.session, self._socket = session, socket

    async def leave(self, close: Close) -> None:
        await self._socket.close(close.code, close.reason)


class _Server:
    """The handlers of one loop."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._phases, self._settings = random.Random(), SessionSettings()
        self.connections: set[_Connection] = set()

    def answer(self, socket: ServerConnection, request: Request) -> Response | None:
        """An HTTP request; None where it goes on as a WebSocket."""
        here, path = self._here, request.path.partition("?")[0]
        if path == "/ws/stt":
            if here.options.admission.admits(here.tally):
                return None
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, FULL.reason)
        if path == "/health":
            return _typed(socket.respond(HTTPStatus.OK, '{"ok":true}'), "application/json")
        if path == "/metrics":
            return _typed(socket.respond(HTTPStatus.OK, here.tallies.page().decode()), CONTENT_TYPE)
        return socket.respond(HTTPStatus.NOT_FOUND, "expected /ws/stt or /health\n")

    async def stt(self, socket: ServerConnection) -> None:
        """One WebSocket."""
        here, tally = self._here, self._here.tally
        session = Session(self._settings, self._phases.uniform(0, here.options.flush_phase_jitter_ms), tally)
        connection = _Connection(session, socket)
        self.connections.add(connection)
        tally.enter()
        try:
            close = await _serve(socket, session, here)
            if close is not None:
                await socket.close(close.code, close.reason)
        except Exception:
            tally.exceptions += 1
            raise
        finally:
            self.connections.discard(connection)
            tally.leave()


async def _serve(socket: ServerConnection, session: Session, here: Here) -> Close | None:
    """Feed one session until the client ends it (None), or it is to be closed."""

    async def send_text(text: str) -> None:
        with suppress(ConnectionClosed):  # who receives is told, too
            await socket.send(text)

    reading: Reading | None = None
    close: Close | None = None
    async with anyio.create_task_group() as tasks:
        try:
            while close is None:
                message = await socket.recv()
                if session.started:
                    close = session.frame(message, monotonic())
                else:
                    close = session.start(message, monotonic())
                    if close is None:
                        start_relay(tasks, session, here.client, send_text)
                        if here.options.reading == "ticks":
                            reading = Reading(socket.transport, session)
        except ConnectionClosed:
            pass
        finally:
            session.close()
            if reading is not None:
                reading.end()
            tasks.cancel_scope.cancel()
    return close


def _typed(response: Response, content_type: str) -> Response:
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = content_type
    return response


async def serve_loop(here: Here) -> None:
    """Serve on this loop until the host is to end."""
    server = _Server(here)
    serving = await serve(
        server.stt,
        sock=here.listening,
        backlog=BACKLOG,
        process_request=server.answer,
        compression=None,
        max_size=MOST_BYTES,
        max_queue=_MOST_QUEUED if here.options.reading == "ticks" else 16,  # websockets' own, which pauses and resumes
        ping_interval=None,  # the contract does not ask clients to answer
        close_timeout=_CLOSE_LIMIT_S,
    )
    await here.stopped()
    serving.close(close_connections=False)
    await leave_all(server.connections)
