"""Rules of ping, close, and clients that vanish."""

import secrets
import time

import anyio

from tests.conformance.case import Case
from tests.conformance.descriptors import descriptors_of, gateway_socket
from tests.conformance.expect import Failed, Skipped, expect
from tests.conformance.rule import rule
from tests.conformance.session import Session
from tests.conformance.wire import Received, Wire

PING_LIMIT_S = CLOSE_LIMIT_S = 1.0
VANISH_LIMIT_S = 5.0


async def _pong(wire: Wire, payload: bytes) -> None:
    seen = len(wire.pongs)
    wire.protocol.send_ping(payload)
    await wire.send()

    def ready() -> Received | None:
        return wire.pongs[seen] if len(wire.pongs) > seen else None

    pong = await wire.wait_for(ready, PING_LIMIT_S, f"a pong for a ping of {len(payload)} bytes")
    expect(pong.data == payload, f"expected the ping's payload {payload.hex()} in the pong, got {pong.data!r}")


@rule("ping-before-start", "a ping before the start message is answered within 1 s")
async def ping_before_start(case: Case) -> None:
    async with case.connection() as wire:
        await _pong(wire, b"early")


@rule("ping-streaming", "pings of any size are answered within 1 s while frames stream", timing=True)
async def ping_streaming(case: Case) -> None:
    async with case.session() as session, session.streaming():
        for size in (0, 1, 125, 60):
            await _pong(session.wire, secrets.token_bytes(size))
            await anyio.sleep(0.2)


@rule("ping-in-flight", "a ping is answered within 1 s while a request is outstanding", inference=True, timing=True)
async def ping_in_flight(case: Case) -> None:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)
    async with case.session(audio) as session:
        await session.send_frames(1)
        await case.request_in_flight(audio)
        await _pong(session.wire, b"meanwhile")


@rule("pong-unasked", "a pong that nobody asked for is ignored", inference=True)
async def pong_unasked(case: Case) -> None:
    async with case.session() as session:
        session.wire.protocol.send_pong(b"here I am")
        await session.send_frames(1)
        await session.partial()


async def _close(session: Session | Wire) -> str:
    """Failed unless our close with 1000 is answered in time, with the same code, and TCP ends after it."""
    wire = session.wire if isinstance(session, Session) else session
    wire.protocol.send_close(1000, "done")
    sent_s = time.monotonic()
    await wire.send()
    closing = await wire.closed(CLOSE_LIMIT_S, "our close answered")
    expect(closing.code == 1000, f"expected our close code 1000 echoed, got {closing.code}")
    await wire.ended(VANISH_LIMIT_S)
    return f"after {(closing.arrived_s - sent_s) * 1000:.0f} ms"


@rule("close-before-start", "a close before the start message is answered within 1 s", timing=True)
async def close_before_start(case: Case) -> str:
    async with case.connection() as wire:
        return await _close(wire)


@rule("close-buffered", "a close is answered within 1 s with audio still buffered", timing=True)
async def close_buffered(case: Case) -> str:
    async with case.session() as session:
        await session.send_frames(10)
        return await _close(session)


@rule("close-in-flight", "a close is answered within 1 s with a request outstanding", inference=True, timing=True)
async def close_in_flight(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1900)
    async with case.session(audio) as session:
        await session.send_frames(5)
        await case.request_in_flight(audio)
        return await _close(session)


@rule("vanish-fin", "a client that ends TCP without a close frame is let go within 5 s", inference=True)
async def vanish_fin(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)
    async with case.session(audio) as session:
        await session.send_frames(5)
        await case.request_in_flight(audio)
        vanished_s = time.monotonic()
        await session.wire.send_fin()
        ended_s = await session.wire.ended(VANISH_LIMIT_S)
        return f"after {(ended_s - vanished_s) * 1000:.0f} ms"


@rule("vanish-rst", "a client that resets TCP leaves no descriptor behind after 5 s", inference=True)
async def vanish_rst(case: Case) -> str:
    if case.pid is None:
        raise Skipped("needs the gateway's process: give --pid of a gateway on this machine")
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)
    async with case.session(audio) as busy, case.session() as idle:
        await busy.send_frames(5)
        await idle.send_frames(5)
        await case.request_in_flight(audio)
        sockets = {gateway_socket(case.gateway.port, s.wire.local_port) for s in (busy, idle)}
        held = sockets & descriptors_of(case.pid)
        if held != sockets:
            raise Skipped(f"of the 2 connections' sockets, process {case.pid} and its children hold {len(held)}")
        vanished_s = time.monotonic()
        await busy.wire.send_reset()
        await idle.wire.send_reset()
        while left := sockets & descriptors_of(case.pid):
            if time.monotonic() - vanished_s > VANISH_LIMIT_S:
                raise Failed(f"expected both sockets closed within {VANISH_LIMIT_S:g} s, but {len(left)} still open")
            await anyio.sleep(0.05)
        return f"after {(time.monotonic() - vanished_s) * 1000:.0f} ms"
