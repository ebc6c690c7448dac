"""HTTP/1.1 without a socket: requests whole, byte by byte and with a tail; and what is none."""

import pytest

from simulator.wire.http1 import HEAD_MAX_BYTES, BadRequest, Reader, answer_head
from simulator.wire.request import BODY_MAX_BYTES, Request

BODY = bytes(range(256)) * 5
POST = b"POST /infer HTTP/1.1\r\nhost: x\r\nX-CPU-Passes: 4\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = (
    b"POST /infer HTTP/1.1\r\nx-cpu-passes: 7\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n5;note=1\r\ndefgh\r\n0\r\ntrailer: 1\r\n\r\n"
)
GET = b"GET /health HTTP/1.1\r\n\r\n"
INPUTS = {
    "a body": (POST, Request("POST", "/infer", "4", BODY), False),
    "chunks": (CHUNKED, Request("POST", "/infer", "7", b"abcdefgh"), False),
    "no body": (GET, Request("GET", "/health", None, b""), False),
    "the last one": (
        b"GET /stats HTTP/1.1\r\nConnection: close\r\n\r\n",
        Request("GET", "/stats", None, b""),
        True,
    ),
    "HTTP/1.0": (b"GET /stats HTTP/1.0\r\n\r\n", Request("GET", "/stats", None, b""), True),
    "an empty line before it": (b"\r\n" + GET, Request("GET", "/health", None, b""), False),
}


def read_all(pieces: list[bytes]) -> list[tuple[Request, bool]]:
    reader, found = Reader(), []
    for piece in pieces:
        reader.feed(piece)
        while (one := reader.next()) is not None:
            found.append(one)
    return found


@pytest.mark.parametrize(("data", "request_", "is_last"), INPUTS.values(), ids=INPUTS)
def test_whole_byte_by_byte_and_with_a_tail(data: bytes, request_: Request, is_last: bool) -> None:
    wanted = (request_, is_last)
    assert read_all([data]) == [wanted]
    assert read_all([data[at : at + 1] for at in range(len(data))]) == [wanted]
    assert read_all([data + data, GET]) == [wanted, wanted, INPUTS["no body"][1:]]
    assert read_all([data[:-1]]) == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/3\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nspace : 1\r\n\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (BODY_MAX_BYTES + 1), 413),
        (b"POST /infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % (BODY_MAX_BYTES + 1), 413),
        (b"POST /infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (b"POST /infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"0" * 300, 400),
        (b"x" * (HEAD_MAX_BYTES + 1), 431),
    ],
)
def test_refuses_what_is_no_request(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        read_all([data])
    assert caught.value.status == status


def test_a_client_that_waits_for_leave_to_send_its_body_is_seen_once() -> None:
    reader = Reader()
    reader.feed(b"POST /infer HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert reader.next() is None
    assert reader.must_continue
    reader.must_continue = False
    reader.feed(b"ab")
    assert reader.next() == (Request("POST", "/infer", None, b"ab"), False)
    assert not reader.must_continue


def test_an_answers_head() -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 12\r\n"
    assert answer_head(429, 12, is_last=False) == head + b"\r\n"
    assert answer_head(429, 12, is_last=True) == head + b"connection: close\r\n\r\n"
    assert answer_head(599, 0, is_last=False).startswith(b"HTTP/1.1 599 ")
