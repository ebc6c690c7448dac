"""The inference server: one event loop, HTTP/2 with prior knowledge and HTTP/1.1 on one port.

It waits out service times and keeps the stats; the arithmetic, the model, the protocols and the scripted behaviours
live beside it. One thread, and no task for a request: a timer answers it.
"""

import asyncio
import errno
import gc
import json
import os
import resource
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.control import NO_HTTP, BadBehaviour, Behaviour, Control, RequestRecord
from simulator.due import DuePredictions, Pending
from simulator.service_time import ServiceTimeModel, ServiceTimeSettings
from simulator.stats import Report, Stats, as_json
from simulator.stub import OddBody, predict
from simulator.wire.connection import Connection
from simulator.wire.request import Exchange

LOOP_LAG_PERIOD_S = 0.010
DESCRIPTORS_PERIOD_S = 0.5
BACKLOG = 4096
CPU_PASSES_DEFAULT = "4"
CPU_PASSES_MAX = 64


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


@dataclass(slots=True, eq=False)
class _Job:
    """One inference from its arrival to its answer."""

    exchange: Exchange
    behaviour: Behaviour | None
    record: RequestRecord | None
    """Where a control keeps a log of it."""
    begun_s: float = 0.0
    """When its last byte was read, or when it got its slot."""
    lag_s: float = 0.0
    """How long what comes waits for this loop, as its latest sample had it then; none where it waited for a slot."""
    drawn_s: float = 0.0
    pending: Pending | None = None


class Simulator:
    """The application: every request of every connection, on `loop`'s thread.

    With other processes beside it, `reports` gets the reports of all of them to whoever gives it a callback, and
    `shown` are the settings of the whole."""

    def __init__(
        self,
        settings: ServerSettings,
        loop: asyncio.AbstractEventLoop,
        reports: Callable[[Callable[[list[Report]], None]], None] | None = None,
        shown: ServerSettings | None = None,
    ) -> None:
        self.settings = settings
        self._shown = asdict(shown or settings)
        self._reports = reports or (lambda give: give([self.stats.report()]))
        self.stats = Stats()
        self.control = Control() if settings.control else None
        self._loop = loop
        self._predictions = DuePredictions()
        self._service_time = ServiceTimeModel(settings.service_time, settings.seed)
        self._waiting: deque[_Job] = deque()  # for a slot, in the order they came

    def begin(self) -> None:
        """Get ready for the first request, and begin to watch the loop."""
        predict(bytes(640), int(CPU_PASSES_DEFAULT))  # the first call of a compiled function costs milliseconds
        as_json([self.stats.report()])
        gc.collect()
        gc.freeze()  # Numba alone is a few hundred thousand objects, and a full collection of them a pause of its own
        self._sample_loop_lag(self._loop.time())
        self._probe_descriptors()

    def serve(self, exchange: Exchange) -> None:
        """Take one request."""
        match exchange.request.method, exchange.request.path:
            case "POST", "/infer":
                self._arrive(exchange)
            case "GET", "/health":
                _answer(exchange, 200, {"ok": True})
            case "GET", "/stats":
                self._reports(lambda all_: _answer(exchange, 200, {**as_json(all_), "settings": self._shown}))
            case method, path if self.control and path.startswith("/control/"):
                self._control(self.control, method, path, exchange)
            case method, path:
                _answer(exchange, 404, {"error": f"nothing at {method} {path}"})

    # Inference

    def _arrive(self, exchange: Exchange) -> None:
        stats, request = self.stats, exchange.request
        now_s = time.monotonic()
        stats.requests += 1
        stats.protocols[exchange.protocol] += 1
        behaviour = record = None
        if self.control is not None:
            behaviour = self.control.behaviour_of(request.body)
            record = self.control.arrived(
                request.body, now_ms=now_s * 1000, protocol=exchange.protocol, cpu_passes=request.cpu_passes
            )
        job = _Job(exchange, behaviour, record)
        if stats.in_flight < self.settings.max_concurrent:
            job.lag_s = stats.loop_lag_latest_s
            self._begin(job, now_s)
        else:
            stats.enqueue()
            self._waiting.append(job)

    def _begin(self, job: _Job, now_s: float) -> None:
        """Give a job its slot: its service time runs from now on."""
        self.stats.in_flight += 1
        behaviour, request = job.behaviour, job.exchange.request
        job.begun_s, job.drawn_s = now_s, self._service_time.draw_s()
        if behaviour is not None and behaviour.hang:
            self._until_gone(job)
            return
        if behaviour is not None and behaviour.delay_ms is not None:
            job.drawn_s = behaviour.delay_ms / 1000
        due_s = now_s + job.drawn_s
        try:
            job.pending = self._predictions.add(request.body, _cpu_passes(request.cpu_passes), due_s)
        except (OddBody, BadPasses) as error:
            self._refuse(job, 400, str(error))
        else:
            self._loop.call_at(due_s, self._on_due, job)

    def _on_due(self, job: _Job) -> None:
        stats, behaviour = self.stats, job.behaviour
        assert job.pending is not None
        try:
            answer = self._predictions.result(job.pending).to_json()
        except MemoryError:
            stats.memory_exhausted = True
            self._refuse(job, 503, "out of memory")
            return
        status = 200
        if behaviour is None:
            job.exchange.answer(status, answer)
        else:
            status, answer = behaviour.status, behaviour.answer(answer)
            if behaviour.breaks:
                self._break(job, behaviour, answer)
                return
            job.exchange.answer(status, answer, behaviour.declared_bytes)
        stats.answered += 1
        stats.overshoot.record_s(time.monotonic() - job.begun_s - job.drawn_s + job.lag_s)
        self._end(job, status)

    def _break(self, job: _Job, behaviour: Behaviour, answer: bytes) -> None:
        """What comes instead of a whole answer."""
        if behaviour.no_http:
            job.exchange.say(NO_HTTP)
        elif behaviour.half_then is not None:
            job.exchange.answer_half(behaviour.status, answer, behaviour.half_then)
        else:
            job.exchange.reset()
        if behaviour.no_http or behaviour.half_then == "hang":
            self._until_gone(job)
        else:
            self._end(job, None)

    def _until_gone(self, job: _Job) -> None:
        """Hold the slot until the client gives up."""
        if job.exchange.is_gone:
            self._end(job, None)
        else:
            job.exchange.on_gone = lambda: self._end(job, None)

    def _refuse(self, job: _Job, status: int, error: str) -> None:
        _answer(job.exchange, status, {"error": error})
        self.stats.answered += 1
        self._end(job, status)

    def _end(self, job: _Job, status: int | None) -> None:
        """Free the job's slot; whoever waits for one gets it. `status` None: it had no answer."""
        now_s = time.monotonic()
        self.stats.in_flight -= 1
        if self.control is not None and job.record is not None:
            self.control.ended(job.exchange.request.body, job.record, now_ms=now_s * 1000, status=status)
        if self._waiting and self.stats.in_flight < self.settings.max_concurrent:
            self.stats.queued -= 1
            self._begin(self._waiting.popleft(), now_s)

    def _control(self, control: Control, method: str, path: str, exchange: Exchange) -> None:
        match method, path.split("/")[2:]:
            case "PUT", ["behaviours", marker]:
                try:
                    control.behaviours[marker] = Behaviour.from_json(exchange.request.body)
                except BadBehaviour as error:
                    _answer(exchange, 400, {"error": str(error)})
                    return
                _answer(exchange, 200, {"ok": True})
            case "DELETE", ["behaviours", marker]:
                control.behaviours.pop(marker, None)
                _answer(exchange, 200, {"ok": True})
            case "GET", ["requests", marker]:
                _answer(exchange, 200, control.requests(marker))
            case _:
                _answer(exchange, 404, {"error": f"nothing at {method} {path}"})

    # Watching itself

    def _sample_loop_lag(self, due_s: float) -> None:
        now_s = self._loop.time()
        self.stats.sample_loop_lag(max(0.0, now_s - due_s))
        next_s = max(due_s + LOOP_LAG_PERIOD_S, now_s)
        self._loop.call_at(next_s, self._sample_loop_lag, next_s)

    def _probe_descriptors(self) -> None:
        """Whether another descriptor can be had: asyncio's accept only logs where none can."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self.stats.descriptors_exhausted = True
        self._loop.call_later(DESCRIPTORS_PERIOD_S, self._probe_descriptors)


def _cpu_passes(header: str | None) -> int:
    text = CPU_PASSES_DEFAULT if header is None else header
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and 1 <= int(text) <= CPU_PASSES_MAX):
        raise BadPasses(f"expected x-cpu-passes from 1 to {CPU_PASSES_MAX}, got {text[:20]!r}")
    return int(text)


def _answer(exchange: Exchange, status: int, value: Any) -> None:
    exchange.answer(status, json.dumps(value).encode())


async def serve(settings: ServerSettings, on_listening: Callable[[], None]) -> None:
    """Serve in this process, on the running loop, until it is cancelled or killed; call `on_listening` once it answers.

    Raises RuntimeError where the server ended by itself.
    """
    raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    simulator = Simulator(settings, loop)
    simulator.begin()
    server = await loop.create_server(
        lambda: Connection(simulator.serve), settings.host, settings.port, backlog=BACKLOG, reuse_address=True
    )
    on_listening()
    await server.serve_forever()
    raise RuntimeError(f"the server on {settings.host}:{settings.port} ended by itself")


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the hard limit does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
