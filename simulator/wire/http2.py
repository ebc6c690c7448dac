"""HTTP/2, the server's side: bytes in, requests out, answers into bytes (RFC 9113). No socket and no clock live here.

Header blocks are the hpack library's. Answers use no dynamic table, so that the same answer has the same bytes.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

from simulator.wire.request import BODY_MAX_BYTES, Request

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECTION_WINDOW_BYTES = 64 << 20
STREAM_WINDOW_BYTES = 4 << 20
STREAMS_MAX = 16_384
FRAME_MAX_BYTES = 1 << 16
HEADER_BLOCK_MAX_BYTES = 64 << 10
_UPDATE_AT_BYTES = 1 << 20
_WINDOW_DEFAULT_BYTES = 65_535
_WINDOW_MAX_BYTES = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0x1, 0x3, 0x5, 0x6
REFUSED_STREAM, COMPRESSION_ERROR = 0x7, 0x9
_CONCURRENT, _INITIAL_WINDOW, _FRAME_MAX = 0x3, 0x4, 0x5
_HEAD = struct.Struct(">HBBBI")
_HEAD_BYTES = 9

B = TypeVar("B", bytes, memoryview)


class ConnectionError2(Exception):
    """The client broke the protocol: the error code for its GOAWAY, and why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Asked(NamedTuple):
    """A whole request on a stream."""

    stream: int
    request: Request


class Cancelled(NamedTuple):
    """The client wants no answer on this stream any more."""

    stream: int


Event = Asked | Cancelled


class Fields(NamedTuple):
    """What of a header block is needed."""

    method: str
    path: str
    length: int | None
    cpu_passes: str | None


@dataclass(slots=True)
class _Stream:
    fields: Fields
    window_bytes: int
    body: bytearray = field(default_factory=bytearray)
    received_bytes: int = 0
    """Of DATA since its last WINDOW_UPDATE."""
    asked: bool = False
    """All of the request has come."""
    unsent: memoryview | None = None
    """Of the answer's body, what the client's windows do not let through yet."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


@lru_cache(maxsize=1024)
def answer_block(status: int, length: int) -> bytes:
    """The header block of an answer whose body is JSON of `length` bytes."""
    fields = ((":status", str(status)), ("content-type", "application/json"), ("content-length", str(length)))
    block: bytes = Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in fields])
    return block


_OPENING = frame(
    SETTINGS,
    0,
    0,
    struct.pack(">HIHIHI", _CONCURRENT, STREAMS_MAX, _INITIAL_WINDOW, STREAM_WINDOW_BYTES, _FRAME_MAX, FRAME_MAX_BYTES),
) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", CONNECTION_WINDOW_BYTES - _WINDOW_DEFAULT_BYTES))


class Connection2:
    """One connection, from behind the preface on. Give it what came; take what is to be sent from `take`."""

    def __init__(self) -> None:
        self._out = bytearray(_OPENING)
        self._rest = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._last_stream = 0
        self._dropped: set[int] = set()  # streams that we have reset while they still came
        self._decoder = Decoder()
        self._known: dict[bytes, Fields] = {}  # by header block, while the dynamic table is as it was
        self._block: tuple[int, int, bytes] | None = None  # (stream, flags, so far), until END_HEADERS
        self._received_bytes = 0  # of DATA since the last WINDOW_UPDATE
        self._window_bytes = self._initial_window_bytes = _WINDOW_DEFAULT_BYTES  # the client's
        self._frame_max_bytes = 16_384  # the client's
        self._blocked: dict[int, _Stream] = {}

    def take(self) -> bytes:
        """What is to be sent since it was last asked."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """Take what came, in whatever pieces.

        Raises ConnectionError2; a GOAWAY then waits in `take`, and the connection is of no more use.
        """
        events: list[Event] = []
        try:
            if self._rest:
                self._rest += data
                with memoryview(self._rest) as view:
                    used = self._frames(view, events)
                del self._rest[:used]
            else:
                view = memoryview(data)
                self._rest += view[self._frames(view, events) :]
        except ConnectionError2 as error:
            self._write(GOAWAY, 0, 0, struct.pack(">II", self._last_stream, error.code) + str(error).encode()[:100])
            raise
        return events

    def answer(self, stream: int, status: int, body: bytes, length: int, *, ends: bool = True) -> None:
        """Answer a request with a body that is said to be `length` bytes; nothing happens where it was cancelled.
        `ends` False leaves the stream open, with as much of the body as a frame and the client's windows take."""
        known = self._streams.get(stream)
        if known is None:
            return
        self._write(HEADERS, END_HEADERS, stream, answer_block(status, length))
        if ends and len(body) <= min(self._window_bytes, known.window_bytes, self._frame_max_bytes):
            self._window_bytes -= len(body)
            self._write(DATA, END_STREAM, stream, body)
            del self._streams[stream]
        elif ends:
            known.unsent = memoryview(body)
            self._blocked[stream] = known
            self._unblock()
        else:
            part = body[: max(0, min(self._window_bytes, known.window_bytes, self._frame_max_bytes))]
            self._window_bytes -= len(part)
            known.window_bytes -= len(part)
            self._write(DATA, 0, stream, part)

    # Frames

    def _frames(self, view: memoryview, events: list[Event]) -> int:
        """Handle the whole frames of `view`; the bytes that they took."""
        at, end = 0, len(view)
        while end - at >= _HEAD_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(view, at)
            size = high << 8 | low
            if size > FRAME_MAX_BYTES:
                raise ConnectionError2(FRAME_SIZE_ERROR, f"expected frames of at most {FRAME_MAX_BYTES} bytes")
            start = at + _HEAD_BYTES
            if end - start < size:
                break
            at = start + size
            if self._block is not None and (kind != CONTINUATION or stream != self._block[0]):
                raise ConnectionError2(PROTOCOL_ERROR, "expected CONTINUATION")
            payload = view[start:at]
            if kind == DATA:
                self._on_data(stream & 0x7FFF_FFFF, flags, payload, events)
            else:
                self._on_other(kind, stream & 0x7FFF_FFFF, flags, bytes(payload), events)
        return at

    def _on_data(self, number: int, flags: int, payload: memoryview, events: list[Event]) -> None:
        size = len(payload)
        self._received_bytes += size
        if self._received_bytes >= _UPDATE_AT_BYTES:
            self._write(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received_bytes))
            self._received_bytes = 0
        stream = self._streams.get(number)
        if stream is None or stream.asked:
            if number == 0 or number > self._last_stream:
                raise ConnectionError2(PROTOCOL_ERROR, f"expected an open stream, got DATA on {number}")
            return  # one that was cancelled or refused meanwhile
        stream.body += _unpadded(flags, payload)
        stream.received_bytes += size
        if stream.received_bytes >= _UPDATE_AT_BYTES:
            self._write(WINDOW_UPDATE, 0, number, struct.pack(">I", stream.received_bytes))
            stream.received_bytes = 0
        if len(stream.body) > BODY_MAX_BYTES:
            self._drop(number)
        elif flags & END_STREAM:
            self._ask(number, stream, events)

    def _on_other(self, kind: int, number: int, flags: int, payload: bytes, events: list[Event]) -> None:
        match kind:
            case 1:  # HEADERS
                block = _unpadded(flags, payload)
                block = block[5:] if flags & PRIORITY_FLAG else block
                self._on_block(number, flags, block, events)
            case 9:  # CONTINUATION
                if self._block is None:
                    raise ConnectionError2(PROTOCOL_ERROR, "unexpected CONTINUATION")
                _, first_flags, so_far = self._block
                flags = first_flags & ~END_HEADERS | flags & END_HEADERS
                self._on_block(number, flags, so_far + payload, events)
            case 3:  # RST_STREAM
                _expect(len(payload) == 4, FRAME_SIZE_ERROR, "4 bytes in RST_STREAM")
                _expect(0 < number <= self._last_stream, PROTOCOL_ERROR, "RST_STREAM of a stream that was opened")
                self._blocked.pop(number, None)
                if self._streams.pop(number, None) is not None:
                    events.append(Cancelled(number))
            case 4:  # SETTINGS
                self._on_settings(number, flags, payload)
            case 6:  # PING
                _expect(len(payload) == 8, FRAME_SIZE_ERROR, "8 bytes in PING")
                _expect(number == 0, PROTOCOL_ERROR, "PING on stream 0")
                if not flags & ACK:
                    self._write(PING, ACK, 0, payload)
            case 8:  # WINDOW_UPDATE
                self._on_window_update(number, payload)
            case 5:  # PUSH_PROMISE
                raise ConnectionError2(PROTOCOL_ERROR, "a client must not push")
            case _:
                pass  # PRIORITY, GOAWAY and what is not known: nothing follows from them

    def _on_block(self, number: int, flags: int, block: bytes, events: list[Event]) -> None:
        """A header block so far."""
        _expect(len(block) <= HEADER_BLOCK_MAX_BYTES, PROTOCOL_ERROR, "a smaller header block")
        _expect(number % 2 == 1, PROTOCOL_ERROR, "an odd stream")
        if not flags & END_HEADERS:
            self._block = (number, flags, block)
            return
        self._block = None
        fields = self._decoded(block)
        stream = self._streams.get(number)
        if stream is not None:  # trailers
            _expect(bool(flags & END_STREAM) and not stream.asked, PROTOCOL_ERROR, "trailers that end the stream")
            self._ask(number, stream, events)
            return
        if number in self._dropped and flags & END_STREAM:
            self._dropped.discard(number)  # trailers of one that we have reset: they had left before it was known
            return
        _expect(number > self._last_stream, STREAM_CLOSED, "a new stream")
        self._last_stream = number
        if fields is None:
            self._reset(number, PROTOCOL_ERROR)
        elif len(self._streams) >= STREAMS_MAX:
            self._reset(number, REFUSED_STREAM)
        else:
            self._streams[number] = stream = _Stream(fields, self._initial_window_bytes)
            if flags & END_STREAM:
                self._ask(number, stream, events)

    def _decoded(self, block: bytes) -> Fields | None:
        """None where it is no request's. A block of indexed fields alone leaves the dynamic table as it is, and means
        the same for as long as nothing else changes that."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = _fields(self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise ConnectionError2(COMPRESSION_ERROR, f"bad header block: {error}") from None
        if not all(0x80 < byte < 0xFF for byte in block):
            self._known.clear()
        elif fields is not None:
            self._known[block] = fields
        return fields

    def _ask(self, number: int, stream: _Stream, events: list[Event]) -> None:
        stream.asked = True
        fields = stream.fields
        if fields.length is not None and fields.length != len(stream.body):
            self._drop(number)
            return
        events.append(Asked(number, Request(fields.method, fields.path, fields.cpu_passes, bytes(stream.body))))

    def _drop(self, number: int) -> None:
        """Reset a stream in the midst of its request."""
        self._reset(number, PROTOCOL_ERROR)
        del self._streams[number]
        if len(self._dropped) < STREAMS_MAX:
            self._dropped.add(number)

    def _reset(self, number: int, code: int) -> None:
        self._write(RST_STREAM, 0, number, struct.pack(">I", code))

    def _on_settings(self, number: int, flags: int, payload: bytes) -> None:
        _expect(number == 0, PROTOCOL_ERROR, "SETTINGS on stream 0")
        _expect(len(payload) % 6 == 0, FRAME_SIZE_ERROR, "SETTINGS of 6 bytes each")
        if flags & ACK:
            return
        for key, value in struct.iter_unpack(">HI", payload):
            if key == _INITIAL_WINDOW:
                _expect(value <= _WINDOW_MAX_BYTES, FLOW_CONTROL_ERROR, "a smaller window")
                for stream in self._streams.values():
                    stream.window_bytes += value - self._initial_window_bytes
                self._initial_window_bytes = value
            elif key == _FRAME_MAX:
                _expect(16_384 <= value < 1 << 24, PROTOCOL_ERROR, "a frame size from 16384 on")
                self._frame_max_bytes = value
        self._write(SETTINGS, ACK, 0)
        self._unblock()

    def _on_window_update(self, number: int, payload: bytes) -> None:
        _expect(len(payload) == 4, FRAME_SIZE_ERROR, "4 bytes in WINDOW_UPDATE")
        more_bytes = int.from_bytes(payload, "big") & 0x7FFF_FFFF
        _expect(more_bytes > 0, PROTOCOL_ERROR, "more than 0 bytes in WINDOW_UPDATE")
        if number == 0:
            self._window_bytes += more_bytes
            _expect(self._window_bytes <= _WINDOW_MAX_BYTES, FLOW_CONTROL_ERROR, "a smaller window")
        elif (stream := self._streams.get(number)) is not None:
            stream.window_bytes += more_bytes
            _expect(stream.window_bytes <= _WINDOW_MAX_BYTES, FLOW_CONTROL_ERROR, "a smaller window")
        self._unblock()

    # Going out

    def _unblock(self) -> None:
        """Send of the answers that wait what the client's windows let through."""
        for number, stream in list(self._blocked.items()):
            assert stream.unsent is not None
            while True:
                allowed_bytes = max(0, min(self._window_bytes, stream.window_bytes, self._frame_max_bytes))
                size = min(len(stream.unsent), allowed_bytes)
                if size == 0 and stream.unsent:
                    break
                part, stream.unsent = stream.unsent[:size], stream.unsent[size:]
                self._window_bytes -= size
                stream.window_bytes -= size
                self._write(DATA, 0 if stream.unsent else END_STREAM, number, part)
                if not stream.unsent:
                    del self._blocked[number], self._streams[number]
                    break

    def _write(self, kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> None:
        size = len(payload)
        self._out += _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)
        self._out += payload


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> Fields | None:
    known = {bytes(name): bytes(value).decode("latin-1") for name, value in headers}
    length = known.get(b"content-length")
    if b":method" not in known or b":path" not in known or (length is not None and not length.isdecimal()):
        return None
    return Fields(
        known[b":method"], known[b":path"], None if length is None else int(length), known.get(b"x-cpu-passes")
    )


def _unpadded(flags: int, payload: B) -> B:
    if not flags & PADDED:
        return payload
    _expect(len(payload) > 0 and payload[0] < len(payload), PROTOCOL_ERROR, "less padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _expect(holds: bool, code: int, what: str) -> None:
    if not holds:
        raise ConnectionError2(code, f"expected {what}")
