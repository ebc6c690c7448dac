"""What a client is told of batches that failed and of frames that were dropped."""

import pytest

from gateway import FRAME_BYTES, Failure, SessionSettings, connection_reset, inference_timeout, pool_timeout
from tests.gateway.wire import FakeWire, answer_body, ranges, run

STATUSES = [
    (429, "http_429", True),
    (500, "http_5xx", True),
    (502, "http_5xx", True),
    (503, "http_5xx", True),
    (599, "http_5xx", True),
    (400, "http_5xx", False),
    (404, "http_5xx", False),
    (413, "http_5xx", False),
    (499, "http_5xx", False),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
def test_an_error_status(status: int, kind: str, retryable: bool) -> None:
    wire = FakeWire()
    wire.feed(1, 2, 0.25)
    wire.feed(3, 1, 0.75)
    wire.tick(1.125)
    wire.feed(4, 5, 1.2)
    error = wire.answer(1.5, status=status, body=b"whatever")
    assert error is not None
    message = error.pop("message")
    assert str(status) in message
    assert error == {
        "type": "error",
        "stage": "inference_request",
        "kind": kind,
        "oldest_frame_seq": 1,
        "newest_frame_seq": 3,
        "frames": 3,
        "audio_bytes": 3 * FRAME_BYTES,
        "oldest_age_ms": 1250.0,
        "newest_age_ms": 750.0,
        "flush_lateness_ms": 125.0,
        "inference_elapsed_ms": 375.0,
        "inflight_gateway_batches": 1,
        "gateway_buffer_frames": 5,
        "inference_status": status,
        "retryable": retryable,
    }


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (pool_timeout(), "pool_timeout"),
        (inference_timeout(), "timeout"),
        (connection_reset("refused"), "connection_reset"),
    ],
)
def test_a_request_without_an_answer(failure: Failure, kind: str) -> None:
    wire = FakeWire()
    wire.feed(1, 1, 0.0)
    wire.tick(1.0)
    error = wire.fail(failure, 3.0)
    assert error is not None
    assert (error["stage"], error["kind"], error["retryable"]) == ("inference_request", kind, True)
    assert error["inference_status"] is None
    assert error["inference_elapsed_ms"] == 2000.0


@pytest.mark.parametrize("body", [b"", b"garbage", b"{}", b"\xff", answer_body(640, extra=1), answer_body(1280)])
def test_an_answer_that_is_no_prediction(body: bytes) -> None:
    wire = FakeWire()
    wire.feed(1, 1, 0.0)
    wire.tick(1.0)
    error = wire.answer(1.5, body=body)
    assert error is not None
    assert (error["stage"], error["kind"]) == ("inference_response_parse", "parse_error")
    assert (error["retryable"], error["inference_status"]) == (False, 200)


def test_after_a_failure_the_next_tick_goes_on_and_sends_nothing_again() -> None:
    wire = FakeWire()
    wire.feed(1, 3, 0.5)
    wire.tick(1.0)
    wire.answer(1.1, status=500, body=b"")
    assert wire.tick(2.0) == []  # nothing new: the failed batch is gone
    wire.feed(4, 2, 2.5)
    assert wire.tick(3.0) == ["infer"]
    wire.answer(3.1)
    assert wire.batches == [run(1, 3), run(4, 2)]
    assert ranges(wire.messages) == [("http_5xx", 1, 3), ("partial", 4, 5)]


# --- overflow ---


def test_overflow_is_reported_once_before_the_frames_behind_it() -> None:
    wire = FakeWire(SessionSettings(buffer_seconds=1.0))  # 50 frames
    wire.feed(1, 10, 0.25)
    wire.feed(11, 50, 0.75)
    wire.feed(61, 3, 0.875)
    assert wire.tick(1.0) == ["overflow", "infer"]
    wire.answer(1.1)
    overflow, partial = wire.messages
    assert ranges([overflow, partial]) == [("overflow", 1, 13), ("partial", 14, 63)]
    assert wire.batches == [run(14, 50)]
    assert (overflow["stage"], overflow["retryable"]) == ("websocket_receive", True)
    assert (overflow["oldest_age_ms"], overflow["newest_age_ms"]) == (750.0, 250.0)
    assert overflow["inference_elapsed_ms"] is None
    assert overflow["inference_status"] is None
    assert overflow["gateway_buffer_frames"] == 50
    wire.feed(64, 1, 1.5)
    assert wire.tick(2.0) == ["infer"]


def test_overflow_during_a_flight_waits_for_the_answer_in_front_of_it() -> None:
    wire = FakeWire(SessionSettings(buffer_seconds=0.1))  # 5 frames
    wire.feed(1, 5, 0.5)
    assert wire.tick(1.0) == ["infer"]
    wire.session.frames(run(6, 7), 1.5)
    assert wire.tick(2.0) == []
    wire.feed(13, 2, 2.5)
    wire.answer(2.75)
    assert wire.tick(3.0) == ["overflow", "infer"]
    wire.answer(3.1)
    assert ranges(wire.messages) == [("partial", 1, 5), ("overflow", 6, 9), ("partial", 10, 14)]


def test_the_default_bound_is_30_seconds() -> None:
    wire = FakeWire()
    wire.feed(1, 1500, 0.0)
    assert wire.tick(1.0) == ["infer"]
    wire.feed(1501, 1501, 1.5)
    wire.answer(1.9)
    assert wire.tick(2.0) == ["overflow", "infer"]
    assert ranges(wire.messages)[-1] == ("overflow", 1501, 1501)
