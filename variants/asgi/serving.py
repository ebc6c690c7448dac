"""One worker's gateway, whichever server it runs on and whichever framework calls it: who is let in, and a session.

Ownership: each connection's session and tasks belong to the event loop that accepted it, and so does the inference
client. On a free-threaded build Granian runs one application on several loops, each in a thread of its own, and its
lifespan once on each: what belongs to a loop travels in that lifespan's state, never in the application. Shared between
the threads are the application object, the read-only settings and options, and the memory of `variants.shared.metrics`.
"""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypedDict

from starlette.types import Receive
from starlette.websockets import WebSocketDisconnect

from gateway import FULL, Session, SessionSettings, Tally
from variants.shared.build import require_interpreter
from variants.shared.clients import open_client
from variants.shared.collector import set_collector
from variants.shared.inference import InferenceClient
from variants.shared.metrics import Tallies, counted
from variants.shared.options import HostOptions
from variants.shared.relay import feeding


class State(TypedDict):
    """What belongs to an event loop."""

    client: InferenceClient
    tally: Tally


class Socket(Protocol):
    """A WebSocket as starlette has it."""

    @property
    def receive(self) -> Receive: ...
    async def accept(self) -> None: ...
    async def send_text(self, data: str) -> None: ...
    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...


class Gateway:
    """What the application of a worker calls."""

    def __init__(self, options: HostOptions, tallies: Tallies) -> None:
        self._options, self._tallies = options, tallies
        self._settings, self._admission = SessionSettings(), options.admission

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[State]:
        """Of one event loop: its client and its tally."""
        async with open_client(self._options) as client:
            require_interpreter(self._options.expect)  # the client's modules are the last that are imported
            set_collector(self._options.collector)
            yield {"client": client, "tally": self._tallies.take()}

    def metrics(self) -> bytes:
        """The page for Prometheus."""
        return self._tallies.page()

    async def stt(self, socket: Socket, client: InferenceClient, tally: Tally) -> None:
        """One WebSocket, from its handshake on."""
        await socket.accept()
        if not self._admission.admits(tally):
            await socket.close(FULL.code, FULL.reason)
            return
        with counted(tally):
            phase_ms = random.uniform(0, self._options.flush_phase_jitter_ms)
            await serve(socket, Session(self._settings, phase_ms, tally), client)


async def serve(socket: Socket, session: Session, client: InferenceClient) -> None:
    """Feed one session until either side ends it."""

    async def send_text(text: str) -> None:
        with suppress(OSError, WebSocketDisconnect):  # the client has left: who receives is told, too
            await socket.send_text(text)

    async with feeding(session, client, send_text) as start:
        while True:
            event = await socket.receive()
            if event["type"] == "websocket.disconnect":
                break
            data = event.get("bytes")
            message = event["text"] if data is None else data
            close = session.frame(message, time.monotonic()) if session.started else start(message)
            if close is not None:
                await socket.close(close.code, close.reason)
                break
