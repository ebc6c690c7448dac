"""Rules of connections that do not become a session, or end while they become one: they cost nobody else anything."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode

from tests.conformance.case import Case
from tests.conformance.expect import expect
from tests.conformance.rule import Rule, add_rule, rule
from tests.conformance.rules.framing import AUDIO, PING
from tests.conformance.rules.hostile import FLOOD_S, Doing, beside_an_innocent
from tests.conformance.rules.start import BINARY, SAMPLE_KEY, TEXT
from tests.conformance.session import START, Session, check_cover, check_numbers
from tests.conformance.wire import connect, frame, reset

END_LIMIT_S = 5.0
AFTER_S = 0.3
"""What was sent has arrived by then."""
HALF_OPEN = 100
HEADER_BYTES = 200_000
_READ_BYTES = 65536
_UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": SAMPLE_KEY,
    "Sec-WebSocket-Version": "13",
}
_GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
SESSION = frame(TEXT, START.encode()) + frame(BINARY, AUDIO)

OTHER_PROTOCOLS = {
    "HTTP/1.0": b"GET /ws/stt HTTP/1.0\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100b8010000b40303") + bytes(179),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "no HTTP at all": b"\x00\xff" * 200 + b"\r\n\r\n",
}
_OLD_UPGRADE = "an upgrade of HTTP/1.0"


def _is_upgraded(answer: bytes) -> bool:
    return b" 101 " in answer.partition(b"\r\n")[0]


def request(case: Case, version: str = "1.1", more: Mapping[str, str] | None = None) -> bytes:
    """An upgrade request."""
    headers = {"Host": f"{case.gateway.host}:{case.gateway.port}", **_UPGRADE, **(more or {})}
    lines = [f"GET /ws/stt HTTP/{version}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def answer(stream: SocketStream, within_s: float) -> bytes:
    """All that comes until the connection ends, or the time is up."""
    got = b""
    with anyio.move_on_after(within_s), suppress(*_GONE):
        while True:
            got += await stream.receive(_READ_BYTES)
    return got


async def said_to(case: Case, data: bytes) -> bytes:
    """What comes on a connection of its own on which this was sent, and then our end."""
    async with await connect(case.gateway) as stream:
        with suppress(*_GONE):
            await stream.send(data)
            await anyio.sleep(AFTER_S)
            await stream.send_eof()
        return await answer(stream, END_LIMIT_S)


def _vanishing(case: Case, data: bytes, *, resets: bool) -> Doing:
    async def does() -> None:
        if not resets:
            await said_to(case, data)
            return
        async with await connect(case.gateway) as stream:
            with suppress(*_GONE):
                await stream.send(data)
                await anyio.sleep(AFTER_S)
                await reset(stream)

    return does


def _vanish_rule(how: str, title: str, *, resets: bool) -> None:
    async def check(case: Case) -> str:
        upgrade = request(case)
        moments = [
            b"",
            upgrade[:9],
            upgrade[:60],
            upgrade,
            upgrade + SESSION[:1],
            upgrade + SESSION[:20],
            upgrade + SESSION[: len(SESSION) - 300],
            upgrade + SESSION,
            upgrade + SESSION + frame(PING, b"there?"),
            upgrade + SESSION + frame(Opcode.CLOSE, b"\x03\xe8")[:3],
        ]
        return await beside_an_innocent(case, [_vanishing(case, data, resets=resets) for data in moments])

    add_rule(Rule(f"hostile-{how}", title, check, inference=True, timing=True))


_vanish_rule("resets", "resets in the middle of everything cost nobody else anything", resets=True)
_vanish_rule("fins", "ends in the middle of everything cost nobody else anything", resets=False)


@rule("hostile-half-open", "connections that stop within the handshake cost nobody else anything", inference=True)
async def half_open(case: Case) -> str:
    async def does() -> None:
        async with await connect(case.gateway) as stream:
            await stream.send(request(case)[:70])
            await anyio.sleep(FLOOD_S)

    return await beside_an_innocent(case, [does] * HALF_OPEN)


@rule("hostile-header", "a header of 200 kB holds up nobody else", inference=True)
async def header(case: Case) -> str:
    got: list[bytes] = []

    async def does() -> None:
        async with await connect(case.gateway) as stream:
            with suppress(*_GONE):
                await stream.send(request(case, more={"X-Long": "a" * HEADER_BYTES}))
            got.append(await answer(stream, END_LIMIT_S))

    said = await beside_an_innocent(case, [does])
    return f"{said}; it is {'let in' if _is_upgraded(got[0]) else 'refused'}"


@rule("hostile-protocols", "HTTP/1.0, TLS, HTTP/2 and noise hold up nobody else", inference=True)
async def protocols(case: Case) -> str:
    got: dict[str, bytes] = {}

    def speaking(name: str, data: bytes) -> Doing:
        async def does() -> None:
            got[name] = await said_to(case, data)

        return does

    filled = {**OTHER_PROTOCOLS, _OLD_UPGRADE: request(case, "1.0")}
    said = await beside_an_innocent(case, [speaking(name, data) for name, data in filled.items()])
    upgraded = [name for name in OTHER_PROTOCOLS if _is_upgraded(got[name])]
    expect(not upgraded, f"expected no upgrade for {', '.join(upgraded)}, got 101")
    # RFC 6455, section 4.2.1, wants HTTP/1.1 or higher. Some servers do not look; it costs nobody anything.
    return f"{said}; {_OLD_UPGRADE} is {'let in' if _is_upgraded(got[_OLD_UPGRADE]) else 'refused'}"


@rule("hostile-deaf", "a client that asks and never reads costs nobody else anything", inference=True, alone=True)
async def deaf(case: Case) -> str:
    async def does() -> None:
        async with await connect(case.gateway) as stream:
            stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(*_GONE), anyio.move_on_after(FLOOD_S):
                await stream.send(request(case) + SESSION)
                while True:
                    await stream.send(frame(PING, b"." * 125) * 50)
                    await anyio.sleep(0.02)

    return await beside_an_innocent(case, [does] * 5)


@rule("upgrade-offers", "offered extensions, subprotocols and an Origin change nothing", inference=True)
async def offers(case: Case) -> None:
    deflate = ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})
    offered: dict[str, Any] = {"extensions": [deflate], "subprotocols": ["chat", "stt"]}
    async with case.connection(**offered, origin="https://example.org") as wire:
        await wire.send_text(START)
        session = Session(wire, case.audio())
        await session.send_frames(5)
        messages = await session.all_covered()
        check_cover(messages)
        check_numbers(messages, session.audio)
