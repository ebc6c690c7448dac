"""The FastAPI application of the stock stack: one task receives, two relay (`variants.shared.relay`).

Ownership: each connection's session and tasks belong to the event loop that accepted it, and so does the inference
client. On a free-threaded build Granian runs one application on several loops, each in a thread of its own, and its
lifespan once on each: what belongs to a loop travels in that lifespan's state, never in `app.state`. Shared between the
threads are the application object, the read-only settings and the options.
"""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, WebSocket
from starlette.types import ASGIApp

from gateway import Session, SessionSettings
from variants.asgi.amplifier import delayed
from variants.shared.build import require_interpreter
from variants.shared.clients import open_client
from variants.shared.collector import set_collector
from variants.shared.inference import InferenceClient
from variants.shared.options import HostOptions
from variants.shared.relay import start_relay


def create_app() -> ASGIApp:
    """Build the application in a worker, from the options that its parent left in the environment."""
    options = HostOptions.from_environment()
    settings = SessionSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, InferenceClient]]:
        async with open_client(options) as client:
            require_interpreter(options.expect)  # the client's modules are the last that are imported
            set_collector(options.collector)
            yield {"client": client}

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.websocket("/ws/stt")
    async def stt(socket: WebSocket) -> None:
        await socket.accept()
        phase_ms = random.uniform(0, options.flush_phase_jitter_ms)
        await _serve(socket, Session(settings, phase_ms), socket.state.client)

    return delayed(app, options.receive_delay_us) if options.receive_delay_us else app


async def _serve(socket: WebSocket, session: Session, client: InferenceClient) -> None:
    async with anyio.create_task_group() as tasks:
        try:
            while True:
                event = await socket.receive()
                if event["type"] == "websocket.disconnect":
                    break
                data = event.get("bytes")
                message = event["text"] if data is None else data
                if session.started:
                    close = session.frame(message, time.monotonic())
                else:
                    close = session.start(message, time.monotonic())
                    if close is None:
                        start_relay(tasks, session, client, socket.send_text)
                if close is not None:
                    await socket.close(close.code, close.reason)
                    break
        finally:
            session.close()
            tasks.cancel_scope.cancel()
