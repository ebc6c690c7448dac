"""One session, rule by rule: what PROTOCOL's table of the gateway says, with a fake wire and a passed-in clock."""

import pytest

from gateway import Close, Session, SessionMisuse, SessionSettings, inference_timeout, pool_timeout
from tests.gateway.wire import START, FakeWire, answer_body, checked, code, frame, ranges, run

GOLDEN = (
    b'{"rms":2425.5023191083533,"zero_crossings":7,"checksum":1745339397,"samples":1280,'
    b'"transcript":"now","audio_bytes":640}'
)


def test_a_golden_answer_passes_through_into_the_partial() -> None:
    wire = FakeWire(phase_ms=250.0, start_s=10.0)
    wire.feed(1, 1, 10.0)
    assert wire.tick(11.253) == ["infer"]
    assert wire.flight is not None
    assert wire.flight.cpu_passes == 4
    text = wire.session.answered(200, GOLDEN, 11.33)
    assert text is not None
    assert checked(text.text) == {
        "type": "partial",
        "oldest_frame_seq": 1,
        "newest_frame_seq": 1,
        "frames": 1,
        "rms": 2425.5023191083533,
        "zero_crossings": 7,
        "checksum": 1745339397,
        "samples": 1280,
        "transcript": "now",
        "audio_bytes": 640,
        "cpu_passes": 4,
        "model_delay_ms": 75,
        "flush_lateness_ms": 3.0,
        "inflight_model_jobs": 0,
    }


def test_an_odd_transcript_stays_itself() -> None:
    wire = FakeWire()
    wire.feed(1, 1, 0.0)
    wire.tick(1.0)
    partial = wire.answer(1.0, body=answer_body(640, transcript='"é"\\\n\u2028\x00'))
    assert partial is not None
    assert partial["transcript"] == '"é"\\\n\u2028\x00'


def test_settings_reach_the_request_and_the_partial() -> None:
    wire = FakeWire(SessionSettings(cpu_passes=7, model_delay_ms=120, flush_interval_ms=500.0))
    wire.feed(1, 1, 0.0)
    assert wire.tick(0.5) == ["infer"]
    assert wire.flight is not None
    assert wire.flight.cpu_passes == 7
    partial = wire.answer(0.6)
    assert partial is not None
    assert (partial["cpu_passes"], partial["model_delay_ms"]) == (7, 120)


# --- the flush schedule ---


def test_nothing_before_the_first_tick_and_nothing_without_frames() -> None:
    wire = FakeWire(phase_ms=500.0)
    wire.feed(1, 3, 0.0)
    assert wire.tick(1.4999) == []
    assert wire.tick(1.5) == ["infer"]
    wire.answer(1.6)
    assert wire.tick(2.5) == []
    wire.feed(4, 1, 2.6)
    assert wire.tick(3.4999) == []
    assert wire.tick(3.5) == ["infer"]
    assert ranges(wire.messages) == [("partial", 1, 3)]


def test_lateness_is_counted_from_the_earliest_tick_that_is_covered() -> None:
    wire = FakeWire()
    wire.feed(1, 5, 0.0)
    assert wire.tick(3.25) == ["infer"]
    partial = wire.answer(3.5)
    assert partial is not None
    assert partial["flush_lateness_ms"] == 2250.0
    wire.feed(6, 1, 3.6)
    assert wire.tick(3.99) == []  # ticks 2 and 3 are not made up
    assert wire.tick(4.0) == ["infer"]
    partial = wire.answer(4.5)
    assert partial is not None
    assert partial["flush_lateness_ms"] == 0.0


def test_ticks_that_fall_into_a_flight_are_over_when_it_ends() -> None:
    for call_during_flight in (False, True):
        wire = FakeWire()
        wire.feed(1, 1, 0.0)
        wire.tick(1.0)
        wire.feed(2, 1, 1.5)
        if call_during_flight:
            assert wire.tick(2.0) == wire.tick(3.0) == []
        wire.answer(3.25)
        assert wire.session.next_due_s == 4.0
        assert wire.tick(3.25) == []
        assert wire.tick(4.125) == ["infer"]
        partial = wire.answer(4.2)
        assert partial is not None
        assert partial["flush_lateness_ms"] == 125.0
        assert ranges(wire.messages) == [("partial", 1, 1), ("partial", 2, 2)]


# --- one in flight, and the outbox ---


def test_never_two_requests_in_flight() -> None:
    wire = FakeWire()
    wire.feed(1, 50, 0.0)
    assert wire.tick(1.0) == ["infer"]
    wire.feed(51, 50, 1.5)
    for now_s in (1.0, 1.5, 2.0, 2.5, 3.0):
        assert wire.tick(now_s) == []
    assert wire.session.in_flight
    assert wire.session.buffered_frames == 50
    wire.answer(3.5)
    assert not wire.session.in_flight
    assert wire.tick(4.0) == ["infer"]
    assert wire.batches == [run(1, 50), run(51, 50)]


def test_four_waiting_messages_hold_the_ticks_back() -> None:
    wire = FakeWire()
    for second in range(1, 5):
        wire.feed(second, 1, second - 0.5)
        assert wire.tick(second) == ["infer"]
        wire.answer(second + 0.1)
    assert wire.waiting == 4
    wire.feed(5, 1, 4.5)
    assert wire.tick(5.0) == wire.tick(6.0) == []
    wire.feed(6, 1, 6.5)
    wire.write()
    assert wire.tick(7.0) == ["infer"]
    wire.answer(7.1)
    assert wire.messages[-1]["oldest_frame_seq"] == 5
    assert wire.messages[-1]["newest_frame_seq"] == 6
    wire.feed(7, 1, 7.5)
    assert wire.tick(8.0) == []


def test_errors_wait_in_the_outbox_too() -> None:
    wire = FakeWire(SessionSettings(outbox_messages=1))
    wire.feed(1, 1, 0.5)
    wire.tick(1.0)
    wire.fail(pool_timeout(), 2.0)
    wire.feed(2, 1, 2.5)
    assert wire.tick(3.0) == []
    wire.write()
    assert wire.tick(4.0) == ["infer"]


# --- what ends a connection ---

BAD_MESSAGES = {
    "empty": b"",
    "one short": bytes(639),
    "one long": bytes(641),
    "two frames": bytes(1280),
    "64 KiB": bytes(65536),
    "text": "x" * 640,
    "empty text": "",
    "start again": START,
}


@pytest.mark.parametrize("message", BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_a_wrong_message_closes_with_1003(message: str | bytes) -> None:
    wire = FakeWire()
    wire.feed(1, 2, 0.5)
    close = wire.session.frame(message, 0.6)
    assert isinstance(close, Close)
    assert close.code == 1003
    assert 0 < len(close.reason.encode()) <= 123
    assert wire.tick(1.0) == []
    assert code(wire.session.frame(frame(3), 1.0)) is None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_frame_may_be_any_bytes(kind: type) -> None:
    wire = FakeWire()
    assert wire.session.frame(kind(frame(1)), 0.0) is None
    assert wire.tick(1.0) == ["infer"]
    assert wire.batches == [frame(1)]


def test_a_closed_session_lets_its_audio_go_and_says_nothing_more() -> None:
    wire = FakeWire()
    wire.feed(1, 5, 0.5)
    wire.tick(1.0)
    wire.feed(6, 5, 1.5)
    wire.session.close()
    assert wire.session.buffered_frames == 0
    assert wire.answer(1.6) is None
    wire.feed(11, 5, 1.7)
    wire.session.frames(run(16, 5), 1.7)
    assert wire.session.buffered_frames == 0
    assert wire.tick(2.0) == []
    wire.session.close()


def test_a_failure_after_the_close_says_nothing() -> None:
    for outcome in ("failed", "refused", "garbage"):
        wire = FakeWire()
        wire.feed(1, 1, 0.5)
        wire.tick(1.0)
        wire.session.close()
        if outcome == "failed":
            assert wire.fail(inference_timeout(), 3.0) is None
        else:
            assert wire.answer(3.0, status=500 if outcome == "refused" else 200, body=b"x") is None
        assert not wire.session.in_flight


def test_a_message_that_was_waiting_at_the_close_may_still_be_written() -> None:
    wire = FakeWire()
    wire.feed(1, 1, 0.5)
    wire.tick(1.0)
    wire.answer(1.1)
    wire.session.close()
    wire.write()
    with pytest.raises(SessionMisuse):
        wire.session.written()


# --- misuse: an error of the host's, never of the peer's ---


def test_verbs_before_start_are_misuse() -> None:
    session = Session(SessionSettings(), 0.0)
    assert not session.started
    with pytest.raises(SessionMisuse, match="before start"):
        session.frame(frame(1), 0.0)
    with pytest.raises(SessionMisuse, match="after start"):
        session.frames(run(1, 2), 0.0)
    with pytest.raises(SessionMisuse, match="before start"):
        session.tick(0.0)
    with pytest.raises(SessionMisuse, match="before start"):
        _ = session.next_due_s


@pytest.mark.parametrize("length", [0, 1, 639, 641, 1919])
def test_a_run_is_whole_frames(length: int) -> None:
    wire = FakeWire()
    with pytest.raises(SessionMisuse, match=str(length)):
        wire.session.frames(bytes(length), 0.0)
    assert wire.session.buffered_frames == 0


def test_an_outcome_without_a_flight_is_misuse() -> None:
    wire = FakeWire()
    with pytest.raises(SessionMisuse, match="in flight"):
        wire.session.answered(200, GOLDEN, 1.0)
    with pytest.raises(SessionMisuse, match="in flight"):
        wire.session.failed(pool_timeout(), 1.0)
    wire.feed(1, 1, 0.5)
    wire.second(1.0)
    with pytest.raises(SessionMisuse, match="in flight"):
        wire.session.answered(200, GOLDEN, 1.1)


def test_written_without_a_message_is_misuse() -> None:
    with pytest.raises(SessionMisuse, match="waits"):
        FakeWire().session.written()


# --- settings ---


@pytest.mark.parametrize("name", ["flush_interval_ms", "buffer_seconds", "outbox_messages", "cpu_passes"])
@pytest.mark.parametrize("value", [0, -1])
def test_settings_name_what_is_wrong(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        SessionSettings(**{name: value})


def test_a_buffer_has_room_for_a_frame() -> None:
    with pytest.raises(ValueError, match="20 ms"):
        SessionSettings(buffer_seconds=0.019)
    assert SessionSettings(buffer_seconds=0.02).buffer_frames == 1


# --- the host ends ---


def test_a_session_that_leaves_sends_nothing_new_and_still_tells_what_it_owes() -> None:
    wire = FakeWire()
    wire.feed(1, 5, 0.0)
    assert wire.tick(1.0) == ["infer"]
    assert wire.session.leave() == Close(1001, "the gateway is going away")
    wire.feed(6, 5, 1.1)
    assert wire.session.owes
    assert wire.answer(1.2) is not None
    assert wire.session.owes, "until it is written"
    wire.session.written()
    assert not wire.session.owes
    assert wire.tick(2.0) == []
    wire.session.close()
    assert not wire.session.owes
