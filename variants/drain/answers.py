"""HTTP/1.1 and HTTP/1.0 answers: bytes in, `Answer` out. No I/O.

An answer that came whole, its length given, is cut out in place; any other goes from its first byte through websockets'
response parser (chunked, until the end of the stream, in pieces).
"""

import re
from collections.abc import Generator
from typing import Any

from websockets.http11 import Response
from websockets.streams import StreamReader

from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d) [\t\x20-\x7e]*\r\n(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\t\x20-\x7e\x80-\xff]*\r\n){0,128}\r\n"
).fullmatch
"""No more than what websockets' parser takes: an answer must not depend on the pieces that it comes in."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
_MOST_DIGITS = 18
_LENGTH_LINE = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE).fullmatch
_SPECIAL = re.compile(rb"\r\n(?:connection|transfer-encoding):", re.IGNORECASE)
_HEADS_KEPT = 64
_BODILESS = (b"204", b"304")


class BrokenAnswer(ValueError):
    """What came is no HTTP/1 answer, or ended too early."""


class Heads:
    """What answers' heads say, kept by their bytes: most have been seen before. For one thread's connections."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[int, int] | None] = {}

    def read(self, head: bytes) -> tuple[int, int] | None:
        """Status and length of the body; None where anything is unusual. `head`: its empty line included."""
        seen = self._seen
        if head not in seen:
            if len(seen) >= _HEADS_KEPT:
                seen.clear()
            seen[head] = _read_head(head)
        return seen[head]


def _read_head(head: bytes) -> tuple[int, int] | None:
    usual = _HEAD(head)
    if usual is None or usual[1] in _BODILESS or _SPECIAL.search(head):
        return None
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > _MOST_DIGITS:
        return None
    return int(usual[1]), int(lengths[0])


class AnswerReader:
    """Reads the answers of one connection, one request at a time."""

    __slots__ = ("_heads", "_parser", "_reader", "reusable")

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._parser: Generator[None, None, Response] | None = None
        self._reader = StreamReader()
        self.reusable = True
        """Whether the connection may carry another request, as the last answer left it."""

    def feed(self, data: bytes) -> Answer | None:
        """Take the next bytes of an answer; the answer, once it is whole. Raises BrokenAnswer."""
        if self._parser is None:
            answer = self._whole(data)
            if answer is not None:
                return answer
            self._parser = self._parse()
        self._reader.feed_data(data)
        return self._step()

    def feed_eof(self) -> Answer | None:
        """The peer has ended the stream, which may be what an answer's end was waiting for. Raises BrokenAnswer."""
        self.reusable = False
        if self._parser is None:
            raise BrokenAnswer("expected an answer, got the end of the connection")
        self._reader.feed_eof()
        return self._step()

    def _whole(self, data: bytes) -> Answer | None:
        """The answer, where `data` is exactly that, its length in the header and nothing unusual there; of a body over
        the limit nothing is kept."""
        body_at = data.find(b"\r\n\r\n") + 4
        known = self._heads.read(data[:body_at]) if body_at >= 4 else None
        if known is None:
            return None
        if known[1] > ANSWER_LIMIT_BYTES:
            self.reusable = False
            return Answer(known[0], b"")
        if len(data) != body_at + known[1]:
            return None
        return Answer(known[0], data[body_at:])

    def _parse(self) -> Generator[None, None, Response]:
        """One answer; informational ones (1xx) before it are passed over."""
        reader = self._reader
        while True:
            response = yield from Response.parse(self._line, reader.read_exact, reader.read_to_eof)
            if response.status_code >= 200:
                return response

    def _line(self, *limits: Any) -> Generator[None, None, bytes | bytearray]:
        """One line, a server of HTTP/1.0 read as one of 1.1 that closes (websockets' parser knows 1.1 alone), and a
        body over the limit as none."""
        line = yield from self._reader.read_line(*limits)
        if line.startswith(b"HTTP/1.0 "):
            self.reusable = False
            return line.replace(b"HTTP/1.0", b"HTTP/1.1", 1)
        length = _LENGTH_LINE(line)
        if length is not None and int(length[1]) > ANSWER_LIMIT_BYTES:
            self.reusable = False
            return b"content-length: 0\r\n"
        return line

    def _step(self) -> Answer | None:
        assert self._parser is not None
        try:
            next(self._parser)
        except StopIteration as stop:
            response: Response = stop.value
        except Exception as error:  # the parser's own list: EOFError, LookupError, ValueError, several of websockets'
            raise BrokenAnswer(f"expected an HTTP/1.1 answer: {error}") from None
        else:
            return None
        self._parser = None
        closes = "close" in ",".join(response.headers.get_all("Connection")).lower()
        self.reusable = self.reusable and not closes and not self._reader.buffer
        return Answer(response.status_code, bytes(response.body))
