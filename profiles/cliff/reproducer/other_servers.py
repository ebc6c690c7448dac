"""The reproducer's application on other servers: acknowledge every ten frames. `lost_wakeup` has the clients.

    python other_servers.py uvicorn --port 8000 --loop uvloop

One application for all ASGI servers, `lost_wakeup.app`, and a twin of it for each other API. Every one spins for U(0,
SPIN_US) between asking for a frame and waiting for it, where its API has such a moment.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lost_wakeup import FRAMES, SPIN_US  # type: ignore[import-not-found] # the script beside this one

HOST = "127.0.0.1"
APP = "lost_wakeup:app"
BACKLOG = 1024


def spin() -> None:
    """Take a moment."""
    end = time.perf_counter() + random.uniform(0, SPIN_US) / 1e6
    while time.perf_counter() < end:
        pass


def granian_rsgi(port: int, loop: str, runtime: str) -> None:
    from granian import Granian

    options: dict[str, Any] = {"interface": "rsgi", "runtime_mode": runtime, "loop": loop, "http": "1"}
    Granian(f"{Path(__file__).stem}:rsgi", address=HOST, port=port, log_enabled=False, **options).serve()


async def rsgi(scope: Any, protocol: Any) -> None:
    """Granian's own interface."""
    transport = await protocol.accept()
    frame = 0
    while True:
        arriving = transport.receive()
        spin()
        message = await arriving
        if not message.kind:
            break
        frame += 1
        if frame % FRAMES == 0:
            await transport.send_str("ack")
    protocol.close()


def uvicorn(port: int, loop: str, runtime: str, ws: Any = "websockets-sansio") -> None:
    import uvicorn

    uvicorn.run(APP, host=HOST, port=port, loop=loop, ws=ws, lifespan="off", log_level="error", ws_ping_interval=None)


def uvicorn_wsproto(port: int, loop: str, runtime: str) -> None:
    uvicorn(port, loop, runtime, "wsproto")


def hypercorn(port: int, loop: str, runtime: str) -> None:
    from hypercorn.config import Config
    from hypercorn.run import run

    config = Config()
    config.application_path, config.bind, config.worker_class = APP, [f"{HOST}:{port}"], loop
    config.workers, config.loglevel = 0, "ERROR"
    run(config)


def _run(loop: str, main: Callable[[], Any]) -> None:
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def aiohttp(port: int, loop: str, runtime: str) -> None:
    from aiohttp import WSMsgType, web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket, frame = web.WebSocketResponse(compress=False), 0
        await socket.prepare(request)
        while True:
            arriving = socket.receive()
            spin()
            if (await arriving).type is not WSMsgType.BINARY:
                return socket
            frame += 1
            if frame % FRAMES == 0:
                await socket.send_str("ack")

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.get("/", echo)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, port, backlog=BACKLOG).start()
        await asyncio.Event().wait()

    _run(loop, main)


def websockets(port: int, loop: str, runtime: str) -> None:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def echo(socket: ServerConnection) -> None:
        frame = 0
        try:
            while True:
                arriving = socket.recv()
                spin()
                await arriving
                frame += 1
                if frame % FRAMES == 0:
                    await socket.send("ack")
        except ConnectionClosed:
            return

    async def main() -> None:
        async with serve(echo, HOST, port, compression=None, ping_interval=None, backlog=BACKLOG):
            await asyncio.Event().wait()

    _run(loop, main)


def websockets_sync(port: int, loop: str, runtime: str) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import ServerConnection, serve

    def echo(socket: ServerConnection) -> None:
        frame = 0
        try:
            while True:
                spin()
                socket.recv()
                frame += 1
                if frame % FRAMES == 0:
                    socket.send("ack")
        except ConnectionClosed:
            return

    serve(echo, HOST, port, compression=None, ping_interval=None).serve_forever()


def picows(port: int, loop: str, runtime: str) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    class Echo(WSListener):  # type: ignore[misc]
        frame = 0

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            spin()
            self.frame += 1
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()
            elif self.frame % FRAMES == 0:
                transport.send(WSMsgType.TEXT, b"ack")

    def made(request: WSUpgradeRequest) -> WSListener:
        return Echo()

    async def main() -> None:
        server = await ws_create_server(made, HOST, port, backlog=BACKLOG)
        await server.serve_forever()

    _run(loop, main)


SERVERS: dict[str, Callable[[int, str, str], None]] = {
    "granian-rsgi": granian_rsgi,
    "uvicorn": uvicorn,
    "uvicorn-wsproto": uvicorn_wsproto,
    "hypercorn": hypercorn,
    "aiohttp": aiohttp,
    "websockets": websockets,
    "websockets-sync": websockets_sync,
    "picows": picows,
}


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--runtime", choices=("st", "mt"), default="mt", help="Granian's")
    given = parser.parse_args()
    SERVERS[given.server](given.port, given.loop, given.runtime)


if __name__ == "__main__":
    main()
