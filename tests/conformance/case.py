"""What one rule is given: the gateway's address, the inference server, sessions with audio of its own."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from tests.conformance.audio import FRAME_BYTES, Audio, GoldenAudio
from tests.conformance.expect import Failed, expect
from tests.conformance.inference import Inference, RequestLog
from tests.conformance.session import START, Message, Session
from tests.conformance.wire import Address, Wire, open_wire

TOLERANCE_MS = 100.0
"""How far a time may lie from its due time: a busy scheduler's share, not the gateway's."""


class Case:
    """The surroundings of one run of one rule."""

    def __init__(self, gateway: Address, inference: Inference, pid: int | None) -> None:
        self.gateway = gateway
        self.inference = inference
        self.pid = pid
        """The gateway's process, where it is known and on this machine."""
        self._audios: list[Audio] = []
        self._seen = False

    def audio(self) -> Audio:
        """Audio that nobody else sends."""
        return self._own(Audio(secrets.token_bytes(4)))

    def golden_audio(self) -> Audio:
        return self._own(GoldenAudio())

    def _own(self, audio: Audio) -> Audio:
        self._audios.append(audio)
        return audio

    @asynccontextmanager
    async def connection(self, **offers: Any) -> AsyncIterator[Wire]:
        """An upgraded connection without a start message; `offers` as in `open_wire`."""
        async with open_wire(self.gateway, **offers) as wire:
            yield wire

    @asynccontextmanager
    async def session(self, audio: Audio | None = None) -> AsyncIterator[Session]:
        """A connection after its start message."""
        async with open_wire(self.gateway) as wire:
            session = Session(wire, audio or self.audio())
            await wire.send_text(START)
            yield session

    async def requests(self, audio: Audio) -> RequestLog:
        """The inference requests with this audio so far."""
        log = await self.inference.log(audio.marker)
        self._seen = self._seen or bool(log.requests)
        return log

    async def request_in_flight(self, audio: Audio, within_s: float = 3.5) -> None:
        """Wait until a request with this audio has come and is not answered yet (script a delay first)."""
        with anyio.move_on_after(within_s):
            while True:
                if any(request.answered_ms is None for request in (await self.requests(audio)).requests):
                    return
                await anyio.sleep(0.03)
        raise Failed(f"expected an inference request within {within_s:g} s, but none came")

    async def saw_request(self) -> bool:
        """Whether any request with this rule's audio has come."""
        for audio in self._audios:
            if not self._seen:
                await self.requests(audio)
        return self._seen

    async def check_requests(self, audio: Audio, messages: Sequence[Message]) -> RequestLog:
        """Failed unless each message had exactly one request, whose body was its frames in order."""
        log = await self.requests(audio)
        expected = [hashlib.sha256(audio.batch(m.oldest, m.newest)).hexdigest() for m in messages]
        bodies = [request.body_sha256 for request in log.requests]
        for n, (request, message) in enumerate(zip(log.requests, messages, strict=False)):
            if bodies[n] != expected[n] and bodies[n] in bodies[:n]:
                raise Failed(f"request {n + 1} repeats the body of request {bodies.index(bodies[n]) + 1}")
            expect(
                bodies[n] == expected[n],
                f"request {n + 1}: expected frames {message.oldest} … {message.newest} joined "
                f"({message.frames * FRAME_BYTES} bytes), got {request.body_bytes} bytes of other audio",
            )
        expect(
            len(bodies) == len(expected),
            f"expected one inference request for each of {len(expected)} messages, got {len(bodies)}",
        )
        return log
