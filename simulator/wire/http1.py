"""HTTP/1.1, the server's side: bytes in, requests out; an answer's bytes. No socket and no clock live here.

One request at a time: what comes behind it waits until it is asked for.
"""

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from simulator.wire.request import BODY_MAX_BYTES, Request

HEAD_MAX_BYTES = 64 << 10
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNK_LINE_MAX_BYTES = 256


class BadRequest(Exception):
    """The client broke the protocol: the status that it gets, and why; the connection is of no more use."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """What of a request's head is needed."""

    method: str
    path: str
    length: int
    """Of the body; 0 where it is chunked."""
    is_chunked: bool
    is_last: bool
    """The client wants the connection closed after the answer."""
    expects_continue: bool
    cpu_passes: str | None


@lru_cache(maxsize=1024)
def read_head(head: bytes) -> Head:
    """The head up to, and without, its empty line. A gateway's heads are few, and mostly alike. Raises BadRequest."""
    first, *lines = head.split(b"\r\n")
    words = first.decode("latin-1").split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[1].startswith("/"):
        raise BadRequest(400, f"expected METHOD /path HTTP/1.1, got {first[:80]!r}")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, f"expected a header, name: value, got {line[:80]!r}")
        name = name.lower()
        if name in fields and name in ("content-length", "transfer-encoding"):
            raise BadRequest(400, f"expected {name} once")
        fields[name] = value.strip()
    coding = fields.get("transfer-encoding", "").lower()
    length = fields.get("content-length", "0")
    if coding not in ("", "chunked") or (coding and "content-length" in fields):
        raise BadRequest(400, f"expected a content-length or transfer-encoding chunked, got {coding!r}")
    if not (length.isascii() and length.isdecimal()):
        raise BadRequest(400, f"expected content-length to be a number, got {length[:20]!r}")
    if len(length) > 10 or int(length) > BODY_MAX_BYTES:
        raise BadRequest(413, f"expected a body of at most {BODY_MAX_BYTES} bytes, got {length[:20]}")
    connection = fields.get("connection", "").lower()
    return Head(
        method=words[0],
        path=words[1],
        length=int(length),
        is_chunked=bool(coding),
        is_last="close" in connection or (words[2] == "HTTP/1.0" and "keep-alive" not in connection),
        expects_continue=fields.get("expect", "").lower() == "100-continue",
        cpu_passes=fields.get("x-cpu-passes"),
    )


class Reader:
    """Requests out of one connection's bytes: `feed` what came, then ask for the `next` one."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Head | None = None
        self._chunks: bytearray | None = None
        self.must_continue = False
        """The client waits for `CONTINUE` before it sends its body; whoever sends that sets it back."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came, in whatever pieces."""
        self._buffer += data

    def next(self) -> tuple[Request, bool] | None:
        """The next whole request, and whether it is the connection's last; None until there is one. Raises
        BadRequest."""
        if self._head is None and not self._read_head():
            return None
        head = self._head
        assert head is not None
        if self._chunks is not None:
            if not self._read_chunks(self._chunks):
                return None
            body = bytes(self._chunks)
        else:
            if len(self._buffer) < head.length:
                return None
            body = bytes(memoryview(self._buffer)[: head.length])
            del self._buffer[: head.length]
        self._head = self._chunks = None
        self.must_continue = False
        return Request(head.method, head.path, head.cpu_passes, body), head.is_last

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_MAX_BYTES:
            if len(self._buffer) > HEAD_MAX_BYTES:
                raise BadRequest(431, f"expected a head of at most {HEAD_MAX_BYTES} bytes")
            return False
        self._head = head = read_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._chunks = bytearray() if head.is_chunked else None
        self.must_continue = head.expects_continue and not self._buffer
        return True

    def _read_chunks(self, body: bytearray) -> bool:
        """Move whole chunks over; whether the last one has come."""
        while True:
            end = self._buffer.find(b"\r\n", 0, _CHUNK_LINE_MAX_BYTES)
            if end < 0:
                if len(self._buffer) >= _CHUNK_LINE_MAX_BYTES:
                    raise BadRequest(400, "expected a chunk's size")
                return False
            digits = bytes(self._buffer[:end]).partition(b";")[0].strip()
            if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
                raise BadRequest(400, f"expected a chunk's size in hexadecimal, got {digits[:20]!r}")
            size = int(digits, 16)
            if len(body) + size > BODY_MAX_BYTES:
                raise BadRequest(413, f"expected a body of at most {BODY_MAX_BYTES} bytes")
            if size == 0:
                return self._read_trailers(end + 2)
            after = end + 2 + size
            if len(self._buffer) < after + 2:
                return False
            if self._buffer[after : after + 2] != b"\r\n":
                raise BadRequest(400, "expected a line's end after a chunk")
            body += memoryview(self._buffer)[end + 2 : after]
            del self._buffer[: after + 2]

    def _read_trailers(self, at: int) -> bool:
        """Skip trailers, to the empty line behind them."""
        if self._buffer[at : at + 2] == b"\r\n":
            end = at + 2
        else:
            end = self._buffer.find(b"\r\n\r\n", at) + 4
            if end < 4:
                if len(self._buffer) > HEAD_MAX_BYTES:
                    raise BadRequest(431, f"expected trailers of at most {HEAD_MAX_BYTES} bytes")
                return False
        del self._buffer[:end]
        return True


@lru_cache(maxsize=1024)
def answer_head(status: int, length: int, *, is_last: bool) -> bytes:
    """The head of an answer whose body is JSON of `length` bytes."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    close = "connection: close\r\n" if is_last else ""
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{close}\r\n"
    ).encode()
