"""A fake wire around one session: the outbox and the requests that a real host would hold, and the checks of PROTOCOL.

The clock is the tests': every verb is given `now_s`. No test here sleeps.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from gateway import Close, Failure, Infer, SendText, Session, SessionSettings
from gateway.settings import FRAME_BYTES

START = '{"type":"start"}'
PARTIAL_KEYS = {
    *("type", "oldest_frame_seq", "newest_frame_seq", "frames", "rms", "zero_crossings", "checksum"),
    *("samples", "transcript", "audio_bytes", "cpu_passes", "model_delay_ms", "flush_lateness_ms"),
    "inflight_model_jobs",
}
ERROR_KEYS = {
    *("type", "stage", "kind", "message", "oldest_frame_seq", "newest_frame_seq", "frames", "audio_bytes"),
    *("oldest_age_ms", "newest_age_ms", "flush_lateness_ms", "inference_elapsed_ms", "inflight_gateway_batches"),
    *("gateway_buffer_frames", "inference_status", "retryable"),
}
_PARTIAL_INTEGERS = PARTIAL_KEYS - {"type", "rms", "transcript", "flush_lateness_ms"}
_ERROR_INTEGERS = {
    *("oldest_frame_seq", "newest_frame_seq", "frames", "audio_bytes", "inflight_gateway_batches"),
    "gateway_buffer_frames",
}
_ERROR_NUMBERS = {"oldest_age_ms", "newest_age_ms", "flush_lateness_ms"}
STAGES = {"websocket_receive", "batch_flush", "inference_request", "inference_response_parse", "websocket_send"}
KINDS = {
    *("timeout", "pool_timeout", "http_5xx", "http_429", "connection_reset", "parse_error", "send_error"),
    "overflow",
}


def frame(seq: int) -> bytes:
    """A frame of 640 bytes that no other number has."""
    return seq.to_bytes(4, "little") * (FRAME_BYTES // 4)


def run(oldest_seq: int, frames: int) -> bytes:
    """`frames` of them in a row."""
    return b"".join(frame(seq) for seq in range(oldest_seq, oldest_seq + frames))


def prediction(audio_bytes: int, /, **changes: Any) -> dict[str, Any]:
    """The fields of an answer about a batch of that length."""
    fields: dict[str, Any] = {
        "rms": 2425.5023191083533,
        "zero_crossings": 7,
        "checksum": 1745339397,
        "samples": 4 * audio_bytes // 2,
        "transcript": "now",
        "audio_bytes": audio_bytes,
    }
    return fields | changes


def answer_body(audio_bytes: int, /, **changes: Any) -> bytes:
    """The same as the inference server writes it."""
    return json.dumps(prediction(audio_bytes, **changes)).encode()


def checked(text: str) -> dict[str, Any]:
    """The message, once it has the keys and JSON types that PROTOCOL gives its type."""
    message: dict[str, Any] = json.loads(text)
    if message["type"] == "partial":
        assert message.keys() == PARTIAL_KEYS
        assert {name for name in _PARTIAL_INTEGERS if type(message[name]) is not int} == set()
        assert message["inflight_model_jobs"] in (0, 1)
        assert math.isfinite(message["rms"])
        assert math.isfinite(message["flush_lateness_ms"])
        assert type(message["transcript"]) is str
        assert message["transcript"]
        assert 0 <= message["checksum"] < 2**32
    else:
        assert message["type"] == "error"
        assert message.keys() == ERROR_KEYS
        assert {name for name in _ERROR_INTEGERS if type(message[name]) is not int} == set()
        assert {name for name in _ERROR_NUMBERS if type(message[name]) not in (int, float)} == set()
        assert message["stage"] in STAGES
        assert message["kind"] in KINDS
        assert type(message["message"]) is str
        assert type(message["retryable"]) is bool
        assert message["inference_status"] is None or type(message["inference_status"]) is int
        assert message["inference_elapsed_ms"] is None or message["inference_elapsed_ms"] >= 0
        assert message["oldest_age_ms"] >= message["newest_age_ms"] >= 0
    assert message["flush_lateness_ms"] >= 0
    assert message["oldest_frame_seq"] >= 1
    assert message["frames"] == message["newest_frame_seq"] - message["oldest_frame_seq"] + 1 >= 1
    assert message["audio_bytes"] == message["frames"] * FRAME_BYTES
    return message


class FakeWire:
    """A host without sockets: does what the session says, and keeps all of it."""

    def __init__(self, settings: SessionSettings | None = None, *, phase_ms: float = 0.0, start_s: float = 0.0) -> None:
        self.session = Session(settings or SessionSettings(), phase_ms)
        assert self.session.start(START, start_s) is None
        self.messages: list[dict[str, Any]] = []
        """Every message that was built, in order."""
        self.waiting = 0
        """Of those, how many wait to be written."""
        self.batches: list[bytes] = []
        """The audio of every request, in order."""
        self.flight: Infer | None = None

    def feed(self, oldest_seq: int, frames: int, now_s: float) -> None:
        """Frames one by one."""
        for seq in range(oldest_seq, oldest_seq + frames):
            assert self.session.frame(frame(seq), now_s) is None

    def tick(self, now_s: float) -> list[str]:
        """What the tick asked for: "infer", or the kind of an error."""
        done: list[str] = []
        for action in self.session.tick(now_s):
            if isinstance(action, SendText):
                done.append(self._take(action)["kind"])
                continue
            assert self.flight is None, "a second request while one is in flight"
            audio = b"".join(action.chunks)
            assert len(audio) == action.audio_bytes
            self.flight = action
            self.batches.append(audio)
            done.append("infer")
        return done

    def answer(self, now_s: float, *, status: int = 200, body: bytes | None = None) -> dict[str, Any] | None:
        """Answer the batch in flight, by default as it should be."""
        assert self.flight is not None
        length, self.flight = self.flight.audio_bytes, None
        text = self.session.answered(status, answer_body(length) if body is None else body, now_s)
        return None if text is None else self._take(text)

    def fail(self, failure: Failure, now_s: float) -> dict[str, Any] | None:
        """Give up the batch in flight."""
        assert self.flight is not None
        self.flight = None
        text = self.session.failed(failure, now_s)
        return None if text is None else self._take(text)

    def write(self, messages: int = 1) -> None:
        """So many messages leave for the client."""
        for _ in range(messages):
            self.session.written()
        self.waiting -= messages

    def second(self, now_s: float) -> dict[str, Any] | None:
        """One uneventful tick at `now_s`: request, answer, partial written."""
        if self.tick(now_s) != ["infer"]:
            return None
        message = self.answer(now_s)
        self.write()
        return message

    def _take(self, action: SendText) -> dict[str, Any]:
        message = checked(action.text)
        self.messages.append(message)
        self.waiting += 1
        return message


def ranges(messages: Sequence[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Type (or the error's kind), oldest and newest sequence number of each."""
    return [(m.get("kind", "partial"), m["oldest_frame_seq"], m["newest_frame_seq"]) for m in messages]


def code(close: Close | None) -> int | None:
    """The close code; None where the connection stays open."""
    return None if close is None else close.code
