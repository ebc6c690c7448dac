"""Rules of clients that mean harm: whatever one of them sends, it costs that one alone."""

import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import anyio

from tests.conformance.case import Case
from tests.conformance.expect import expect
from tests.conformance.rule import Rule, add_rule, rule
from tests.conformance.rules.framing import AUDIO, BROKEN, CLOSE, CONTINUATION, PING
from tests.conformance.rules.start import BINARY, CLOSE_LIMIT_S, TEXT
from tests.conformance.session import Session, check_cover
from tests.conformance.wire import frame

LATE_LIMIT_S = 0.35
"""How late an answer to somebody else may be: the contract's own limit of the newest frame's latency."""
FLOOD_S = 2.0
CLOSE_CODES = (0, 999, 1004, 1005, 1006, 1015, 2999)
"""Codes that no close frame may carry (RFC 6455, section 7.4)."""

VIOLATIONS = {
    **{name: data for name, (_, data) in BROKEN.items()},
    "text": frame(TEXT, b"{}"),
    "not UTF-8": frame(TEXT, b"\xc3\x28"),
    "639 bytes": frame(BINARY, AUDIO[1:]),
    "641 bytes": frame(BINARY, AUDIO + b"\x00"),
    "a declared length of 2^62": b"\x82\xff" + struct.pack("!Q", 1 << 62) + b"mask",
    "a close reason that is no UTF-8": frame(CLOSE, b"\x03\xe8\xc3\x28"),
    **{f"close code {code}": frame(CLOSE, struct.pack("!H", code)) for code in CLOSE_CODES},
}
FOLLOWERS = {
    "a close": frame(CLOSE, b"\x03\xe8"),
    "a second violation": frame(BINARY, AUDIO[1:]),
    "a ping": frame(PING, b"still there?"),
    "audio": frame(BINARY, AUDIO),
}


FLOODS = {
    "pings": ("100 000 pings", frame(PING, b"") * 100_000),
    "fragments": (
        "2 million empty fragments",
        frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 2_000_000,
    ),
}

Attack = Callable[[Session], Awaitable[None]]
Doing = Callable[[], Coroutine[Any, Any, None]]


async def beside_an_innocent(case: Case, doings: Sequence[Doing]) -> str:
    """Do all of it at once. Failed unless somebody else's answers come meanwhile, and come in time."""
    async with case.session() as innocent:
        async with innocent.streaming(every_s=0.1):
            await innocent.partial()
            async with anyio.create_task_group() as attackers:
                for does in doings:
                    attackers.start_soon(does)
            meanwhile = len(innocent.wire.messages) - len(innocent.messages)
            while_streaming = [*innocent.messages, *await innocent.partials(max(2, meanwhile + 1))]
        check_cover(await innocent.all_covered())
        late_s = max(message.arrived_s - innocent.sent_s[message.newest - 1] for message in while_streaming)
        expect(late_s <= LATE_LIMIT_S, f"expected no answer to another session over 350 ms, got {late_s * 1000:.0f}")
        return f"{len(doings)} attacks, somebody else's answers within {late_s * 1000:.0f} ms"


def on_a_session(case: Case, attack: Attack) -> Doing:
    """An attack by a client that was let in, and sent a frame first."""

    async def does() -> None:
        async with case.session() as session:
            await session.send_frames(1)
            await attack(session)

    return does


def _followed_rule(what: str, follower: bytes) -> None:
    def send(violation: bytes) -> Attack:
        async def attack(session: Session) -> None:
            wire = session.wire
            await wire.send_raw(violation + follower)
            await wire.wait_for(lambda: wire.closing or wire.ended_s, CLOSE_LIMIT_S, "the connection to end")

        return attack

    async def check(case: Case) -> str:
        return await beside_an_innocent(
            case, [on_a_session(case, send(violation)) for violation in VIOLATIONS.values()]
        )

    title = f"a violation and {what} in one segment end that connection alone"
    add_rule(Rule(f"hostile-then-{what.split()[-1]}", title, check, inference=True, timing=True))


def _flood_rule(name: str, what: str, data: bytes) -> None:
    async def attack(session: Session) -> None:
        with anyio.move_on_after(FLOOD_S), suppress(OSError, anyio.BrokenResourceError):
            await session.wire.send_raw(data)
            await anyio.sleep(FLOOD_S)

    async def check(case: Case) -> str:
        return await beside_an_innocent(case, [on_a_session(case, attack)])

    add_rule(
        Rule(f"hostile-flood-{name}", f"{what} in one write hold up nobody else", check, inference=True, alone=True)
    )


async def _too_fast(session: Session) -> None:
    """An hour of audio as fast as the connection takes it."""
    with anyio.move_on_after(FLOOD_S):
        while session.wire.ended_s is None and session.wire.closing is None:
            await session.wire.send_raw(frame(BINARY, AUDIO) * 500)


@rule("hostile-too-fast", "audio as fast as a connection takes it holds up nobody else", inference=True, alone=True)
async def too_fast(case: Case) -> str:
    return await beside_an_innocent(case, [on_a_session(case, _too_fast)] * 2)


for _what, _follower in FOLLOWERS.items():
    _followed_rule(_what, _follower)
for _name, (_what, _data) in FLOODS.items():
    _flood_rule(_name, _what, _data)
