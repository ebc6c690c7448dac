"""HTTP/2 without a socket, against the h2 library as its client: in whatever pieces, within windows; and broken."""

import struct
from typing import Any

import pytest
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from simulator.wire.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_MAX_BYTES,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Asked,
    Cancelled,
    Connection2,
    ConnectionError2,
    Event,
    frame,
)
from simulator.wire.request import BODY_MAX_BYTES, Request

BODY = bytes(range(256)) * 125
FIELDS = [(":method", "POST"), (":path", "/infer"), (":scheme", "http"), (":authority", "x"), ("x-cpu-passes", "4")]


class Pair:
    """A connection of ours and a client of h2's, joined by hand."""

    def __init__(self) -> None:
        self.ours = Connection2()
        self.client = H2Connection()
        self.client.initiate_connection()
        opening = self.client.data_to_send()
        assert opening.startswith(PREFACE)
        self.ours.receive(opening[len(PREFACE) :])
        self.back()
        self.ours.receive(self.client.data_to_send())

    def ask(self, body: bytes = BODY, fields: list[tuple[str, str]] = FIELDS) -> tuple[int, bytes]:
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, fields)
        while body:
            size = min(self.client.max_outbound_frame_size, self.client.local_flow_control_window(stream))
            self.client.send_data(stream, body[:size])
            body = body[size:]
        self.client.end_stream(stream)
        return stream, self.client.data_to_send()

    def back(self) -> list[Any]:
        return list(self.client.receive_data(self.ours.take()))


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_whole_byte_by_byte_and_with_a_tail(pair: Pair) -> None:
    asked = Request("POST", "/infer", "4", BODY)
    first, data = pair.ask()
    second, more = pair.ask()
    tail = frame(PING, 0, 0, bytes(8))
    assert pair.ours.receive(data + tail[:5]) == [Asked(first, asked)]
    events: list[Event] = []
    for byte in tail[5:] + more:
        events += pair.ours.receive(bytes([byte]))
    assert events == [Asked(second, asked)]
    out = pair.ours.take()
    assert frame(PING, ACK, 0, bytes(8)) in out
    pair.client.receive_data(out)
    pair.ours.answer(first, 200, b'{"a":1}', 7)
    pair.ours.answer(second, 429, b"", 0)
    events_back = pair.back()
    answers = {e.stream_id: dict(e.headers)[b":status"] for e in events_back if isinstance(e, ResponseReceived)}
    assert answers == {first: b"200", second: b"429"}
    assert [e.data for e in events_back if isinstance(e, DataReceived)] == [b'{"a":1}', b""]
    assert [e.stream_id for e in events_back if isinstance(e, StreamEnded)] == [first, second]


def test_header_blocks_are_understood_anew_when_the_dynamic_table_changes(pair: Pair) -> None:
    """A block of indexed fields is remembered; another header shifts what its indices mean."""
    for passes in ("4", "4", "7", "4", "7", "5", "7"):
        stream, data = pair.ask(b"ab", [*FIELDS[:-1], ("x-cpu-passes", passes)])
        assert pair.ours.receive(data) == [Asked(stream, Request("POST", "/infer", passes, b"ab"))]


def test_a_request_without_a_body_and_one_with_trailers(pair: Pair) -> None:
    stream = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream, [*FIELDS[:-1]], end_stream=True)
    assert pair.ours.receive(pair.client.data_to_send()) == [Asked(stream, Request("POST", "/infer", None, b""))]
    stream = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream, FIELDS)
    pair.client.send_data(stream, b"ab", pad_length=3)
    pair.client.send_headers(stream, [("checksum", "1")], end_stream=True)
    assert pair.ours.receive(pair.client.data_to_send()) == [Asked(stream, Request("POST", "/infer", "4", b"ab"))]


def test_a_header_block_in_pieces_with_padding_and_priority(pair: Pair) -> None:
    stream, data = pair.ask(b"")
    block = data[9 : 9 + int.from_bytes(data[:3], "big")]
    padded = bytes([4]) + bytes(5) + block[:3] + bytes(4)
    pieces = frame(HEADERS, END_STREAM | PADDED | PRIORITY_FLAG, stream, padded)
    pieces += frame(CONTINUATION, 0, stream, block[3:6]) + frame(CONTINUATION, END_HEADERS, stream, block[6:])
    pieces = frame(PRIORITY, 0, stream, bytes(5)) + pieces + frame(0x77, 0, 0, b"unknown")
    assert pair.ours.receive(pieces) == [Asked(stream, Request("POST", "/infer", "4", b""))]


def test_a_cancelled_stream_gets_no_answer_and_late_data_on_it_is_no_error(pair: Pair) -> None:
    stream, data = pair.ask()
    pair.ours.receive(data)
    pair.client.reset_stream(stream, error_code=8)
    assert pair.ours.receive(pair.client.data_to_send()) == [Cancelled(stream)]
    pair.ours.answer(stream, 200, b"{}", 2)
    assert pair.ours.receive(frame(DATA, 0, stream, b"late") + frame(RST_STREAM, 0, stream, bytes(4))) == []
    assert pair.ours.take() == b""


def test_answers_wait_for_the_clients_windows() -> None:
    pair = Pair()
    pair.ours.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
    stream, data = pair.ask(b"ab")
    pair.ours.receive(data)
    pair.ours.take()
    pair.ours.answer(stream, 200, bytes(range(25)), 25)
    sent = pair.ours.take()
    assert sent.endswith(frame(DATA, 0, stream, bytes(range(10))))
    pair.ours.receive(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 4)))
    assert pair.ours.take() == frame(DATA, 0, stream, bytes(range(10, 14)))
    pair.ours.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 30)))
    assert pair.ours.take() == frame(SETTINGS, ACK, 0) + frame(DATA, END_STREAM, stream, bytes(range(14, 25)))


def test_a_large_answer_goes_out_in_frames_of_the_clients_size_and_window(pair: Pair) -> None:
    stream, data = pair.ask(b"ab")
    pair.ours.receive(data)
    body = bytes(100_000)
    pair.ours.answer(stream, 200, body, len(body))
    got = b""
    for _ in range(10):
        for event in pair.back():
            if isinstance(event, DataReceived):
                assert len(event.data) <= 16_384
                got += event.data
                pair.client.acknowledge_received_data(event.flow_controlled_length, stream)
            if isinstance(event, StreamEnded):
                assert got == body
                return
        pair.ours.receive(pair.client.data_to_send())
    pytest.fail(f"{len(got)} of {len(body)} bytes came")


def test_credit_comes_back_however_much_a_client_sends(pair: Pair) -> None:
    for _ in range(80):
        stream, data = pair.ask(bytes(1 << 20))
        pair.ours.receive(data)
        pair.ours.answer(stream, 200, b"{}", 2)
        pair.back()
        pair.ours.receive(pair.client.data_to_send())
    assert pair.client.outbound_flow_control_window > 16 << 20


def test_half_an_answer_leaves_the_stream_open(pair: Pair) -> None:
    stream, data = pair.ask(b"ab")
    pair.ours.receive(data)
    pair.ours.answer(stream, 200, b"01234", 10, ends=False)
    events = pair.back()
    assert [e.data for e in events if isinstance(e, DataReceived)] == [b"01234"]
    assert not any(isinstance(e, StreamEnded) for e in events)


@pytest.mark.parametrize("fields", [FIELDS[:1], [*FIELDS, ("content-length", "5")], [*FIELDS, ("content-length", "x")]])
def test_a_request_that_is_none_is_reset_and_the_connection_goes_on(pair: Pair, fields: list[tuple[str, str]]) -> None:
    pair.client.config.validate_outbound_headers = False
    stream, data = pair.ask(b"ab", fields)
    assert pair.ours.receive(data) == []
    assert [e.stream_id for e in pair.back() if isinstance(e, StreamReset)] == [stream]
    stream, data = pair.ask(b"ab")
    assert len(pair.ours.receive(data)) == 1


def test_a_body_past_the_limit_is_reset(pair: Pair) -> None:
    stream, data = pair.ask(b"")
    head = data[: 9 + int.from_bytes(data[:3], "big")]
    pair.ours.receive(head[:4] + bytes([END_HEADERS]) + head[5:])
    for _ in range(BODY_MAX_BYTES // FRAME_MAX_BYTES + 1):
        assert pair.ours.receive(frame(DATA, 0, stream, bytes(FRAME_MAX_BYTES))) == []
    assert frame(RST_STREAM, 0, stream, struct.pack(">I", 1)) in pair.ours.take()
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x82")
    assert pair.ours.receive(trailers) == []  # they had left before the client knew


def test_a_long_body_gets_credit_for_its_stream(pair: Pair) -> None:
    stream, data = pair.ask(b"")
    head = data[: 9 + int.from_bytes(data[:3], "big")]
    pair.ours.receive(head[:4] + bytes([END_HEADERS]) + head[5:])
    for _ in range(16):
        pair.ours.receive(frame(DATA, 0, stream, bytes(FRAME_MAX_BYTES)))
    assert frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1 << 20)) in pair.ours.take()


def test_a_window_that_shrank_below_nothing_lets_an_empty_end_through_and_nothing_else(pair: Pair) -> None:
    first, data = pair.ask(b"ab")
    second, more = pair.ask(b"ab")
    pair.ours.receive(data + more + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    pair.ours.take()
    pair.ours.answer(first, 200, b"0123", 4)
    pair.ours.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2)))
    assert frame(DATA, 0, first, b"01") in pair.ours.take()
    pair.ours.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))  # its window is at -2 now
    pair.ours.take()
    pair.ours.answer(second, 200, b"", 0)
    assert pair.ours.take().endswith(frame(DATA, END_STREAM, second))
    pair.ours.receive(frame(WINDOW_UPDATE, 0, first, struct.pack(">I", 3)))
    assert pair.ours.take() == frame(DATA, 0, first, b"2")


def test_half_of_a_large_answer_keeps_to_the_clients_frame_size(pair: Pair) -> None:
    stream, data = pair.ask(b"ab")
    pair.ours.receive(data)
    pair.ours.answer(stream, 200, bytes(50_000), 100_000, ends=False)
    assert sum(len(e.data) for e in pair.back() if isinstance(e, DataReceived)) == 16_384


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(DATA, 0, 1, b"x"), 1),
        (frame(DATA, 0, 0, b"x"), 1),
        (frame(HEADERS, END_HEADERS, 2, b"\x82"), 1),
        (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"), 9),
        (frame(HEADERS, 0, 1, b"\x82") + frame(PING, 0, 0, bytes(8)), 1),
        (frame(CONTINUATION, END_HEADERS, 1, b"\x82"), 1),
        (frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05\x82"), 1),
        (frame(SETTINGS, 0, 0, b"12345"), 6),
        (frame(SETTINGS, 0, 1), 1),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), 3),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100)), 1),
        (frame(PING, 0, 0, b"1"), 6),
        (frame(PING, 0, 1, bytes(8)), 1),
        (frame(WINDOW_UPDATE, 0, 0, bytes(4)), 1),
        (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, 3),
        (frame(RST_STREAM, 0, 1, bytes(4)), 1),
        (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(5)), 1),
        (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", 6),
        (frame(HEADERS, END_STREAM | END_HEADERS, 3, b"\x82\x84") + frame(HEADERS, END_HEADERS, 1, b"\x82"), 5),
    ],
)
def test_broken_framing_ends_the_connection_with_its_code(pair: Pair, data: bytes, code: int) -> None:
    with pytest.raises(ConnectionError2) as caught:
        pair.ours.receive(data)
    assert caught.value.code == code
    (ended,) = [event for event in pair.back() if isinstance(event, ConnectionTerminated)]
    assert ended.error_code == code
