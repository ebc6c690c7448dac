"""A started session: numbered frames out, messages in. Reads messages just far enough to tell what they cover."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import anyio

from tests.conformance.audio import Audio
from tests.conformance.expect import Failed, expect
from tests.conformance.wire import Received, Wire

FRAME_S = 0.020
START = '{"type":"start"}'
FIRST_ANSWER_S = 4.0
"""First tick at most 2 s after the start, then an answer; the rest is for a busy machine."""


@dataclass(frozen=True)
class Message:
    """One partial or error."""

    arrived_s: float
    fields: dict[str, Any]
    oldest: int
    newest: int

    @property
    def frames(self) -> int:
        return self.newest - self.oldest + 1

    @property
    def is_partial(self) -> bool:
        return bool(self.fields["type"] == "partial")

    def __str__(self) -> str:
        if self.is_partial:
            return f"a partial of frames {self.oldest} … {self.newest}"
        facts = ", ".join(f"{key} {self.fields.get(key)!r}" for key in ("stage", "kind", "message"))
        return f"an error of frames {self.oldest} … {self.newest} ({facts})"


def read_message(received: Received) -> Message:
    """One message; Failed unless it is a JSON object of a known type with a sequence range."""

    def refuse(what: str) -> NoReturn:
        raise Failed(f"expected {what}, got {str(received.data)[:200]}")

    if not isinstance(received.data, str):
        raise Failed(f"expected a text message, got {len(received.data)} binary (or not UTF-8) bytes")
    try:
        fields = json.loads(received.data, parse_constant=lambda name: refuse(f"JSON, which has no {name}"))
    except ValueError:
        refuse("JSON")
    if not isinstance(fields, dict) or fields.get("type") not in ("partial", "error"):
        refuse("an object of type partial or error")
    oldest, newest = fields.get("oldest_frame_seq"), fields.get("newest_frame_seq")
    if type(oldest) is not int or type(newest) is not int or not 1 <= oldest <= newest:
        refuse("integers 1 ≤ oldest_frame_seq ≤ newest_frame_seq")
    return Message(received.arrived_s, fields, oldest, newest)


class Session:
    """A connection after its start message."""

    def __init__(self, wire: Wire, audio: Audio) -> None:
        self.wire = wire
        self.audio = audio
        self.sent = 0
        """Frames sent so far: the number of the newest."""
        self.sent_s: list[float] = []
        """When each was handed over, on time.monotonic()."""
        self.started_s = time.monotonic()
        self.messages: list[Message] = []
        """Messages taken so far."""

    async def send_frames(self, count: int = 1) -> None:
        """Send the next frames in one write."""
        self.sent_s += [time.monotonic()] * count
        for _ in range(count):
            self.sent += 1
            self.wire.protocol.send_binary(self.audio.frame(self.sent))
        await self.wire.send()

    @asynccontextmanager
    async def streaming(self, every_s: float = FRAME_S) -> AsyncIterator[None]:
        """Send frames as a live source does while the block runs; several at once where `every_s` spans several."""
        count = round(every_s / FRAME_S)
        enough = anyio.Event()  # not a cancellation, which could cut a frame in two

        async def stream() -> None:
            due_s = time.monotonic()
            while not enough.is_set() and self.wire.ended_s is None and self.wire.closing is None:
                await self.send_frames(count)
                due_s += every_s
                with anyio.move_on_after(max(0, due_s - time.monotonic())):
                    await enough.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream)
            yield
            enough.set()

    async def next_message(self, within_s: float = FIRST_ANSWER_S, what: str = "a message") -> Message:
        taken = len(self.messages)

        def ready() -> Received | None:
            return self.wire.messages[taken] if len(self.wire.messages) > taken else None

        message = read_message(await self.wire.wait_for(ready, within_s, what))
        self.messages.append(message)
        return message

    async def partial(self, within_s: float = FIRST_ANSWER_S) -> Message:
        message = await self.next_message(within_s, "a partial")
        expect(message.is_partial, f"expected a partial, got {message}")
        return message

    async def error(self, within_s: float = FIRST_ANSWER_S) -> Message:
        message = await self.next_message(within_s, "an error")
        expect(not message.is_partial, f"expected an error, got {message}")
        return message

    async def partials(self, count: int) -> list[Message]:
        return [await self.partial() for _ in range(count)]

    async def all_covered(self) -> list[Message]:
        """Take messages until the newest sent frame is covered."""
        while not self.messages or self.messages[-1].newest < self.sent:
            await self.next_message(what=f"messages up to frame {self.sent}")
        return self.messages


def check_cover(messages: Sequence[Message]) -> None:
    """Failed unless the messages cover the sequence from 1 on without gap or overlap."""
    due = 1
    for message in messages:
        expect(message.oldest == due, f"expected the next message to begin with frame {due}, got {message}")
        due = message.newest + 1


def check_numbers(messages: Sequence[Message], audio: Audio) -> None:
    """Failed unless every partial has the numbers of exactly its own frames."""
    for message in messages:
        if not message.is_partial:
            continue
        expected = audio.prediction(message.oldest, message.newest)
        for key, value in expected._asdict().items():
            got = message.fields.get(key)
            # rms is a quotient's root: how its last digits are rounded is a JSON writer's choice.
            same = got == value or (
                key == "rms" and isinstance(got, float | int) and abs(got - expected.rms) <= 1e-9 * expected.rms
            )
            expect(same, f"{message}: expected {key} {value!r} for its audio, got {got!r}")
