"""A serving loop over websockets' asyncio server, one in each thread of `variants.shared.loop_threads`.

Everything here belongs to its loop's thread: connections, sessions, and the inference client.
"""

from contextlib import suppress
from time import monotonic

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gateway import Close, Session
from variants.shared.loop_threads import Here
from variants.shared.options import BACKLOG, CLOSE_LIMIT_S, MOST_BYTES
from variants.shared.relay import feeding
from variants.shared.sessions import Sessions
from variants.shared.websockets_http import answer

_MOST_QUEUED = 256
"""Frames of five seconds: as many may come at once where nobody reads between ticks."""


async def serve_loop(here: Here) -> None:
    """Serve on this loop until the host is to end."""
    sessions = Sessions(here)

    def answered(socket: ServerConnection, request: Request) -> Response | None:
        return answer(request, socket.respond, lambda: here.options.admission.admits(here.tally), here.tallies.page)

    async def stt(socket: ServerConnection) -> None:
        with sessions.begun(lambda close: socket.close(close.code, close.reason)) as session:
            close = await _serve(socket, session, here)
            if close is not None:
                await socket.close(close.code, close.reason)

    serving = await serve(
        stt,
        sock=here.listening,
        backlog=BACKLOG,
        process_request=answered,
        compression=None,
        max_size=MOST_BYTES,
        max_queue=_MOST_QUEUED if here.options.reading == "ticks" else 16,  # websockets' own, which pauses and resumes
        ping_interval=None,  # the contract does not ask clients to answer
        close_timeout=CLOSE_LIMIT_S,
    )
    await here.stopped()
    serving.close(close_connections=False)
    await sessions.leave()


async def _serve(socket: ServerConnection, session: Session, here: Here) -> Close | None:
    """Feed one session until the client ends it (None), or it is to be closed."""

    async def send_text(text: str) -> None:
        with suppress(ConnectionClosed):  # who receives is told, too
            await socket.send(text)

    close: Close | None = None
    at_ticks = socket.transport if here.options.reading == "ticks" else None
    async with feeding(session, here.client, send_text, at_ticks) as start:
        with suppress(ConnectionClosed):
            while close is None:
                message = await socket.recv()
                close = session.frame(message, monotonic()) if session.started else start(message)
    return close
