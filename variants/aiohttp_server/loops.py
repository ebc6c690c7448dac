"""A serving loop over aiohttp's server, one in each thread of `variants.shared.loop_threads`.

Everything here belongs to its loop's thread: application, connections, sessions, and the inference client.
"""

import asyncio
import random
from contextlib import suppress
from time import monotonic

import anyio
from aiohttp import ClientConnectionResetError, WSMsgType, web

from gateway import FULL, Close, Session, SessionSettings
from variants.shared.leaving import leave_all
from variants.shared.loop_threads import BACKLOG, Here
from variants.shared.metrics import CONTENT_TYPE
from variants.shared.reading import Reading
from variants.shared.relay import start_relay

MOST_BYTES = 65_536
_CLOSE_LIMIT_S = 1.0
"""How long a client may take to answer our close."""


class _Connection:
    """One WebSocket, for who ends the host."""

    def __init__(self, session: Session, socket: web.WebSocketResponse) -> None:
        self.session, self._socket = session, socket

    async def leave(self, close: Close) -> None:
        await self._socket.close(code=close.code, message=close.reason.encode())


class _Server:
    """The handlers of one loop."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._phases, self._settings = random.Random(), SessionSettings()
        self.connections: set[_Connection] = set()

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._here.tallies.page(), headers={"Content-Type": CONTENT_TYPE})

    async def stt(self, request: web.Request) -> web.StreamResponse:
        here, tally = self._here, self._here.tally
        if not here.options.admission.admits(tally):
            return web.Response(status=503, text=FULL.reason)
        socket = web.WebSocketResponse(timeout=_CLOSE_LIMIT_S, compress=False, max_msg_size=MOST_BYTES)
        await socket.prepare(request)
        session = Session(self._settings, self._phases.uniform(0, here.options.flush_phase_jitter_ms), tally)
        connection = _Connection(session, socket)
        self.connections.add(connection)
        tally.enter()
        try:
            close = await _serve(socket, session, here, request.transport)
            if close is not None:
                await socket.close(code=close.code, message=close.reason.encode())
        except Exception:
            tally.exceptions += 1
            raise
        finally:
            self.connections.discard(connection)
            tally.leave()
        return socket


async def _serve(
    socket: web.WebSocketResponse, session: Session, here: Here, transport: asyncio.Transport | None
) -> Close | None:
    """Feed one session until the client ends it (None), or it is to be closed."""

    async def send_text(text: str) -> None:
        with suppress(ClientConnectionResetError):  # who receives is told, too
            await socket.send_str(text)

    reading: Reading | None = None
    close: Close | None = None
    async with anyio.create_task_group() as tasks:
        try:
            while close is None:
                message = await socket.receive()
                if message.type is not WSMsgType.BINARY and message.type is not WSMsgType.TEXT:
                    break  # a close, a broken frame (aiohttp has answered both), or the end of TCP
                if session.started:
                    close = session.frame(message.data, monotonic())
                else:
                    close = session.start(message.data, monotonic())
                    if close is None:
                        start_relay(tasks, session, here.client, send_text)
                        if here.options.reading == "ticks" and transport is not None:
                            reading = Reading(transport, session)
        finally:
            session.close()
            if reading is not None:
                reading.end()
            tasks.cancel_scope.cancel()
    return close


async def serve_loop(here: Here) -> None:
    """Serve on this loop until the host is to end."""
    server, app = _Server(here), web.Application()
    app.add_routes(
        [
            web.get("/health", server.health),
            web.get("/metrics", server.metrics),
            web.get("/ws/stt", server.stt),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_CLOSE_LIMIT_S)
    await runner.setup()
    site = web.SockSite(runner, here.listening, backlog=BACKLOG)
    await site.start()
    await here.stopped()
    await site.stop()
    await leave_all(server.connections)
    await runner.cleanup()
