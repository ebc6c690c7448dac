"""The application that an ASGI server's worker makes: under FastAPI, or bare. What it does is `serving`'s business."""

from fastapi import FastAPI, Response, WebSocket
from starlette.types import ASGIApp, Receive, Scope, Send

from variants.asgi.amplifier import delayed
from variants.asgi.serving import Gateway
from variants.shared.metrics import CONTENT_TYPE, Tallies
from variants.shared.options import HostOptions


def create_app() -> ASGIApp:
    """Build the application in a worker, from the options that its parent left in the environment."""
    options = HostOptions.from_environment()
    gateway = Gateway(options, Tallies.from_environment())
    app = bare(gateway) if options.framework == "none" else fastapi(gateway)
    return delayed(app, options.receive_delay_us) if options.receive_delay_us else app


def fastapi(gateway: Gateway) -> ASGIApp:
    """As people write it."""
    app = FastAPI(lifespan=gateway.lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(gateway.metrics(), media_type=CONTENT_TYPE)

    @app.websocket("/ws/stt")
    async def stt(socket: WebSocket) -> None:
        await gateway.stt(socket, socket.state.client, socket.state.tally)

    return app


class _BareSocket:
    """The few messages of ASGI that a session needs."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.receive, self._send = receive, send

    async def accept(self) -> None:
        await self.receive()  # "websocket.connect"
        await self._send({"type": "websocket.accept"})

    async def send_text(self, data: str) -> None:
        await self._send({"type": "websocket.send", "text": data})

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason or ""})


def bare(gateway: Gateway) -> ASGIApp:
    """ASGI itself: what a framework adds is the difference."""

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # "lifespan.startup"
        async with gateway.lifespan() as state:
            scope["state"].update(state)
            await send({"type": "lifespan.startup.complete"})
            await receive()  # "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        pages = {"/health": (b"application/json", b'{"ok":true}'), "/metrics": (CONTENT_TYPE.encode(), b"")}
        kind, body = pages.get(scope["path"], (b"text/plain", b""))
        if scope["path"] == "/metrics":
            body = gateway.metrics()
        status = 200 if scope["path"] in pages else 404
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await http(scope, receive, send)
        elif scope["path"] == "/ws/stt":
            state = scope["state"]
            await gateway.stt(_BareSocket(receive, send), state["client"], state["tally"])
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before it is accepted: 403 (ASGI, "Close")

    return app
