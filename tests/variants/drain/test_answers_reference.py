"""drain's reading of HTTP/1 answers beside http.client's: any answer, right or wrong, cut anywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.answers import Read, check, difference, ours, reference

OK = b"HTTP/1.1 200 OK\r\n"
LINES = [
    *[OK] * 5,
    *(b"HTTP/1.1 200 \r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 503 Busy\xe9\r\n", b"HTTP/1.1 429 Slow\r\n"),
    *(b"HTTP/1.1 204 None\r\n", b"HTTP/1.1 304 Same\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK),
    *(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK, b"HTTP/1.1 101 Other\r\n\r\n"),
    *(b"HTTP/1.1 200\r\n", b"HTTP/1.2 200 OK\r\n", b"HTTP/2.0 200 OK\r\n", b"HTTP/1.1  200 OK\r\n", b"ICY 200 OK\r\n"),
    *(b"HTTP/1.1 +20 OK\r\n", b"HTTP/1.1 0200 OK\r\n", b"HTTP/1.1 600 OK\r\n", b"HTTP/1.1 200 O\0K\r\n"),
    b"HTTP/1.1 200 OK\n",
]
FIELDS = [
    *(b"content-length: 3", b"Content-Length:3 ", b"content-length: 0", b"content-length: 40", b"content-length: 003"),
    *(
        b"content-length: x",
        b"content-length: -1",
        b"content-length: +3",
        b"content-length:",
        b"content-length: 9" * 99,
    ),
    *(b"transfer-encoding: chunked", b"Transfer-Encoding: Chunked", b"transfer-encoding: gzip, chunked"),
    *(b"connection: close", b"connection: keep-alive", b"Connection: Keep-Alive, Close"),
    *(b"content-type: application/json", b"x: \xe9", b"x:", b"x: " + b"y" * 5000),
    *(b"no colon", b" folded", b"a b: c", b": c", b"x: \0", b"x: a\rb", b"x: a\ncontent-length: 3"),
]
BODIES = [
    *(
        b"",
        b"abc",
        b"abcd",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;q=1\r\nabc\r\n0\r\nt: 1\r\n\r\n",
        b"A\r\n0123456789\r\n00\r\n\r\n",
    ),
    *(b"3\r\nabc\r\n0\r\n", b"3\nabc\n0\n\n", b"x\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcde\r\n0\r\n\r\n"),
    *(b"A\r\n0123456789\r\n00\r\n\r\n", OK + b"content-length: 0\r\n\r\n"),
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A head of parts that are mostly right, a body that may fit it, perhaps not all of it."""
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    data = draw(st.sampled_from(LINES)) + b"".join(field + b"\r\n" for field in fields) + b"\r\n"
    data += draw(st.one_of(st.sampled_from(BODIES), st.binary(max_size=20)))
    return data[: draw(st.integers(0, len(data)))] if draw(st.sampled_from([False, False, False, True])) else data


CUTS = st.lists(st.integers(0, 400), max_size=5)


@settings(max_examples=600, deadline=None)
@given(data=answers(), cuts=CUTS)
def test_an_answer_in_any_pieces_is_what_http_client_reads(data: bytes, cuts: list[int]) -> None:
    check(data, cuts)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"HTTP/1.1 ", OK, OK + b"\r\n"]))
def test_garbage_is_refused_by_both_or_by_name(data: bytes, start: bytes) -> None:
    check(start + data, range(len(data)))


def head(*fields: bytes, line: bytes = OK) -> bytes:
    return line + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


DIFFERENCES = {
    "the stream ends, or a line ends in LF alone, in the head or after a chunk": OK,
    "a status line of other parts than HTTP/1.1, three digits and a reason": b"HTTP/1.1 200\r\n\r\n",
    "a field that RFC 9110 does not know: folded, without a name, with a control character": head(b"x: 1", b" 2"),
    "a length that is no number, or given twice": head(b"content-length: 1", b"content-length: 1") + b"a",
    "a coding other than chunked, in small letters and alone": head(b"transfer-encoding: Chunked") + b"0\r\n\r\n",
    "a chunk whose length is no plain hexadecimal number, or that its CRLF does not follow": (
        head(b"transfer-encoding: chunked") + b"+1\r\na\r\n0\r\n\r\n"
    ),
    "more than websockets' parser takes: 1 MiB of body, 8 KiB of line, 128 fields": head(b"x: " + b"y" * 9000),
    "an informational answer is never the last": b"HTTP/1.1 103 Early\r\n\r\n" + head(b"content-length: 0"),
    "204 and 304 have no body, whatever their head says": head(
        b"transfer-encoding: chunked", line=b"HTTP/1.1 204 None\r\n"
    ),
    "http.client takes 100 fields, and 100 informational answers": head(*[b"x: 1"] * 110, b"content-length: 0"),
    "http.client does not know `chunked` before a space": head(b"transfer-encoding: chunked ") + b"0\r\n\r\n",
    "HTTP/1.0 is never kept open": head(b"connection: keep-alive", b"content-length: 0", line=b"HTTP/1.0 200 OK\r\n"),
    "http.client looks at the first Connection field alone": head(
        b"connection: keep-alive", b"connection: close", b"content-length: 0"
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_that_has_a_name_is_one(name: str) -> None:
    data = DIFFERENCES[name]
    assert difference(data, ours(data), reference(data)) == name
    assert check(data, range(len(data))) == name


@pytest.mark.parametrize(
    "field",
    [b"no colon", b" folded", b"a b: c", b": c", b"x: \0", b"x: a\rb", b"x: a\nb: c", b"content-length: x"],
)
def test_a_head_that_is_refused_in_pieces_is_refused_whole(field: bytes) -> None:
    """What is cut out in place is looked at no less."""
    data = head(field, b"content-length: 3") + b"abc"
    assert not isinstance(ours(data, [1]), Read)
    assert not isinstance(ours(data), Read)


@pytest.mark.parametrize("fields", [127, 128])
def test_so_many_fields_are_too_many_in_pieces_and_whole(fields: int) -> None:
    data = head(*[b"x:"] * fields, b"content-length: 0")
    assert isinstance(ours(data, [1]), Read) == isinstance(ours(data), Read) == (fields < 128)
