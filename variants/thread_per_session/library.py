"""The same sessions on websockets' own blocking server: it has a thread for each handler, and one more that reads.

Its keepalive thread is turned off. Everything of a connection belongs to its two threads, which websockets joins.
"""

import logging
import select
import signal
import threading
from collections.abc import Iterator
from functools import partial
from time import monotonic
from types import FrameType

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from gateway import LEAVE_LIMIT_S
from variants.shared.options import CLOSE_LIMIT_S, MOST_BYTES, HostOptions
from variants.shared.websockets_http import answer
from variants.thread_per_session.session import Ended, Gateway


class LibraryWire:
    """`Wire` over websockets' blocking connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket

    @property
    def has_more(self) -> bool:
        return False  # what its other thread has read it does not tell

    def receive(self, until_s: float) -> str | bytes | None:
        try:
            return self._socket.recv(timeout=max(0.0, until_s - monotonic()))
        except TimeoutError:
            return None
        except ConnectionClosed:
            raise Ended from None

    def while_waiting(self, fd: int, until_s: float) -> Iterator[str | bytes]:
        """Its other thread reads, and answers pings, meanwhile: what has come is taken at the end."""
        select.select([fd], [], [], max(0.0, until_s - monotonic()))
        while (message := self.receive(0.0)) is not None:
            yield message

    def send_text(self, text: str) -> None:
        try:
            self._socket.send(text)
        except ConnectionClosed:
            raise Ended from None

    def close(self, code: int, reason: str) -> None:
        self._socket.close(code, reason)


def serve_with_websockets(options: HostOptions) -> int:
    """Serve until a signal comes."""
    gateway = Gateway(options)

    def answered(socket: ServerConnection, request: Request) -> Response | None:
        tallies = gateway.tallies
        return answer(request, socket.respond, lambda: tallies.admits(options.admission), tallies.page)

    server = serve(
        lambda socket: gateway.serve(LibraryWire(socket)),
        options.host,
        options.port,
        process_request=answered,
        compression=None,
        max_size=MOST_BYTES,
        ping_interval=None,
        close_timeout=CLOSE_LIMIT_S,
        logger=_quiet(),
    )

    def on_signal(number: int, frame: FrameType | None) -> None:
        gateway.leaving.set()
        threading.Thread(target=partial(server.shutdown, close_connections=False), daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server.serve_forever()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(LEAVE_LIMIT_S)
    return 0


def _quiet() -> logging.Logger:
    logger = logging.getLogger("variants.thread_per_session")
    logger.setLevel(logging.CRITICAL)  # a refused handshake is the peer's affair
    return logger
