"""Rules of framing: what RFC 6455 forbids ends the connection, every way that it allows carries audio."""

import struct
from itertools import pairwise

import anyio

from tests.conformance.case import Case
from tests.conformance.expect import Failed, expect
from tests.conformance.rule import Rule, add_rule, rule
from tests.conformance.rules.start import BINARY, CLOSE_LIMIT_S
from tests.conformance.session import Session, check_numbers
from tests.conformance.wire import frame

CONTINUATION, CLOSE, PING = 0x0, 0x8, 0x9
AUDIO = bytes(640)

BROKEN = {
    "unmasked": ("an unmasked frame", frame(BINARY, AUDIO, mask=None)),
    "reserved-bit-1": ("reserved bit 1 without an extension", frame(BINARY, AUDIO, reserved=4)),
    "reserved-bit-3": ("reserved bit 3", frame(BINARY, AUDIO, reserved=1)),
    "data-opcode-3": ("the unknown opcode 3", frame(0x3, AUDIO)),
    "control-opcode-11": ("the unknown opcode 11", frame(0xB, b"")),
    "oversized-ping": ("a ping of 126 bytes", frame(PING, bytes(126))),
    "fragmented-ping": ("a fragmented ping", frame(PING, b"x", fin=False)),
    "lone-continuation": ("a continuation of nothing", frame(CONTINUATION, AUDIO)),
    "interrupted-message": ("a message inside another's fragments", frame(BINARY, AUDIO, fin=False) * 2),
    "close-of-1-byte": ("a close frame of 1 byte", frame(CLOSE, b"\x03")),
}


def _broken_rule(name: str, what: str, data: bytes) -> None:
    async def check(case: Case) -> str:
        async with case.session() as session:
            wire = session.wire
            await session.send_frames(1)
            await wire.send_raw(data)
            await wire.wait_for(
                lambda: wire.closing or wire.ended_s, CLOSE_LIMIT_S, f"the connection to end after {what}"
            )
            return wire.state

    add_rule(Rule(f"framing-{name}", f"{what} ends the connection", check))


for _name, (_what, _data) in BROKEN.items():
    _broken_rule(_name, _what, _data)


async def _all_answered(session: Session) -> None:
    """Failed unless every frame sent so far comes back, with its own numbers."""
    messages = await session.all_covered()
    expect(all(message.is_partial for message in messages), f"expected partials only, got {messages[-1]}")
    expect(messages[-1].newest == session.sent, f"expected frame {session.sent} to be the newest, got {messages[-1]}")
    check_numbers(messages, session.audio)


@rule("framing-fragments", "a frame of audio in three fragments, pings in between, is one message", inference=True)
async def fragments(case: Case) -> None:
    async with case.session() as session:
        protocol = session.wire.protocol
        for seq in (1, 2):
            audio = session.audio.frame(seq)
            protocol.send_binary(audio[:1], fin=False)
            protocol.send_ping(b"between")
            protocol.send_continuation(audio[1:500], fin=False)
            protocol.send_ping(b"")
            protocol.send_continuation(audio[500:], fin=True)
        session.sent = 2
        await session.wire.send()
        await _all_answered(session)
        payloads = [pong.data for pong in session.wire.pongs]
        expect(payloads == [b"between", b""] * 2, f"expected a pong for each of four pings in order, got {payloads}")


@rule("framing-empty-fragment", "an empty first and last fragment change nothing", inference=True)
async def empty_fragments(case: Case) -> None:
    async with case.session() as session:
        audio = session.audio.frame(1)
        await session.wire.send_raw(
            frame(BINARY, b"", fin=False) + frame(CONTINUATION, audio, fin=False) + frame(CONTINUATION, b"")
        )
        session.sent = 1
        await _all_answered(session)


@rule("framing-coalesced", "twenty frames in one write are twenty messages", inference=True)
async def coalesced(case: Case) -> None:
    async with case.session() as session:
        await session.send_frames(20)
        await _all_answered(session)


@rule("framing-byte-by-byte", "a frame that arrives byte by byte is one message", inference=True)
async def byte_by_byte(case: Case) -> None:
    async with case.session() as session:
        data = frame(BINARY, session.audio.frame(1))
        # The header byte by byte, so that every cut through it is seen; the payload in small pieces.
        pieces = [data[n : n + 1] for n in range(16)] + [data[n : n + 40] for n in range(16, len(data), 40)]
        for piece in pieces:
            await session.wire.send_raw(piece)
            await anyio.sleep(0.002)
        session.sent = 1
        await _all_answered(session)


@rule("framing-split", "frames cut anywhere between two writes arrive whole", inference=True)
async def split(case: Case) -> None:
    async with case.session() as session:
        data = b"".join(frame(BINARY, session.audio.frame(seq)) for seq in range(1, 11))
        length = len(data) // 10
        cuts = [0, 1, length + 3, 2 * length + 7, 3 * length, 5 * length - 1, 8 * length + 300, len(data)]
        for start, end in pairwise(cuts):
            await session.wire.send_raw(data[start:end])
            await anyio.sleep(0.01)
        session.sent = 10
        await _all_answered(session)


@rule("framing-masks", "any mask is undone, 00000000 included", inference=True)
async def masks(case: Case) -> None:
    async with case.session() as session:
        keys = [0, 0xFFFFFFFF, 1, 0x80000000, 0x00FF00FF, 0x12345678]
        await session.wire.send_raw(
            b"".join(
                frame(BINARY, session.audio.frame(seq), mask=struct.pack("!I", key))
                for seq, key in enumerate(keys, start=1)
            )
        )
        session.sent = len(keys)
        await _all_answered(session)


@rule("framing-long-form", "a length in more bytes than needed is audio of that length, or the end", inference=True)
async def long_form(case: Case) -> str:
    """RFC 6455 asks for the shortest form; receivers differ in whether they insist. Neither may corrupt audio."""
    async with case.session() as session:
        await session.send_frames(1)
        await _all_answered(session)  # seen by the inference server, also where the next frame ends the connection
        mask = b"\x01\x02\x03\x04"
        short = frame(BINARY, session.audio.frame(2), mask=mask)
        await session.wire.send_raw(short[:1] + struct.pack("!BQ", 0x80 | 127, 640) + short[4:])
        session.sent = 2
        try:
            await _all_answered(session)
        except Failed:
            if session.wire.closing is None and session.wire.ended_s is None:
                raise
            return session.wire.state
        return "taken as audio"
