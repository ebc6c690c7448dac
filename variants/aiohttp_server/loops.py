"""A serving loop over aiohttp's server, one in each thread of `variants.shared.loop_threads`.

Everything here belongs to its loop's thread: application, connections, sessions, and the inference client.
"""

from contextlib import suppress
from time import monotonic

from aiohttp import ClientConnectionResetError, WSMsgType, web

from gateway import FULL, Close, Session
from variants.shared.loop_threads import Here
from variants.shared.metrics import CONTENT_TYPE
from variants.shared.options import BACKLOG, CLOSE_LIMIT_S, MOST_BYTES
from variants.shared.relay import feeding
from variants.shared.sessions import Sessions


async def serve_loop(here: Here) -> None:
    """Serve on this loop until the host is to end."""
    sessions = Sessions(here)

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=here.tallies.page(), headers={"Content-Type": CONTENT_TYPE})

    async def stt(request: web.Request) -> web.StreamResponse:
        if not here.options.admission.admits(here.tally):
            return web.Response(status=503, text=FULL.reason)
        socket = web.WebSocketResponse(timeout=CLOSE_LIMIT_S, compress=False, max_msg_size=MOST_BYTES)
        await socket.prepare(request)
        with sessions.begun(lambda close: socket.close(code=close.code, message=close.reason.encode())) as session:
            close = await _serve(request, socket, session, here)
            if close is not None:
                await socket.close(code=close.code, message=close.reason.encode())
        return socket

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/metrics", metrics), web.get("/ws/stt", stt)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_LIMIT_S)
    await runner.setup()
    site = web.SockSite(runner, here.listening, backlog=BACKLOG)
    await site.start()
    await here.stopped()
    await site.stop()
    await sessions.leave()
    await runner.cleanup()


async def _serve(request: web.Request, socket: web.WebSocketResponse, session: Session, here: Here) -> Close | None:
    """Feed one session until the client ends it (None), or it is to be closed."""

    async def send_text(text: str) -> None:
        with suppress(ClientConnectionResetError):  # who receives is told, too
            await socket.send_str(text)

    close: Close | None = None
    at_ticks = request.transport if here.options.reading == "ticks" else None
    async with feeding(session, here.client, send_text, at_ticks) as start:
        while close is None:
            message = await socket.receive()
            if message.type is not WSMsgType.BINARY and message.type is not WSMsgType.TEXT:
                break  # a close, a broken frame (aiohttp has answered both), or the end of TCP
            close = session.frame(message.data, monotonic()) if session.started else start(message.data)
    return close
