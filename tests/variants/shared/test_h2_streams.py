"""The HTTP/2 client core against h2's own server side, in memory: whole, byte by byte, and with a tail."""

from collections.abc import Callable, Iterator

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from gateway import Infer
from variants.shared.h2_streams import H2Streams, Lost, Outcome
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


CUTS = pytest.mark.parametrize("cut", [whole, bytewise])


def batch(frames: int = 1) -> Infer:
    return Infer([bytes(640 * frames)], 640 * frames, 4)


class Server:
    """The other end."""

    def __init__(self, streams: H2Streams[str], settings: dict[SettingCodes | int, int] | None = None) -> None:
        self.streams = streams
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.reset: list[int] = []

    def take(self) -> None:
        """What the client has written."""
        for event in self.h2.receive_data(self.streams.data_to_send()):
            match event:
                case RequestReceived():
                    self.begun.append(event.stream_id or 0)
                case DataReceived():
                    self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                case StreamEnded():
                    self.ended.append(event.stream_id or 0)
                case StreamReset():
                    self.reset.append(event.stream_id or 0)

    def answer(self, stream: int, body: bytes = b"{}") -> bytes:
        self.h2.send_headers(stream, [(":status", "200")])
        self.h2.send_data(stream, body, end_stream=True)
        return self.h2.data_to_send()

    def give(self, data: bytes, cut: Cut = whole) -> list[Outcome[str]]:
        outcomes: list[Outcome[str]] = []
        for part in cut(data):
            outcomes += self.streams.receive(part)
        return outcomes

    def exchange(self) -> list[Outcome[str]]:
        """To and fro until nobody has anything to say."""
        outcomes: list[Outcome[str]] = []
        while True:
            self.take()
            data = self.h2.data_to_send()
            if not data:
                return outcomes
            outcomes += self.give(data)


def goaway(last_stream: int) -> bytes:
    return GoAwayFrame(0, last_stream_id=last_stream).serialize()


@CUTS
def test_a_graceful_goaway_lets_the_streams_up_to_its_last_finish(cut: Cut) -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    first, second, third = (streams.begin(batch(), name) for name in ("first", "second", "third"))
    server.exchange()
    data = server.answer(first, b"1") + goaway(second) + server.answer(second, b"2")
    assert server.give(data, cut) == [
        ("first", Answer(200, b"1")),
        ("third", Lost("the inference server is going away (<ErrorCodes.NO_ERROR: 0>)")),
        ("second", Answer(200, b"2")),
    ]
    assert third not in server.reset
    assert not streams.usable
    assert streams.idle
    assert streams.broken is None


def test_a_body_that_a_window_holds_back_goes_on_after_goaway() -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    stream = streams.begin(batch(frames=300), "large")  # past the first window of 65 535 bytes
    server.give(goaway(stream))
    server.exchange()
    assert server.ended == [stream]
    assert server.give(server.answer(stream)) == [("large", Answer(200, b"{}"))]


def test_stream_ids_used_up_are_the_end_of_a_connections_use() -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    streams._h2.highest_outbound_stream_id = 2**31 - 5  # as after a billion requests
    assert streams.has_room
    last = streams.begin(batch(), "next but last"), streams.begin(batch(), "last")
    assert last == (2**31 - 3, 2**31 - 1)
    assert not streams.usable
    assert not streams.has_room
    assert not streams.idle
    server.exchange()
    assert server.give(server.answer(last[1])) == [("last", Answer(200, b"{}"))]


def test_an_answer_before_the_end_of_the_body_cancels_the_rest() -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    stream = streams.begin(batch(frames=300), "large")
    server.take()  # gives no window back: nothing of it is handed over
    assert server.give(server.answer(stream)) == [("large", Answer(200, b"{}"))]
    server.take()
    assert server.reset == [stream]
    assert streams.idle


@CUTS
def test_no_more_of_an_answer_is_read_than_the_limit(cut: Cut) -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    stream = streams.begin(batch(), "long")
    server.exchange()
    server.h2.send_headers(stream, [(":status", "200")])
    outcomes: list[Outcome[str]] = []
    sent = 0
    while not server.reset:
        server.h2.send_data(stream, bytes(16_000))
        sent += 16_000
        for part in cut(server.h2.data_to_send()):
            outcomes += streams.receive(part)
        server.take()
    assert outcomes == [("long", Answer(200, bytes(sent)))]
    assert ANSWER_LIMIT_BYTES < sent <= ANSWER_LIMIT_BYTES + 16_000
    assert streams.idle


def test_the_servers_limit_of_streams_holds() -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    server.exchange()
    first = streams.begin(batch(), "first")
    assert not streams.has_room
    assert streams.usable
    server.exchange()
    server.give(server.answer(first))
    assert streams.has_room


def test_a_request_that_is_given_up_is_told_nothing_and_its_stream_is_reset() -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    stream = streams.begin(batch(), "late")
    server.exchange()
    answer = server.answer(stream)
    streams.cancel(stream)
    streams.cancel(stream)
    assert server.give(answer) == []
    assert streams.idle


@CUTS
@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + bytes(4), b"\xff" * 64]
)
def test_garbage_is_the_end_for_everybody_on_it_and_each_is_told_once(garbage: bytes, cut: Cut) -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    for name in ("first", "second"):
        streams.begin(batch(), name)
    outcomes: list[Outcome[str]] = []
    for part in cut(garbage + bytes(1 << 15)):
        outcomes += streams.receive(part)
        if streams.broken is not None:
            break
    assert [token for token, what in outcomes if isinstance(what, Lost)] == ["first", "second"]
    assert not streams.usable
    assert streams.lose("ended") == []


@pytest.mark.parametrize("status", ["", "OK", "-1", "2" * 5000])
def test_a_status_that_is_no_number_fails_that_request_alone(status: str) -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    first, second = streams.begin(batch(), "first"), streams.begin(batch(), "second")
    server.exchange()
    server.h2.config.validate_outbound_headers = False
    server.h2.send_headers(first, [(":status", status)])
    (failed,) = server.give(server.h2.data_to_send())
    assert failed.token == "first"
    assert isinstance(failed.what, Lost)
    assert server.give(server.answer(second)) == [("second", Answer(200, b"{}"))]


def test_a_window_and_a_reset_in_one_segment_end_the_request_that_waited_for_the_window() -> None:
    """A server that refuses a large body gives back what it has read of it, and resets the stream."""
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    stream, other = streams.begin(batch(frames=150), "large"), streams.begin(batch(), "other")
    server.take()
    for of in (None, stream):
        server.h2.increment_flow_control_window(1000, of)
    server.h2.reset_stream(stream)
    (lost,) = server.give(server.h2.data_to_send())
    assert lost.token == "large"
    assert isinstance(lost.what, Lost)
    assert streams.has_room
    server.exchange()
    assert server.give(server.answer(other)) == [("other", Answer(200, b"{}"))]


@pytest.mark.xfail(reason="h2 4.4: a 1xx on a stream that was reset ends the connection", strict=True)
def test_an_informational_answer_that_crosses_a_reset_costs_nobody_else() -> None:
    streams = H2Streams[str]("inference:1")
    server = Server(streams)
    server.exchange()
    stream, _ = streams.begin(batch(), "late"), streams.begin(batch(), "other")
    server.exchange()
    streams.cancel(stream)
    server.h2.send_headers(stream, [(":status", "103")])
    assert server.give(server.h2.data_to_send()) == []
