"""Rules of every later message: 640 binary bytes, or a close."""

from tests.conformance.case import Case
from tests.conformance.expect import expect
from tests.conformance.rule import Rule, add_rule, rule
from tests.conformance.rules.start import CLOSE_LIMIT_S, NO_CODE, TEXT, expect_close
from tests.conformance.session import START
from tests.conformance.wire import Wire, frame

_LIMIT_BYTES = 65536


def _size_rule(size_bytes: int) -> None:
    async def check(case: Case) -> None:
        async with case.session() as session:
            await session.send_frames(2)
            session.wire.protocol.send_binary(bytes(size_bytes))
            await session.wire.send()
            await expect_close(session.wire, (1003,), f"a binary message of {size_bytes} bytes")

    add_rule(Rule(f"size-{size_bytes}", f"a binary message of {size_bytes} bytes closes with 1003", check))


for _size_bytes in (0, 1, 639, 641, 1280):
    _size_rule(_size_bytes)


@rule("size-over-64k", "a message over 64 KiB closes with 1003 or 1009")
async def size_over_64k(case: Case) -> None:
    async with case.session() as session:
        session.wire.protocol.send_binary(bytes(_LIMIT_BYTES + 1))
        await session.wire.send()
        await expect_close(session.wire, (1003, 1009), f"a binary message of {_LIMIT_BYTES + 1} bytes")


@rule("text-after-start", "a text message after the start closes with 1003", strict=True)
async def text_after_start(case: Case) -> None:
    async with case.session() as session:
        await session.wire.send_text("x" * 640)
        await expect_close(session.wire, (1003,), "a text message of 640 characters")


@rule("second-start", "a second start message closes with 1003", strict=True)
async def second_start(case: Case) -> None:
    async with case.session() as session:
        await session.send_frames(1)
        await session.wire.send_text(START)
        await expect_close(session.wire, (1003,), "a second start message")


async def _expect_end(wire: Wire, codes: tuple[int, ...], after: str) -> str:
    """Failed unless the connection ends: with one of `codes`, or without any, where the host leaves no choice."""
    await wire.wait_for(lambda: wire.closing or wire.ended_s, CLOSE_LIMIT_S, f"the connection to end after {after}")
    code = NO_CODE if wire.closing is None else wire.closing.code
    expect(code in (*codes, NO_CODE), f"expected a close with {codes}, or none, after {after}, got {code}")
    return wire.state


@rule("invalid-utf8-start", "a first text message that is not UTF-8 ends the connection, if by code, with 1002 or 1007")
async def invalid_utf8_start(case: Case) -> str:
    async with case.connection() as wire:
        await wire.send_raw(frame(TEXT, b'{"type":"start\xff"}'))
        return await _expect_end(wire, (1002, 1007), "a first text message that is not UTF-8")


@rule("invalid-utf8", "a later text message that is not UTF-8 ends the connection, if by code, with 1002, 1003 or 1007")
async def invalid_utf8(case: Case) -> str:
    async with case.session() as session:
        await session.wire.send_raw(frame(TEXT, b"\xc3\x28" * 320))
        return await _expect_end(session.wire, (1002, 1003, 1007), "a later text message that is not UTF-8")
