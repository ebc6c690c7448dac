"""A compact gateway to try the conformance suite on: right by default, wrong in one way on each further port.

`python -m tests.conformance_reference INFER_PORT [FAULT …]` prints {fault: port} as one line of JSON; "" is the right
one. For tests of the suite only: no variant may learn from it, and it shares no code with one.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

FAULTS = {
    "wrong-rms": "every rms is a thousandth too high",
    "missing-key": "partials lack flush_lateness_ms",
    "float-counts": "partials say frames as 3.0",
    "closes-1000": "bad start messages close with 1000",
    "lax-start": "{}, partial and error begin a session",
    "any-size": "binary messages of any size are audio",
    "two-in-flight": "a tick does not wait for the request before it",
    "drift": "the next tick is counted from the answer",
    "same-phase": "every connection has the same phase",
    "resends": "a failed batch is sent a second time",
    "dies-on-error": "a failed batch closes the connection",
    "swallows-frames": "the last frame of each batch is lost",
    "mixes-sessions": "a batch goes out under the wrong connection",
    "silent-overflow": "dropped frames are not reported",
    "empty-ticks": "a tick with nothing buffered sends an empty batch",
    "keeps-vanished": "descriptors of reset connections stay open",
    "costs-others": "after a violation all connections are answered late",
    "impatient": "an answer has 1.5 s",
    "waits-for-the-rest": "an answer that has begun may take for ever",
    "chokes-on-much": "after an answer of a megabyte all connections are answered late",
    "believes-half": "an answer that breaks off is judged by what came of it",
    "reads-on": "what follows an answer on its connection is the next one",
    "silent-timeout": "a batch whose time is over is not reported",
    "stays-down": "after a refused connection no other is tried",
}
BUFFER_FRAMES = 1500
PARSED = {"rms": float, "zero_crossings": int, "checksum": int, "samples": int, "transcript": str, "audio_bytes": int}

Frame = tuple[int, float, bytes]


class InferenceError(Exception):
    """(stage, kind, retryable, status) of a failed batch."""


class Gateway:
    """One port's connections, and the faults that they show."""

    def __init__(self, infer_port: int, fault: str) -> None:
        self._infer_port = infer_port
        self._fault = fault
        self._last_body = b""
        self._wronged_s = float("-inf")
        """When somebody last did what must cost nobody else anything."""
        self._kept: list[Any] = []
        self._refused = False
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        """Connections that were used and go on; a right gateway keeps none."""

    async def listen(self) -> Server:
        return await serve(
            self._connection,
            "127.0.0.1",
            0,
            process_request=_health,
            compression=None,
            ping_interval=None,
            max_size=65536,
            max_queue=4096,
            close_timeout=1,
        )

    async def _connection(self, client: ServerConnection) -> None:
        try:
            if not self._is_start(await client.recv()):
                await client.close(1000 if self._fault == "closes-1000" else 1002)
                return
            if self._fault == "keeps-vanished":
                self._kept.append(client.transport.get_extra_info("socket").dup())
            session = Session(client, self._post, self._fault)
            session.violated = self._wrong
            flushing = asyncio.create_task(session.flush_for_ever())
            try:
                await session.take_audio()
            finally:
                session.cancel()
                flushing.cancel()
        except ConnectionClosed:
            pass

    def _wrong(self) -> None:
        self._wronged_s = asyncio.get_running_loop().time()

    def _is_start(self, message: str | bytes) -> bool:
        if isinstance(message, bytes):
            return False
        try:
            start = json.loads(message)
        except ValueError:
            return False
        lax = ({}, {"type": "partial"}, {"type": "error"}) if self._fault == "lax-start" else ()
        return start == {"type": "start"} or start in lax

    async def _post(self, body: bytes) -> dict[str, Any]:
        """One POST over a connection of its own; InferenceError where no prediction comes of it."""
        late = self._fault in ("costs-others", "chokes-on-much")
        if late and asyncio.get_running_loop().time() - self._wronged_s < 2:
            await asyncio.sleep(0.6)
        if self._fault == "mixes-sessions":
            length = len(body)
            body, self._last_body = (self._last_body if len(self._last_body) == length else body), body
        try:
            async with asyncio.timeout(1.5 if self._fault == "impatient" else 2) as limit:
                status, answer = await self._exchange(body, limit)
        except TimeoutError:
            raise InferenceError("inference_request", "timeout", True, None) from None
        except (OSError, asyncio.IncompleteReadError):
            raise InferenceError("inference_request", "connection_reset", True, None) from None
        if status != 200:
            kind = "http_429" if status == 429 else "http_5xx"
            raise InferenceError("inference_request", kind, status == 429 or status >= 500, status)
        try:
            prediction: dict[str, Any] = json.loads(answer)
            if {key: type(value) for key, value in prediction.items()} != PARSED:
                raise ValueError("other keys or types")
        except (ValueError, AttributeError):
            raise InferenceError("inference_response_parse", "parse_error", False, 200) from None
        return prediction

    async def _exchange(self, body: bytes, limit: asyncio.Timeout) -> tuple[int, bytes]:
        reader, writer = await self._connect()
        try:
            head = f"POST /infer HTTP/1.1\r\nHost: inference\r\nContent-Length: {len(body)}\r\nx-cpu-passes: 4\r\n\r\n"
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(answer.partition("content-length:")[2].partition("\r\n")[0])
            if self._fault == "waits-for-the-rest":
                limit.reschedule(None)
            if self._fault == "chokes-on-much" and length > 1_000_000:
                self._wrong()
            body = await self._body(reader, length)
            if self._fault == "reads-on":
                self._idle.append((reader, writer))
            return int(answer.split()[1]), body
        finally:
            if (reader, writer) not in self._idle:
                writer.close()

    async def _body(self, reader: asyncio.StreamReader, length: int) -> bytes:
        try:
            return await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            if self._fault == "believes-half":
                return error.partial
            raise

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._idle:
            return self._idle.pop()
        if self._refused:
            raise ConnectionRefusedError
        try:
            return await asyncio.open_connection("127.0.0.1", self._infer_port)
        except ConnectionRefusedError:
            self._refused = self._fault == "stays-down"
            raise


class Session:
    """One connection after its start message."""

    def __init__(self, client: ServerConnection, post: Callable[[bytes], Any], fault: str) -> None:
        self._client = client
        self._post = post
        self._fault = fault
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()
        self._phase_s = 0.5 if fault == "same-phase" else random.random()
        self._buffer: list[Frame] = []
        self._dropped: list[Frame] = []
        self._outstanding = 0
        self._flights: set[asyncio.Task[None]] = set()
        self.violated: Callable[[], None] = lambda: None
        """Called when the client broke the contract."""

    def cancel(self) -> None:
        for flight in self._flights:
            flight.cancel()

    async def take_audio(self) -> None:
        seq = 0
        async for message in self._client:
            if isinstance(message, str) or (len(message) != 640 and self._fault != "any-size"):
                self.violated()
                await self._client.close(1003)
                return
            seq += 1
            self._buffer.append((seq, self._loop.time(), message))
            if len(self._buffer) > BUFFER_FRAMES:
                self._dropped.append(self._buffer.pop(0))

    async def flush_for_ever(self) -> None:
        due_s = self._start_s + self._phase_s
        while True:
            due_s = self._loop.time() + 1 if self._fault == "drift" else self._next_due_s(due_s)
            await asyncio.sleep(due_s - self._loop.time())
            if not self._buffer:
                if self._fault == "empty-ticks":
                    self._start(self._infer_nothing())
                continue
            lateness_ms = (self._loop.time() - due_s) * 1000
            if self._dropped and self._fault != "silent-overflow":
                error = InferenceError("websocket_receive", "overflow", True, None)
                await self._send_error(error, self._dropped, lateness_ms, None)
            self._dropped = []
            batch, self._buffer = self._buffer, []
            if self._fault == "swallows-frames" and len(batch) > 1:
                batch.pop()
            flight = self._start(self._infer(batch, lateness_ms))
            if self._fault != "two-in-flight":
                await flight

    def _next_due_s(self, due_s: float) -> float:
        while due_s <= self._loop.time() or due_s < self._start_s + 1:
            due_s += 1
        return due_s

    def _start(self, work: Any) -> asyncio.Task[None]:
        flight = asyncio.create_task(work)
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)
        return flight

    async def _infer_nothing(self) -> None:
        try:
            await self._post(b"")
        except InferenceError:
            return

    async def _infer(self, batch: list[Frame], lateness_ms: float) -> None:
        self._outstanding += 1
        sent_s = self._loop.time()
        body = b"".join(audio for _, _, audio in batch)
        try:
            prediction = await self._post(body)
        except InferenceError as error:
            await self._send_error(error, batch, lateness_ms, (self._loop.time() - sent_s) * 1000)
            self._outstanding -= 1
            if self._fault == "resends":
                await self._post(body)
            if self._fault == "dies-on-error":
                await self._client.close(1011)
            return
        self._outstanding -= 1
        if self._fault == "wrong-rms":
            prediction["rms"] *= 1.001
        message = {
            "type": "partial",
            **_cover(batch),
            **prediction,
            "cpu_passes": 4,
            "model_delay_ms": 75,
            "flush_lateness_ms": lateness_ms,
            "inflight_model_jobs": self._outstanding,
        }
        if self._fault == "missing-key":
            del message["flush_lateness_ms"]
        if self._fault == "float-counts":
            message["frames"] = float(message["frames"])
        await self._client.send(json.dumps(message))

    async def _send_error(
        self, error: InferenceError, frames: list[Frame], lateness_ms: float, elapsed_ms: float | None
    ) -> None:
        stage, kind, retryable, status = error.args
        if kind == "timeout" and self._fault == "silent-timeout":
            return
        now_s = self._loop.time()
        message = {
            "type": "error",
            "stage": stage,
            "kind": kind,
            "message": f"{kind} ({status})",
            **_cover(frames),
            "oldest_age_ms": (now_s - frames[0][1]) * 1000,
            "newest_age_ms": (now_s - frames[-1][1]) * 1000,
            "flush_lateness_ms": lateness_ms,
            "inference_elapsed_ms": elapsed_ms,
            "inflight_gateway_batches": self._outstanding,
            "gateway_buffer_frames": len(self._buffer),
            "inference_status": status,
            "retryable": retryable,
        }
        await self._client.send(json.dumps(message))


def _cover(frames: list[Frame]) -> dict[str, int]:
    oldest, newest = frames[0][0], frames[-1][0]
    count = newest - oldest + 1
    return {
        "oldest_frame_seq": oldest,
        "newest_frame_seq": newest,
        "frames": count,
        "audio_bytes": count * 640,
    }


def _health(client: ServerConnection, request: Request) -> Response | None:
    if request.path == "/ws/stt":
        return None
    if request.path == "/health":
        return client.respond(HTTPStatus.OK, '{"ok": true}')
    return client.respond(HTTPStatus.NOT_FOUND, "nothing here")


async def _main(infer_port: int, faults: list[str]) -> None:
    servers = {fault: await Gateway(infer_port, fault).listen() for fault in ("", *faults)}
    ports = {fault: server.sockets[0].getsockname()[1] for fault, server in servers.items()}
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until our parent has gone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("infer_port", type=int)
    parser.add_argument("faults", nargs="*")  # `choices` would refuse none of them on CPython 3.11.2
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"unknown faults {', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
    asyncio.run(_main(options.infer_port, options.faults))
