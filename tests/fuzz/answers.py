"""drain's HTTP/1.1 answers beside http.client's reading of the same bytes, and where the two may differ: by name."""

import http.client
import io
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from variants.drain.answers import AnswerReader, BrokenAnswer, Heads
from variants.shared.inference import ANSWER_LIMIT_BYTES

MOST_AT_ONCE = 4096
"""Bytes that the connection reads at once."""

STRICTER = {
    "the stream ends, or a line ends in LF alone, in the head or after a chunk": r"connection closed while reading|"
    r"line without CRLF|before end of line",
    "a status line of other parts than HTTP/1.1, three digits and a reason": r"invalid HTTP status line|unsupported "
    r"protocol|invalid status code|invalid HTTP reason phrase",
    "a field that RFC 9110 does not know: folded, without a name, with a control character": r"invalid HTTP header",
    "a length that is no number, or given twice": r"invalid content length|'Content-Length'",
    "a coding other than chunked, in small letters and alone": r"transfer coding .* isn't supported|"
    r"'Transfer-Encoding'",
    "a chunk whose length is no plain hexadecimal number, or that its CRLF does not follow": r"invalid chunk size|"
    r"chunk without CRLF|stream ends after \d+ bytes, expected 2 bytes",
    "more than websockets' parser takes: 1 MiB of body, 8 KiB of line, 128 fields": r"body too large|chunk too large|"
    r"expected no more than",
}
"""What drain refuses and http.client may read: name, and the reason that drain gives. The inference server is refused
too much rather than too little: the batch then fails, and the connection with it."""


class Read(NamedTuple):
    """One answer, and whether its connection may carry another request."""

    status: int
    body: bytes
    reusable: bool


def _is_over_limit(data: bytes) -> bool:
    """Whether the answer says that its body is longer than what is read of one."""
    lengths = re.findall(rb"\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r", data, re.IGNORECASE)
    return any(int(length) > ANSWER_LIMIT_BYTES for length in lengths)


class Refused(NamedTuple):
    """Why the bytes, and then the end of the stream, are no answer."""

    reason: str


def ours(data: bytes, cuts: Iterable[int] = ()) -> Read | Refused:
    """The first answer in `data`, which comes cut at these places, and ends with the stream."""
    reader = AnswerReader(Heads())
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), *range(0, len(data), MOST_AT_ONCE), len(data)})
    try:
        for start, end in pairwise(places):
            answer = reader.feed(data[start:end])
            if answer is not None:
                # The bytes after an answer show with it, or while no request is out: either ends the connection.
                return Read(*answer, reader.reusable and end == len(data))
        answer = reader.feed_eof()
    except BrokenAnswer as error:
        return Refused(str(error))
    assert answer is not None, "the end of the stream decides"
    return Read(*answer, reader.reusable)


class _Stream(io.BytesIO):
    """What http.client takes for a socket; it stays readable when the answer is over."""

    def makefile(self, _mode: str) -> "_Stream":
        return self

    def close(self) -> None:
        pass


def reference(data: bytes) -> Read | Refused:
    """What http.client makes of the same."""
    stream: Any = _Stream(data)
    response = http.client.HTTPResponse(stream, method="POST")
    try:
        response.begin()
        closes = response.will_close
        body = response.read()
    except (http.client.HTTPException, ValueError, OverflowError) as error:  # the last: a length past 2^63, to 3.13
        return Refused(repr(error))
    return Read(response.status, body, not closes and not stream.read(1))


def difference(data: bytes, read: Read | Refused, known: Read | Refused) -> str | None:
    """The name of the difference between drain's reading and http.client's; None where there is none.

    Raises AssertionError where there is one without a name.
    """
    if read == known or (isinstance(read, Refused) and isinstance(known, Refused)):
        return None
    if re.search(rb"\ntransfer-encoding:[ \t]*chunked[ \t]+\r", data, re.IGNORECASE):
        return "http.client does not know `chunked` before a space"
    if isinstance(read, Read) and not read.reusable and _is_over_limit(data):
        return "what is over the limit is cut off"
    if isinstance(read, Refused):
        assert isinstance(known, Read)
        names = [name for name, reason in STRICTER.items() if re.search(reason, read.reason)]
        if not names and 101 <= known.status <= 199:
            names = ["an informational answer is never the last"]
        assert names, f"{read} ≠ {known}"
        return names[0]
    if isinstance(known, Refused):
        if read.status in (204, 304):
            return "204 and 304 have no body, whatever their head says"
        assert re.search(r"got more than \d+ (headers|interim responses)", known.reason), f"{read} ≠ {known}"
        return "http.client takes 100 fields, and 100 informational answers"
    if 101 <= known.status <= 199:
        return "an informational answer is never the last"
    if read.status == known.status and read.status in (204, 304):
        return "204 and 304 have no body, whatever their head says"
    assert (read.status, read.body) == (known.status, known.body), f"{read} ≠ {known}"
    assert not read.reusable, f"{read} ≠ {known}"
    if b"HTTP/1.0" in data:
        return "HTTP/1.0 is never kept open"
    assert len(re.findall(rb"\nconnection:", data, re.IGNORECASE)) > 1, f"{read} ≠ {known}"
    return "http.client looks at the first Connection field alone"


def check(data: bytes, cuts: Iterable[int]) -> str | None:
    """Any cut gives the same, and that is http.client's reading but for differences that have a name: which."""
    read, whole = ours(data, cuts), ours(data)
    assert read == whole or (isinstance(read, Refused) and isinstance(whole, Refused)), f"{read} ≠ {whole}"
    return difference(data, read, reference(data))
