"""Each host with sessions that say back what they hear: its own sockets, loop and framing, and none of the gateway.

`python -m tests.variants.echo_hosts OPTION … HOST` takes the host's options. It may run on a free-threaded build, in
that host's environment, so each is imported where it is started. The limits are the host's own.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from gateway import FRAME_BYTES, Close, SendText, Session, SessionSettings

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

Message = str | bytes | memoryview


class Echo(Session):
    """A session that has begun before its first message, and has each one written by `write`."""

    def __init__(self, write: Callable[[Message, float], None]) -> None:
        super().__init__(SessionSettings(), 0.0)
        self._write = write

    @property
    def started(self) -> bool:
        return True

    def frame(self, message: Any, now_s: float) -> Close | None:
        self._write(message, now_s)
        return None

    def frames(self, run: Any, now_s: float) -> None:
        for at in range(0, len(run), FRAME_BYTES):
            self._write(run[at : at + FRAME_BYTES], now_s)

    def written(self) -> None:
        """Nothing is counted."""


def drain() -> Any:
    """A client listens for data until its start message comes. None is needed here, so each round looks at it."""
    from variants.drain import loop
    from variants.drain.__main__ import main
    from variants.drain.client import Client

    class EchoClient(Client):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._session = Echo(self._write_back)

        def _write_back(self, message: Message, now_s: float) -> None:
            if isinstance(message, str):
                self._write_replies(now_s)  # the pongs to what came before it
                self._send_text(SendText(message))
            else:
                self._protocol.send_binary(message)  # a gateway has none to send

    vars(loop)["Client"] = EchoClient
    return main()


def picows() -> Any:
    from picows import WSMsgType

    from variants.picows_loops import loops
    from variants.picows_loops.__main__ import main
    from variants.picows_loops.connection import Connection

    class EchoConnection(Connection):
        def __init__(self, _: Session, *arguments: Any, **more: Any) -> None:
            super().__init__(Echo(self._write_back), *arguments, **more)

        def _write_back(self, message: Message, now_s: float) -> None:
            assert self._transport is not None
            self._transport.send(WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY, message)

    vars(loops)["Connection"] = EchoConnection
    return main()


def asgi() -> Any:
    """A server's workers make the application themselves: they are told of another function."""
    from variants.asgi import servers
    from variants.asgi.__main__ import main

    vars(servers)["APP"] = "tests.variants.echo_hosts:echo_app"
    return main()


def echo_app() -> Any:
    """The stock application, whose connections echo."""
    from variants.asgi import app, serving

    async def echo(socket: "WebSocket", *_: object) -> None:
        while (event := await socket.receive())["type"] != "websocket.disconnect":
            data = event.get("bytes")
            await (socket.send_text(event["text"]) if data is None else socket.send_bytes(data))

    vars(serving)["serve"] = echo
    return app.create_app()


def aiohttp() -> Any:
    from aiohttp import WSMsgType

    from variants.aiohttp_server import loops
    from variants.aiohttp_server.__main__ import main

    async def echo(_: object, socket: Any, *more: object) -> None:
        while (message := await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            await (socket.send_str if message.type is WSMsgType.TEXT else socket.send_bytes)(message.data)

    vars(loops)["_serve"] = echo
    return main()


def websockets() -> Any:
    from websockets.exceptions import ConnectionClosed

    from variants.websockets_server import loops
    from variants.websockets_server.__main__ import main

    async def echo(socket: Any, *_: object) -> None:
        with suppress(ConnectionClosed):
            while True:
                await socket.send(await socket.recv())

    vars(loops)["_serve"] = echo
    return main()


def threads() -> Any:
    from variants.thread_per_session.__main__ import main
    from variants.thread_per_session.session import Gateway

    def echo(self: Gateway, wire: Any, _: object) -> None:
        while not self.leaving.is_set():
            message = wire.receive(monotonic() + 0.1)
            if isinstance(message, str):
                wire.send_text(message)
            elif message is not None:
                wire._protocol.send_binary(message)
                wire._write_replies()
        wire.close(1001, "")

    Gateway._serve = echo  # type: ignore[method-assign, assignment]
    return main()


ECHOES = {
    "drain": drain,
    "picows": picows,
    "asgi": asgi,
    "aiohttp": aiohttp,
    "websockets": websockets,
    "threads": threads,
}

if __name__ == "__main__":
    sys.exit(ECHOES[sys.argv.pop()]())
