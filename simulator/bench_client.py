"""The bench's client: one process that offers requests open loop at one rate, over h2c or pooled HTTP/1.1.

It only sends, counts and times its own lateness; starting servers and judging them is `simulator.bench`'s work.
"""

import asyncio
import json
import re
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
import typer
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, StreamEnded, StreamReset, WindowUpdated

from simulator.stub import predict

FRAMES = 50
CPU_PASSES = 4
SLOT_S = 0.001
DRAIN_S = 2.0
H2_CONNECTIONS = 4
CONTENT_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def body_of_frames(frames: int) -> bytes:
    """PROTOCOL's payload of session 0, from sequence 1 on."""
    sample = np.arange(320, 320 * (frames + 1))
    return (sample * 17 % 20_000 - 10_000).astype("<i2").tobytes()


@dataclass
class Report:
    """What one client saw; `failed` counts resets and answers other than the prediction."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    lateness_p99_ms: float | None = None
    """How far the client fell behind its own schedule."""
    answered_rate: float | None = None
    """Answers per second from the first answer until the last request was sent: neither start nor drain counts."""
    latency_mean_ms: float | None = None
    """From a request's last byte given to the transport to its answer; None unless each was answered."""


@dataclass
class Job:
    """The one request that is offered again and again, and the tally of its answers."""

    body: bytes = field(default_factory=lambda: body_of_frames(FRAMES))
    report: Report = field(default_factory=Report)
    first_answer_s: float | None = None

    def __post_init__(self) -> None:
        self._expected = predict(self.body, CPU_PASSES).to_json()
        self._outstanding = 0
        self._done = asyncio.Event()
        self.answers_s = 0.0  # the sum of all answers' moments

    def expect(self, requests: int) -> asyncio.Event:
        """Before the first of them is sent; the event is set when each has been answered."""
        self._outstanding = requests
        return self._done

    def answer(self, body: bytes) -> None:
        if self.first_answer_s is None:
            self.first_answer_s = time.monotonic()
        self.answers_s += time.monotonic() - self.first_answer_s
        if body == self._expected:
            self.report.answered += 1
        else:
            self.report.failed += 1
        self._outstanding -= 1
        if self._outstanding == 0:
            self._done.set()


class Client(Protocol):
    async def open(self) -> None: ...
    def send(self) -> None: ...


def check_open(transport: asyncio.Transport) -> None:
    if transport.is_closing():
        raise ConnectionError("the server closed a connection in mid-run; read what it wrote to stderr")


class H2Wire(asyncio.Protocol):
    """One h2c connection with many streams; requests past the peer's window wait for it to open."""

    def __init__(self, job: Job, authority: str) -> None:
        self._job = job
        self._headers = [
            (":method", "POST"),
            (":path", "/infer"),
            (":scheme", "http"),
            (":authority", authority),
            ("x-cpu-passes", str(CPU_PASSES)),
        ]
        self._h2 = H2Connection(  # our own headers need no checks, and the client must not be what ends first
            H2Configuration(
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self._answers: dict[int, bytes] = {}
        self._unsent: deque[tuple[int, int]] = deque()
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)
        transport.write(self._h2.data_to_send())

    def send(self) -> None:
        check_open(self._transport)
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, self._headers)
        self._unsent.append((stream, 0))
        self._send_unsent()

    def _send_unsent(self) -> None:
        body, h2 = self._job.body, self._h2
        while self._unsent:
            stream, start = self._unsent[0]
            size = min(h2.local_flow_control_window(stream), h2.max_outbound_frame_size, len(body) - start)
            if size <= 0:
                break
            end = start + size
            h2.send_data(stream, body[start:end], end_stream=end == len(body))
            if end == len(body):
                self._unsent.popleft()
            else:
                self._unsent[0] = (stream, end)
        self._transport.write(h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            match event:
                case DataReceived(stream_id=stream, data=part):
                    self._answers[stream] = self._answers.get(stream, b"") + part
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                case StreamEnded(stream_id=stream):
                    self._job.answer(self._answers.pop(stream, b""))
                case StreamReset():
                    self._job.answer(b"")
                case RemoteSettingsChanged() if not self.ready.done():
                    self.ready.set_result(None)
                case WindowUpdated():
                    self._send_unsent()
        self._transport.write(self._h2.data_to_send())


class H2Client:
    def __init__(self, job: Job, host: str, port: int) -> None:
        self._job, self._address = job, (host, port)
        self._wires: list[H2Wire] = []
        self._next = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        authority = "{}:{}".format(*self._address)
        for _ in range(H2_CONNECTIONS):
            _, wire = await loop.create_connection(lambda: H2Wire(self._job, authority), *self._address)
            await wire.ready
            self._wires.append(wire)

    def send(self) -> None:
        self._next = (self._next + 1) % len(self._wires)
        self._wires[self._next].send()


class Http1Wire(asyncio.Protocol):
    """One pooled HTTP/1.1 connection: one request at a time, back to the pool when its answer is whole."""

    def __init__(self, job: Job, request: bytes, pool: list["Http1Wire"]) -> None:
        self._job, self._request, self._pool = job, request, pool
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self) -> None:
        check_open(self._transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._received = b""
        self._job.answer(body)
        self._pool.append(self)


class Http1Client:
    def __init__(self, job: Job, host: str, port: int, connections: int) -> None:
        self._job, self._address, self._connections = job, (host, port), connections
        self._pool: list[Http1Wire] = []
        self._opening: set[asyncio.Task[None]] = set()
        head = (
            f"POST /infer HTTP/1.1\r\nhost: {host}:{port}\r\nx-cpu-passes: {CPU_PASSES}\r\n"
            f"content-length: {len(job.body)}\r\n\r\n"
        )
        self._request = head.encode() + job.body

    async def open(self) -> None:
        self._pool.extend([await self._connect() for _ in range(self._connections)])

    async def _connect(self) -> Http1Wire:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: Http1Wire(self._job, self._request, self._pool), *self._address)
        return wire

    async def _connect_and_send(self) -> None:
        (await self._connect()).send()

    def send(self) -> None:
        if self._pool:
            self._pool.pop().send()
            return
        task = asyncio.create_task(self._connect_and_send())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)


async def offer(client: Client, job: Job, rate: float, seconds: float) -> Report:
    """Request k is due k / rate after the start, whatever has been answered by then."""
    total = round(rate * seconds)
    all_answered = job.expect(total)
    due_s = time.monotonic() + SLOT_S + np.arange(total) / rate
    sent_s = np.empty(total)
    sent = 0
    while sent < total:
        now_s = time.monotonic()
        upto = int(np.searchsorted(due_s, now_s, side="right"))
        for k in range(sent, upto):
            client.send()
            sent_s[k] = time.monotonic()
        sent = upto
        await asyncio.sleep(SLOT_S)
    report = job.report
    report.sent = total
    if job.first_answer_s is not None:
        report.answered_rate = report.answered / (time.monotonic() - job.first_answer_s)
    with suppress(TimeoutError):
        await asyncio.wait_for(all_answered.wait(), DRAIN_S)
    report.lateness_p99_ms = float(np.percentile(sent_s - due_s, 99, method="inverted_cdf") * 1000)
    if job.first_answer_s is not None and report.answered == total:
        # The mean of differences is the difference of means: no request needs to be told from another.
        report.latency_mean_ms = float(job.first_answer_s + job.answers_s / total - sent_s.mean()) * 1000
    return report


async def run(host: str, port: int, protocol: str, rate: float, seconds: float) -> Report:
    job = Job()
    client: Client
    if protocol == "h2c":
        client = H2Client(job, host, port)
    else:
        client = Http1Client(job, host, port, connections=round(rate * 0.12) + 8)  # about what is in flight
    sys.stdin.readline()  # the server listens
    await client.open()
    print("ready", flush=True)
    sys.stdin.readline()  # the bench reads the server's CPU time first, then says go
    return await offer(client, job, rate, seconds)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(host: str, port: int, protocol: str, rate: float, seconds: float) -> None:
    """Read a line, connect, print "ready", read another line, offer the rate, and print a Report as JSON."""
    print(json.dumps(asdict(asyncio.run(run(host, port, protocol, rate, seconds)))), flush=True)


if __name__ == "__main__":
    app()
