"""The picows host's framing beside a plain websockets parse: any traffic, cut anywhere, over a real connection.

The host is `Connection` behind picows' own server, with sessions that write down what they hear. Where the two differ,
the difference has a name here, and its mechanism.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSUpgradeRequest, ws_create_server
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from gateway import Failure, Infer, Session, SessionSettings, Tally
from tests.conformance.wire import frame
from tests.fuzz.framing import Outcome, plain
from tests.variants.traffic import BINARY, CLOSE, PING, TEXT, audio, traffic
from variants.picows_loops.connection import Connection
from variants.shared.inference import Answer
from variants.shared.options import MOST_BYTES

LIMIT_S = 5.0
UPGRADE = (
    b"GET /ws/stt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

AHEAD = "picows looks at the next frame before it hands one over: a violation there comes first, and is the last word"
GOES_ON = "after a frame that is too large, or a close of one byte, picows closes, and hands over what still comes"
LONG_FORM = "a length in more bytes than it needs is a violation to picows (RFC 6455, 5.2), and none to websockets"
CODES = "picows takes every close code from 5000 on"
TWO_FAULTS = "the host looks at a frame's reserved bits after picows has looked at its length, and at a close's content"


class Hearing(Session):
    """A session that takes anything for its start, and any message after it."""

    __slots__ = ("heard",)

    def __init__(self) -> None:
        super().__init__(SessionSettings(), 0.0)
        self.heard: list[str | bytes] = []

    def start(self, message: str | bytes | bytearray | memoryview, now_s: float) -> None:
        self.frame(message, now_s)
        assert super().start('{"type":"start"}', now_s) is None

    def frame(self, message: str | bytes | bytearray | memoryview, now_s: float) -> None:
        self.heard.append(message if isinstance(message, str) else bytes(message))


class NoInference:
    """Never asked: a connection here is over before its first tick."""

    async def infer(self, batch: Infer) -> Answer | Failure:
        raise AssertionError("a tick came")


class Heard(NamedTuple):
    """What came of one connection."""

    messages: list[str | bytes]
    pongs: list[bytes]
    close: tuple[int, str] | None


class Host:
    """picows' server in an event loop of its own, which runs while somebody talks to it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.sessions: list[Hearing] = []
        self.connections: set[Connection] = set()
        self.server = self.loop.run_until_complete(
            ws_create_server(
                self._route, "127.0.0.1", 0, max_frame_size=MOST_BYTES, read_buffer_init_size=4096,
                enable_auto_pong=False,
            )
        )  # fmt: skip
        self.port = self.server.sockets[0].getsockname()[1]

    def _route(self, _request: WSUpgradeRequest) -> Connection:
        self.sessions.append(Hearing())
        return Connection(self.sessions[-1], NoInference(), Tally(), self.connections)

    def talk(self, data: bytes, cuts: list[int]) -> Heard:
        """Send this after the handshake, cut at these places, then the end; what was heard of it."""
        replies = self.loop.run_until_complete(asyncio.wait_for(self._talk(data, cuts), LIMIT_S))
        return Heard(self.sessions.pop().heard, *control_frames(replies))

    async def _talk(self, data: bytes, cuts: list[int]) -> bytes:
        loop, replies = self.loop, b""
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_sendall(sock, UPGRADE)
            while b"\r\n\r\n" not in replies:
                replies += await loop.sock_recv(sock, 65536)
            places = [0, *sorted(cuts), len(data)]
            with suppress(OSError):  # it has gone already: what it said before is still to be read
                for start, end in pairwise(places):
                    await loop.sock_sendall(sock, data[start:end])
                    await asyncio.sleep(0)
                sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while came := await loop.sock_recv(sock, 65536):
                    replies += came
        return replies.partition(b"\r\n\r\n")[2]

    def end(self) -> None:
        self.server.close()
        self.loop.run_until_complete(self.server.wait_closed())
        self.loop.close()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.end()


def control_frames(replies: bytes) -> tuple[list[bytes], tuple[int, str] | None]:
    """Pongs, and the one close, in what a server has written."""
    reader, pongs, close = StreamReader(), [], None
    reader.feed_data(replies)
    while reader.buffer:
        with pytest.raises(StopIteration) as whole:
            next(Frame.parse(reader.read_exact, mask=False))
        came = whole.value.value
        assert close is None, "nothing follows a close"
        if came.opcode is Opcode.PONG:
            pongs.append(bytes(came.data))
        else:
            assert came.opcode is Opcode.CLOSE
            close = int.from_bytes(came.data[:2], "big") or 1005, came.data[2:].decode()
    return pongs, close


def expected_close(parsed: Outcome) -> int | None:
    """Of the host: it answers a close with its code alone, and one without a code with 1000."""
    if parsed.sent_close is None:
        return None
    code = parsed.sent_close[0]
    return 1000 if parsed.got_close is not None and code == 1005 else code


def difference(heard: Heard, parsed: Outcome) -> str | None:
    """The name of the difference between the two; None where there is none. AssertionError where it has no name."""
    pongs, _ = control_frames(parsed.replies)
    code, reason = heard.close or (None, "")
    if (heard.messages, heard.pongs, code) == (parsed.messages, pongs, expected_close(parsed)):
        return None
    assert parsed.sent_close is not None or heard.close is not None, f"{heard} ≠ {parsed}"
    own = reason.startswith("Received ")
    """Whether picows itself closed it."""
    fault_code, fault = parsed.sent_close if parsed.sent_close is not None else (0, "")
    if parsed.got_close is not None:
        fault = ""
    if own and "bit payload length" in reason:
        assert is_begun(heard, parsed.messages, pongs)
        return LONG_FORM
    if fault == "invalid status code" and code is not None and code >= 5000:
        assert (heard.messages, heard.pongs) == (parsed.messages, pongs)
        return CODES
    if own and fault and len(heard.messages) > len(parsed.messages):
        assert heard.messages[: len(parsed.messages)] == parsed.messages
        return GOES_ON
    if own and fault == "reserved bits must be 0" and (heard.messages, heard.pongs) == (parsed.messages, pongs):
        return TWO_FAULTS
    if own and fault:
        missing = len(parsed.messages) + len(pongs) - len(heard.messages) - len(heard.pongs)
        assert is_begun(heard, parsed.messages, pongs)
        assert missing == 1 or (missing == 0 and fault_code == 1007), f"{heard} ≠ {parsed}"
        return AHEAD
    raise AssertionError(f"{heard} ≠ {parsed}")


def is_begun(heard: Heard, messages: list[str | bytes], pongs: list[bytes]) -> bool:
    """Whether what was heard is the beginning of all that a parse gives."""
    return messages[: len(heard.messages)] == heard.messages and pongs[: len(heard.pongs)] == heard.pongs


@settings(max_examples=200, deadline=None)
@given(data=traffic(), places=st.lists(st.floats(0, 1), max_size=6))
def test_any_traffic_is_what_a_plain_parse_makes_of_it(host: Host, data: bytes, places: list[float]) -> None:
    difference(host.talk(data, [int(place * len(data)) for place in places]), plain(data))


MASK = b"mask"
LAST = frame(BINARY, audio(1), mask=MASK)
DIFFERENCES = {
    AHEAD: frame(TEXT, b"\xff", mask=MASK) + frame(BINARY, audio(1), mask=None),
    GOES_ON: frame(BINARY, bytes(70_000), mask=MASK) + LAST,
    LONG_FORM: b"\x82\xff" + (640).to_bytes(8, "big") + MASK + audio(1) + frame(PING, b"after", mask=MASK),
    CODES: frame(CLOSE, (5000).to_bytes(2, "big"), mask=MASK),
    TWO_FAULTS: frame(CLOSE, b"\x03\xe8\xff", reserved=1, mask=MASK),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_that_has_a_name_is_one(name: str, host: Host) -> None:
    assert difference(host.talk(DIFFERENCES[name], []), plain(DIFFERENCES[name])) == name
