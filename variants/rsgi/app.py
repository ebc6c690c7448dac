"""The application of a Granian worker, written for RSGI.

Ownership: one application for all loops of a process, each with a state of its own (client, tally), found by the loop
that runs; each connection's session and tasks belong to the loop that accepted it. Shared between threads are the
application, which only looks states up, options and settings, and the memory of `variants.shared.metrics`.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from granian.rsgi import ProtocolClosed, ProtocolError, WebsocketMessageType

from gateway import Close, Session, SessionSettings, Tally
from variants.shared.build import require_interpreter
from variants.shared.clients import open_client
from variants.shared.collector import set_collector
from variants.shared.inference import InferenceClient
from variants.shared.metrics import CONTENT_TYPE, Tallies, counted
from variants.shared.options import HostOptions
from variants.shared.relay import feeding


@dataclass(frozen=True)
class _State:
    """What belongs to a loop."""

    client: InferenceClient
    tally: Tally
    ends: asyncio.Event


class App:
    """Of a worker process."""

    def __init__(self) -> None:
        self._options, self._tallies = HostOptions.from_environment(), Tallies.from_environment()
        self._settings, self._admission = SessionSettings(), self._options.admission
        self._states: dict[asyncio.AbstractEventLoop, asyncio.Future[_State]] = {}
        self._lives: set[asyncio.Task[None]] = set()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called for each loop, before it runs."""
        self._states[loop] = loop.create_future()
        self._lives.add(loop.create_task(self._live(self._states[loop])))

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called for each loop, after it has run."""
        state = self._states.pop(loop)
        if state.done():
            state.result().ends.set()

    async def _live(self, told: "asyncio.Future[_State]") -> None:
        """The client's life: it has to begin and to end in one task."""
        try:
            async with open_client(self._options) as client:
                require_interpreter(self._options.expect)  # the client's modules are the last that are imported
                set_collector(self._options.collector)
                state = _State(client, self._tallies.take(), asyncio.Event())
                told.set_result(state)
                await state.ends.wait()
        except BaseException as error:
            if not told.done():
                told.set_exception(error)
            raise

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if scope.proto == "http":
            self._answer(scope.path, protocol)
        elif scope.path == "/ws/stt":
            await self._stt(protocol)
        else:
            protocol.close(404)

    def _answer(self, path: str, protocol: Any) -> None:
        if path == "/health":
            protocol.response_str(200, [("content-type", "application/json")], '{"ok":true}')
        elif path == "/metrics":
            protocol.response_bytes(200, [("content-type", CONTENT_TYPE)], self._tallies.page())
        else:
            protocol.response_empty(404, [])

    async def _stt(self, protocol: Any) -> None:
        state = await self._states[asyncio.get_running_loop()]
        tally = state.tally
        if not self._admission.admits(tally):
            protocol.close(503)
            return
        transport = await protocol.accept()
        with counted(tally):
            session = Session(self._settings, random.uniform(0, self._options.flush_phase_jitter_ms), tally)
            close = await _serve(transport, session, state.client)
            protocol.close(None if close is None else close.code)


async def _serve(transport: Any, session: Session, client: InferenceClient) -> Close | None:
    """Feed one session until the client ends it (None), or it is to be closed."""

    async def send_text(text: str) -> None:
        with suppress(ProtocolClosed, ProtocolError):  # who receives is told, too
            await transport.send_str(text)

    close: Close | None = None
    async with feeding(session, client, send_text) as start:
        with suppress(ProtocolClosed, ProtocolError):
            while close is None:
                message = await transport.receive()
                if message.kind == WebsocketMessageType.close:
                    break
                close = session.frame(message.data, monotonic()) if session.started else start(message.data)
    return close


def create_app() -> App:
    """In a worker, from the options that its parent left in the environment."""
    return App()
