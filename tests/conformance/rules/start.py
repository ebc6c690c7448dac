"""Rules of health, upgrade and the first message."""

import http.client
import json
from collections.abc import Sequence

import anyio

from tests.conformance.case import Case
from tests.conformance.expect import expect
from tests.conformance.inference import http_json
from tests.conformance.rule import Rule, add_rule, rule
from tests.conformance.session import START, Session
from tests.conformance.wire import CONNECT_LIMIT_S, Wire, frame

CLOSE_LIMIT_S = 2.0
TEXT, BINARY = 0x1, 0x2

# RFC 6455, section 1.3: a key and the accept value that it must give.
SAMPLE_KEY, SAMPLE_ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


NO_CODE = 1005
"""What RFC 6455, section 7.1.5 calls a close frame without a code."""


async def expect_close(wire: Wire, codes: Sequence[int], after: str) -> None:
    """Failed unless the gateway closes with one of `codes`."""
    wanted = " or ".join(map(str, codes))
    closing = await wire.closed(CLOSE_LIMIT_S, f"a close with {wanted} after {after}")
    expect(closing.code in codes, f"expected a close with {wanted} after {after}, got {closing.code}")


@rule("health", "GET /health answers 200 with a JSON object that has ok true")
async def health(case: Case) -> None:
    try:
        status, answer = await http_json(case.gateway.host, case.gateway.port, "GET", "/health")
    except (OSError, http.client.HTTPException) as error:
        expect(False, f"expected an answer to GET /health, got {error!r}")
    expect(status == 200, f"expected status 200, got {status}")
    expect(isinstance(answer, dict) and answer.get("ok") is True, f'expected {{"ok": true}}, got {answer!r}')


@rule("upgrade", "GET /ws/stt upgrades with the accept value of the key that was sent")
async def upgrade(case: Case) -> None:
    request = (
        f"GET /ws/stt HTTP/1.1\r\nHost: {case.gateway.host}:{case.gateway.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    async with await anyio.connect_tcp(case.gateway.host, case.gateway.port) as stream:
        await stream.send(request.encode())
        with anyio.move_on_after(CONNECT_LIMIT_S):
            try:
                while b"\r\n\r\n" not in answer:
                    answer += await stream.receive()
            except anyio.EndOfStream:
                pass
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    expect(status.startswith("HTTP/1.1 101"), f"expected HTTP/1.1 101, got {status!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    expect(headers.get("upgrade", "").lower() == "websocket", f"expected Upgrade: websocket, got {headers}")
    accept = headers.get("sec-websocket-accept")
    expect(accept == SAMPLE_ACCEPT, f"expected Sec-WebSocket-Accept {SAMPLE_ACCEPT}, got {accept!r}")


SPELLINGS = (
    START,
    ' {\t"type" :\r\n"start" } \n',
    '{"\\u0074ype":"st\\u0061rt"}',
)


@rule("start-spellings", "any JSON spelling of the start message begins a session", inference=True)
async def start_spellings(case: Case) -> None:
    async def begin(spelling: str) -> None:
        async with case.connection() as wire:
            await wire.send_text(spelling)
            session = Session(wire, case.audio())
            await session.send_frames(1)
            await session.partial()

    async def begin_in_fragments() -> None:
        async with case.connection() as wire:
            start = START.encode()
            await wire.send_raw(frame(TEXT, start[:5], fin=False) + frame(0, start[5:]))
            session = Session(wire, case.audio())
            await session.send_frames(1)
            await session.partial()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin_in_fragments)
        for spelling in SPELLINGS:
            tasks.start_soon(begin, spelling)


def _start_rule(id: str, title: str, messages: Sequence[str | bytes], *, strict: bool = False) -> None:
    """A rule that every one of `messages`, sent first, closes with 1002."""

    async def check(case: Case) -> None:
        async def refuse(message: str | bytes) -> None:
            async with case.connection() as wire:
                if isinstance(message, str):
                    wire.protocol.send_text(message.encode())
                else:
                    wire.protocol.send_binary(message)
                await wire.send()
                await expect_close(wire, (1002,), f"the first message {message[:60]!r}")

        async with anyio.create_task_group() as tasks:
            for message in messages:
                tasks.start_soon(refuse, message)

    add_rule(Rule(id, f"{title} as first message closes with 1002", check, strict=strict))


def _typed(*values: object) -> list[str]:
    return [json.dumps({"type": value}) for value in values]


_start_rule("start-not-json", "what is not JSON", ("start", '{"type":"start"', START + START))
_start_rule("start-array", "a JSON array", ("[]", f"[{START}]", '[["type","start"]]'))
_start_rule("start-scalar", "a JSON string, number or null", ('"start"', "1", "null"))
_start_rule("start-other-type", "another type", _typed("stop", "START", "start ", None, 1))
_start_rule("start-extra-key", "an extra key", ('{"type":"start","rate":16000}', '{"type":"start","":null}'))
_start_rule("start-empty-object", "{}", ("{}",), strict=True)
_start_rule("start-partial", '{"type":"partial"}', _typed("partial"), strict=True)
_start_rule("start-error", '{"type":"error"}', _typed("error"), strict=True)
_start_rule("start-binary", "a binary message", (START.encode(), bytes(640)), strict=True)
_start_rule("start-empty-text", "an empty text", ("",), strict=True)
