"""The inference server: one RSGI application on one event loop, HTTP/2 with prior knowledge and HTTP/1.1 on one port.

It waits out service times and keeps the stats; the arithmetic, the model and the scripted behaviours live beside it.
Everything here runs on the loop's thread; Granian's own threads only read and write sockets.
"""

import asyncio
import errno
import gc
import json
import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.rsgi import HTTPProtocol, Scope
from granian.server.embed import Server

from simulator.control import NO_HTTP, BadBehaviour, Behaviour, Control, connection_to, reset
from simulator.due import DuePredictions
from simulator.service_time import ServiceTimeModel, ServiceTimeSettings
from simulator.stats import Stats
from simulator.stub import OddBody, predict

LOOP_LAG_PERIOD_S = 0.010
DESCRIPTORS_PERIOD_S = 0.5
CPU_PASSES_DEFAULT = "4"
CPU_PASSES_MAX = 64
JSON_HEADERS = [("content-type", "application/json")]
HALF_SENT_S = 0.05
"""Half an answer has left by then: another thread writes it."""


class BadPasses(ValueError):
    """The x-cpu-passes header is no number of passes that we would run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where to listen, what to draw from, and how many requests may be served at once."""

    port: int
    host: str = "127.0.0.1"
    seed: int = 1
    max_concurrent: int = 65_536
    control: bool = False
    service_time: ServiceTimeSettings = field(default_factory=ServiceTimeSettings)

    def __post_init__(self) -> None:
        if self.max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, got {self.max_concurrent}")


class Simulator:
    """The RSGI application: a request for each call, on the loop that `__rsgi_init__` was given."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.stats = Stats()
        self.control = Control() if settings.control else None
        self._predictions = DuePredictions()
        self._service_time = ServiceTimeModel(settings.service_time, settings.seed)
        self._slots = asyncio.Semaphore(settings.max_concurrent)  # wakes its waiters in the order they came

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        predict(bytes(640), int(CPU_PASSES_DEFAULT))  # the first call of a compiled function costs milliseconds
        self.stats.as_json()
        gc.collect()
        gc.freeze()  # Numba alone is a few hundred thousand objects, and a full collection of them a pause of its own
        self._sample_loop_lag(loop, loop.time())
        self._probe_descriptors(loop)

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        match scope.method, scope.path:
            case "POST", "/infer":
                await self._infer(scope, proto)
            case "GET", "/health":
                _answer(proto, 200, {"ok": True})
            case "GET", "/stats":
                _answer(proto, 200, {**self.stats.as_json(), "settings": asdict(self.settings)})
            case method, path if self.control and path.startswith("/control/"):
                await self._control(self.control, method, path, proto)
            case method, path:
                _answer(proto, 404, {"error": f"nothing at {method} {path}"})

    async def _infer(self, scope: Scope, proto: HTTPProtocol) -> None:
        stats = self.stats
        body: bytes = await proto()
        passes: str | None = scope.headers.get("x-cpu-passes")
        protocol = scope.http_version
        stats.requests += 1
        stats.protocols[protocol] += 1
        if self.control is None:
            await self._serve(scope, proto, body, passes, None)
            return
        now_ms = time.monotonic() * 1000
        record = self.control.arrived(body, now_ms=now_ms, protocol=protocol, cpu_passes=passes)
        status = None
        try:
            status = await self._serve(scope, proto, body, passes, self.control.behaviour_of(body))
        finally:
            self.control.ended(body, record, now_ms=time.monotonic() * 1000, status=status)

    async def _serve(
        self, scope: Scope, proto: HTTPProtocol, body: bytes, passes: str | None, behaviour: Behaviour | None
    ) -> int | None:
        """One request in its slot, answered after its service time; the status, or None for no answer."""
        stats = self.stats
        must_queue = self._slots.locked()
        if must_queue:
            stats.enqueue()
        async with self._slots:
            if must_queue:
                stats.queued -= 1
            stats.in_flight += 1
            try:
                started_s = time.monotonic()
                lag_s = stats.loop_lag_latest_s
                status, headers = 200, JSON_HEADERS
                drawn_s = self._service_time.draw_s()
                if behaviour is not None:
                    if behaviour.hang:
                        await proto.client_disconnect()
                        return None
                    status = behaviour.status
                    if behaviour.delay_ms is not None:
                        drawn_s = behaviour.delay_ms / 1000
                pending = self._predictions.add(body, _cpu_passes(passes), started_s + drawn_s)

                await asyncio.sleep(started_s + drawn_s - time.monotonic())
                answer = self._predictions.result(pending).to_json()
                if behaviour is not None:
                    answer = behaviour.answer(answer)
                    if behaviour.breaks:
                        await _break(scope, proto, behaviour, answer)
                        return None
                    if behaviour.declared_bytes is not None:
                        headers = [*JSON_HEADERS, ("content-length", str(behaviour.declared_bytes))]
                proto.response_bytes(status, headers, answer)
                stats.answered += 1
                stats.overshoot.record_s(time.monotonic() - started_s - drawn_s + lag_s)
                return status
            except (OddBody, BadPasses) as error:
                return self._refuse(proto, 400, str(error))
            except MemoryError:
                stats.memory_exhausted = True
                return self._refuse(proto, 503, "out of memory")
            finally:
                stats.in_flight -= 1

    def _refuse(self, proto: HTTPProtocol, status: int, error: str) -> int:
        _answer(proto, status, {"error": error})
        self.stats.answered += 1
        return status

    async def _control(self, control: Control, method: str, path: str, proto: HTTPProtocol) -> None:
        match method, path.split("/")[2:]:
            case "PUT", ["behaviours", marker]:
                try:
                    control.behaviours[marker] = Behaviour.from_json(await proto())
                except BadBehaviour as error:
                    _answer(proto, 400, {"error": str(error)})
                    return
                _answer(proto, 200, {"ok": True})
            case "DELETE", ["behaviours", marker]:
                control.behaviours.pop(marker, None)
                _answer(proto, 200, {"ok": True})
            case "GET", ["requests", marker]:
                _answer(proto, 200, control.requests(marker))
            case _:
                _answer(proto, 404, {"error": f"nothing at {method} {path}"})

    def _sample_loop_lag(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s = loop.time()
        self.stats.sample_loop_lag(max(0.0, now_s - due_s))
        next_s = max(due_s + LOOP_LAG_PERIOD_S, now_s)
        loop.call_at(next_s, self._sample_loop_lag, loop, next_s)

    def _probe_descriptors(self, loop: asyncio.AbstractEventLoop) -> None:
        """Whether another descriptor can be had; Granian's accept fails without a word where none can."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self.stats.descriptors_exhausted = True
        loop.call_later(DESCRIPTORS_PERIOD_S, self._probe_descriptors, loop)


def _cpu_passes(header: str | None) -> int:
    text = CPU_PASSES_DEFAULT if header is None else header
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and 1 <= int(text) <= CPU_PASSES_MAX):
        raise BadPasses(f"expected x-cpu-passes from 1 to {CPU_PASSES_MAX}, got {text[:20]!r}")
    return int(text)


async def _break(scope: Scope, proto: HTTPProtocol, behaviour: Behaviour, answer: bytes) -> None:
    """What comes instead of a whole answer. A client that has gone meanwhile is no error."""
    if behaviour.half_then is not None:
        stream = proto.response_stream(behaviour.status, [*JSON_HEADERS, ("content-length", str(len(answer)))])
        await stream.send_bytes(answer[: len(answer) // 2])
        await asyncio.sleep(HALF_SENT_S)
        if behaviour.half_then == "end":
            return
    if behaviour.half_then != "hang":
        with suppress(OSError), connection_to(scope.client) as connection:
            if behaviour.no_http:
                connection.send(NO_HTTP)
            elif behaviour.half_then == "fin":
                connection.shutdown(socket.SHUT_RDWR)
            else:
                reset(connection)
    if behaviour.no_http or behaviour.half_then == "hang":
        await proto.client_disconnect()


def _answer(proto: HTTPProtocol, status: int, value: Any) -> None:
    proto.response_bytes(status, JSON_HEADERS, json.dumps(value).encode())


async def serve(settings: ServerSettings, on_listening: Callable[[], None]) -> None:
    """Serve in this process, on the running loop, until it is cancelled or killed; call `on_listening` once it answers.

    Raises RuntimeError where the server ended by itself.
    """
    _raise_descriptor_limit()
    server = Server(
        Simulator(settings),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=4096,
        backpressure=1 << 20,  # connections, not requests: max_concurrent is what limits those
        http1_settings=HTTP1Settings(header_read_timeout=24 * 3600 * 1000, max_buffer_size=1 << 20),
        http2_settings=HTTP2Settings(
            initial_connection_window_size=64 << 20,
            initial_stream_window_size=4 << 20,
            max_concurrent_streams=16_384,
            max_frame_size=1 << 16,
        ),
        log_level=LogLevels.error,
    )
    serving = asyncio.create_task(server.serve())
    listening = asyncio.create_task(_listening(settings))
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if listening.done():
        on_listening()
    await serving
    raise RuntimeError(f"the server on {settings.host}:{settings.port} ended by itself")


async def _listening(settings: ServerSettings) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(settings.host, settings.port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
