"""Every near miss of `partial` and `error` is a violation that says what was expected."""

import json
from typing import Any

import pytest

from loadgen.messages import GatewayError, Partial, ProtocolViolation, read_message
from tests.loadgen.tiny_gateway import error, partial

GOLDEN = partial(0, 1, 1)


def test_the_golden_partial() -> None:
    assert GOLDEN["checksum"] == 1745339397
    assert read_message(json.dumps(GOLDEN)) == Partial(1, 1, 0.25, 1745339397, 2425.5023191083533, 7, "now")


def test_an_error() -> None:
    message = error(51, 100)
    assert read_message(json.dumps(message)) == GatewayError(
        51, 100, 0.25, "inference_request", "timeout", "no answer within 2 s"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"flush_lateness_ms": 0},
        {"inflight_model_jobs": 1},
        {"rms": 2425},
        {"model_delay_ms": 0},
        {"checksum": 0xFFFF_FFFF},
        {"transcript": "some other word"},
    ],
)
def test_a_partial_that_conforms(changes: dict[str, Any]) -> None:
    assert isinstance(read_message(json.dumps(GOLDEN | changes)), Partial)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_partial_without_one_key(name: str) -> None:
    message = {key: value for key, value in GOLDEN.items() if key != name}
    with pytest.raises(ProtocolViolation, match=r"expected (exactly its 14 keys|type)"):
        read_message(json.dumps(message))


INTEGERS = [name for name, value in GOLDEN.items() if type(value) is int]


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("spoil", [float, str, bool, lambda value: None, lambda value: [value]])
def test_an_integer_of_another_type(name: str, spoil: Any) -> None:
    with pytest.raises(ProtocolViolation, match=rf"partial\.{name}: expected an integer"):
        read_message(json.dumps(GOLDEN | {name: spoil(GOLDEN[name])}))


def test_there_are_ten_integers() -> None:
    assert len(INTEGERS) == 10


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"oldest_frame_seq": 0}, "oldest_frame_seq"),
        ({"oldest_frame_seq": 2}, "newest_frame_seq"),
        ({"newest_frame_seq": 2}, "frames"),
        ({"frames": 2}, "frames"),
        ({"audio_bytes": 641}, "audio_bytes"),
        ({"samples": 320}, "samples"),
        ({"cpu_passes": 3}, "cpu_passes"),
        ({"cpu_passes": 1, "samples": 320}, "cpu_passes"),
        ({"checksum": -1}, "checksum"),
        ({"checksum": 1 << 32}, "checksum"),
        ({"zero_crossings": -1}, "zero_crossings"),
        ({"zero_crossings": 1280}, "zero_crossings"),
        ({"model_delay_ms": -75}, "model_delay_ms"),
        ({"inflight_model_jobs": 2}, "inflight_model_jobs"),
        ({"inflight_model_jobs": -1}, "inflight_model_jobs"),
        ({"rms": float("nan")}, "rms"),
        ({"rms": -1.0}, "rms"),
        ({"rms": "1"}, "rms"),
        ({"rms": True}, "rms"),
        ({"rms": 10**400}, "rms"),
        ({"flush_lateness_ms": -0.001}, "flush_lateness_ms"),
        ({"flush_lateness_ms": float("inf")}, "flush_lateness_ms"),
        ({"flush_lateness_ms": None}, "flush_lateness_ms"),
        ({"flush_lateness_ms": False}, "flush_lateness_ms"),
        ({"transcript": ""}, "transcript"),
        ({"transcript": None}, "transcript"),
    ],
)
def test_a_partial_that_is_out_of_range(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ProtocolViolation, match=rf"partial\.{name}: expected .*got"):
        read_message(json.dumps(GOLDEN | changes))


def test_an_extra_key() -> None:
    with pytest.raises(ProtocolViolation, match=r"extra \['confidence'\]"):
        read_message(json.dumps(GOLDEN | {"confidence": 1}))
    with pytest.raises(ProtocolViolation, match=r"extra \['confidence'\]"):
        read_message(json.dumps(error(1, 50) | {"confidence": 1}))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"partial"', "null", "3", "{}", '{"type":"start"}', '{"type":1}', "[" * 100_000]
)
def test_neither_partial_nor_error(text: str) -> None:
    with pytest.raises(ProtocolViolation, match="expected"):
        read_message(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"inference_elapsed_ms": None},
        {"inference_status": 503},
        {"retryable": False},
        {"message": ""},
        {"inflight_gateway_batches": 0},
        {"kind": "overflow", "stage": "websocket_receive"},
    ],
)
def test_an_error_that_conforms(changes: dict[str, Any]) -> None:
    assert isinstance(read_message(json.dumps(error(1, 50, **changes))), GatewayError)


@pytest.mark.parametrize("name", error(1, 50))
def test_an_error_without_one_key(name: str) -> None:
    message = {key: value for key, value in error(1, 50).items() if key != name}
    with pytest.raises(ProtocolViolation, match=r"expected (exactly its 16 keys|type)"):
        read_message(json.dumps(message))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stage": "inference"}, "stage: expected one of"),
        ({"stage": None}, "stage: expected one of"),
        ({"stage": ["batch_flush"]}, "stage: expected one of"),
        ({"kind": "http_4xx"}, "kind: expected one of"),
        ({"kind": "overflow"}, "expected kind overflow with stage websocket_receive"),
        ({"kind": "overflow", "stage": "websocket_receive", "retryable": False}, "retryable true"),
        ({"retryable": 1}, "retryable: expected true or false"),
        ({"retryable": None}, "retryable: expected true or false"),
        ({"message": None}, "message: expected a string"),
        ({"inference_status": "503"}, "inference_status: expected an integer, or null"),
        ({"inference_status": True}, "inference_status: expected an integer, or null"),
        ({"inference_elapsed_ms": -1}, "inference_elapsed_ms: expected a finite number"),
        ({"inference_elapsed_ms": "2000"}, "inference_elapsed_ms: expected a finite number"),
        ({"oldest_age_ms": None}, "oldest_age_ms: expected a finite number"),
        ({"newest_age_ms": -1}, "newest_age_ms: expected a finite number"),
        ({"flush_lateness_ms": None}, "flush_lateness_ms: expected a finite number"),
        ({"gateway_buffer_frames": None}, "gateway_buffer_frames: expected an integer"),
        ({"gateway_buffer_frames": -1}, "gateway_buffer_frames: expected an integer"),
        ({"inflight_gateway_batches": 1.0}, "inflight_gateway_batches: expected an integer"),
        ({"frames": 49}, "frames: expected 50"),
        ({"audio_bytes": 640}, "audio_bytes: expected 32000"),
        ({"oldest_frame_seq": 0}, "oldest_frame_seq: expected"),
        ({"newest_frame_seq": 0}, "newest_frame_seq: expected"),
    ],
)
def test_an_error_that_is_wrong(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolViolation, match=words):
        read_message(json.dumps(error(1, 50) | changes))
