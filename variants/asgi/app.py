"""The FastAPI application of the stock stack: one task receives, two relay (`variants.shared.relay`).

Ownership: each connection's session and tasks belong to the event loop that accepted it, and so does the inference
client. On a free-threaded build Granian runs one application on several loops, each in a thread of its own, and its
lifespan once on each: what belongs to a loop travels in that lifespan's state, never in `app.state`. Shared between the
threads are the application object, the read-only settings and options, and the memory of `variants.shared.metrics`.
"""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Response, WebSocket
from starlette.types import ASGIApp

from gateway import FULL, Session, SessionSettings, Tally
from variants.asgi.amplifier import delayed
from variants.shared.build import require_interpreter
from variants.shared.clients import open_client
from variants.shared.collector import set_collector
from variants.shared.inference import InferenceClient
from variants.shared.metrics import CONTENT_TYPE, Tallies
from variants.shared.options import HostOptions
from variants.shared.relay import start_relay


def create_app() -> ASGIApp:
    """Build the application in a worker, from the options that its parent left in the environment."""
    options = HostOptions.from_environment()
    settings, tallies, admission = SessionSettings(), Tallies.from_environment(), options.admission

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, InferenceClient | Tally]]:
        async with open_client(options) as client:
            require_interpreter(options.expect)  # the client's modules are the last that are imported
            set_collector(options.collector)
            yield {"client": client, "tally": tallies.take()}

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(tallies.page(), media_type=CONTENT_TYPE)

    @app.websocket("/ws/stt")
    async def stt(socket: WebSocket) -> None:
        await socket.accept()
        tally = socket.state.tally
        if not admission.admits(tally):
            await socket.close(FULL.code, FULL.reason)
            return
        tally.enter()
        try:
            phase_ms = random.uniform(0, options.flush_phase_jitter_ms)
            await _serve(socket, Session(settings, phase_ms, tally), socket.state.client)
        except Exception:
            tally.exceptions += 1
            raise
        finally:
            tally.leave()

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
