"""With reading = "ticks" a transport reads around each tick and for a look in between, and otherwise not."""

import asyncio
import time

from gateway import Session, SessionSettings
from variants.shared.reading import LEAD_S, LOOK_S, Reading


class Transport:
    """Notes when it may read."""

    def __init__(self) -> None:
        self.opened_s: list[float] = []
        self.open_s = 0.0
        self.reads = True
        self.closing = False

    def pause_reading(self) -> None:
        if self.reads and self.opened_s:
            self.open_s += time.monotonic() - self.opened_s[-1]
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True
        self.opened_s.append(time.monotonic())

    def is_closing(self) -> bool:
        return self.closing


def test_it_reads_before_each_tick_and_for_looks_only() -> None:
    async def run() -> tuple[Transport, list[float], float]:
        transport, session, began_s = Transport(), Session(SessionSettings(), 0.0), time.monotonic()
        session.start('{"type":"start"}', began_s)
        reading, due_s = Reading(transport, session), []
        assert not transport.reads
        while time.monotonic() < began_s + 2.3:
            due_s.append(session.next_due_s)
            await asyncio.sleep(session.next_due_s - time.monotonic() if len(due_s) < 3 else 0.3)
            session.tick(time.monotonic())
        reading.end()
        assert transport.reads
        return transport, due_s, time.monotonic() - began_s

    transport, due_s, took_s = asyncio.run(run())
    for due in due_s[:2]:
        assert any(due - 3 * LEAD_S <= opened <= due for opened in transport.opened_s), "before the tick"
    gaps = [b - a for a, b in zip(transport.opened_s, transport.opened_s[1:], strict=False)]
    assert max(gaps) <= LOOK_S + 0.1
    assert transport.open_s < 0.1 * took_s


def test_a_transport_that_closes_is_left_alone() -> None:
    async def run() -> Transport:
        transport, session = Transport(), Session(SessionSettings(), 0.0)
        session.start('{"type":"start"}', time.monotonic() - 0.99)
        reading = Reading(transport, session)
        transport.closing = True
        await asyncio.sleep(0.05)
        reading.end()
        return transport

    assert asyncio.run(run()).opened_s == []
