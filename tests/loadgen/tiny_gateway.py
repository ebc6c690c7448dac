"""A tiny real gateway on a real socket, honest by default, that misbehaves for chosen sessions in one chosen way.

It recognises a session by its first frame's audio. Framing is websockets' own server protocol; answers are the stub's.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from loadgen.frames import PERIOD, audio_at, offset_of
from simulator.stub import predict

FLUSH_S = 0.2
# Small, so that a session whose audio is not read fills its socket within two seconds.
_BUFFER_BYTES = 8192


def partial(session: int, oldest: int, newest: int, **changes: Any) -> dict[str, Any]:
    """A correct `partial` for the session's frames oldest … newest, with `changes` on top."""
    frames = newest - oldest + 1
    numbers = predict(audio_at(offset_of(session, oldest), frames), 4)
    return {
        "type": "partial",
        "oldest_frame_seq": oldest,
        "newest_frame_seq": newest,
        "frames": frames,
        **numbers._asdict(),
        "cpu_passes": 4,
        "model_delay_ms": 75,
        "flush_lateness_ms": 0.25,
        "inflight_model_jobs": 0,
        **changes,
    }


def error(oldest: int, newest: int, **changes: Any) -> dict[str, Any]:
    """A correct `error` for the frames oldest … newest, with `changes` on top."""
    frames = newest - oldest + 1
    return {
        "type": "error",
        "stage": "inference_request",
        "kind": "timeout",
        "message": "no answer within 2 s",
        "oldest_frame_seq": oldest,
        "newest_frame_seq": newest,
        "frames": frames,
        "audio_bytes": frames * 640,
        "oldest_age_ms": 1000.5,
        "newest_age_ms": 20,
        "flush_lateness_ms": 0.25,
        "inference_elapsed_ms": 2000.0,
        "inflight_gateway_batches": 1,
        "gateway_buffer_frames": 3,
        "inference_status": None,
        "retryable": True,
        **changes,
    }


class TinyGateway:
    """Context manager, `url` while open. `ways`: session → misbehaviour; `upgrade`: yes, refuse, silent, full, which
    closes with 1013 in the same segment, or full and reset, which does so after the start message, and resets at once;
    `held_s`: from when to when, seconds after the first client's upgrade, answers that are ready are kept back."""

    def __init__(
        self, ways: Mapping[int, str] | None = None, upgrade: str = "yes", held_s: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self._ways = dict(ways or {})
        self._held_s = held_s
        self._begun_s: float | None = None
        self.upgrade = upgrade
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> "TinyGateway":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def hold_s(self) -> float:
        """Seconds for which an answer that is ready now is held yet; 0 outside `held_s`."""
        now_s = time.monotonic()
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        from_s, until_s = self._held_s
        return until_s - (now_s - self._begun_s) if from_s <= now_s - self._begun_s < until_s else 0.0

    def way(self, session: int | None) -> str:
        return "honest" if session is None else self._ways.get(session, "honest")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(self._client, sock=listener, limit=_BUFFER_BYTES)
        self.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws/stt"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, reader, writer)
        with suppress(ConnectionError, asyncio.CancelledError):
            try:
                await client.run()
            finally:
                writer.transport.abort() if client.way == "vanish" else writer.close()


class _Client:
    def __init__(self, gateway: TinyGateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gateway = gateway
        self._reader = reader
        self._writer = writer
        self._protocol = ServerProtocol()
        self._session: int | None = None
        self._received = 0
        self._answered = 0
        self._answers = 0
        self._over = False

    @property
    def way(self) -> str:
        return self._gateway.way(self._session)

    async def run(self) -> None:
        flusher: asyncio.Task[None] | None = None
        try:
            while not self._over and (data := await self._reader.read(65536)):
                self._protocol.receive_data(data)
                for event in self._protocol.events_received():
                    if isinstance(event, Request):
                        if not await self._upgrade(event):
                            return
                        flusher = asyncio.create_task(self._flush_for_ever())
                    elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                        self._take(bytes(event.data))
                    elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                        if self.way == "no close reply":
                            await asyncio.sleep(60)
                        if self.way == "end without close reply":
                            return
                self._write()
                if self.way == "never read" and self._answers >= 2:
                    await asyncio.sleep(60)
                if self.way == "read late" and self._answers == 2:
                    self._answers += 1
                    await asyncio.sleep(3)
        finally:
            if flusher is not None:
                flusher.cancel()

    async def _upgrade(self, request: Request) -> bool:
        if self._gateway.upgrade == "silent":
            await asyncio.sleep(60)
        if self._gateway.upgrade == "refuse":
            self._protocol.send_response(self._protocol.reject(503, "full\n"))
            self._write()
            return False
        self._gateway.hold_s()
        self._protocol.send_response(self._protocol.accept(request))
        if self._gateway.upgrade == "full":
            self._protocol.send_close(1013, "full")
        self._write()
        if self._gateway.upgrade == "full and reset":
            await self._reader.read(65536)
            self._protocol.send_close(1013, "full")
            self._write()
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
            return False
        return True

    def _take(self, audio: bytes) -> None:
        if self._session is None:
            first = int.from_bytes(audio[:2], "little", signed=True)
            self._session = ((first + 10000) * pow(17, -1, PERIOD) - 320) % PERIOD
        self._received += 1
        assert audio == audio_at(offset_of(self._session, self._received), 1), "not the audio of PROTOCOL"

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:
                self._over = True

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            oldest, newest = self._answered + 1, self._received
            if self._session is None or newest < oldest or self._protocol.state.name != "OPEN":
                continue
            await asyncio.sleep(self._gateway.hold_s())
            self._answers += 1
            if self._answers > 5 and self.way == "stall":
                continue
            if 5 < self._answers < 18 and self.way == "stall and recover":
                continue
            if self._received > 170 and self.way == "lose the end":
                continue
            self._answer(self._session, oldest, newest)
            self._answered = newest
            self._write()

    def _answer(self, session: int, oldest: int, newest: int) -> None:
        message = partial(session, oldest, newest)
        way = self.way if self._answers == 3 else ""  # a misbehaviour comes with the third answer
        if way == "gap":
            message = partial(session, oldest + 1, newest)
        elif way == "overlap":
            message = partial(session, oldest - 1, newest)
        elif way == "future":
            message = partial(session, oldest, newest + 50)
        elif way == "another's audio":
            message |= {name: partial(session + 1, oldest, newest)[name] for name in ("checksum", "transcript", "rms")}
        elif way == "error":
            message = error(oldest, newest)
        elif way == "bad schema":
            message["extra"] = 1
        if way == "binary":
            self._protocol.send_binary(json.dumps(message).encode())
        elif way == "close":
            self._protocol.send_close(1011, "tired")
        elif way == "vanish":
            self._over = True
            self._writer.transport.abort()
        elif way == "fragments and pings":
            text = json.dumps(message).encode()
            self._protocol.send_text(text[:10], fin=False)
            self._protocol.send_ping(b"there?")
            self._protocol.send_continuation(text[10:], fin=True)
        else:
            self._protocol.send_text(json.dumps(message).encode())
