"""The inference server's answer: the golden one, and every near miss."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import BadPrediction, prediction_members
from gateway.prediction import Prediction
from tests.gateway.wire import answer_body, prediction

GOLDEN = (
    b'{"rms":2425.5023191083533,"zero_crossings":7,"checksum":1745339397,"samples":1280,'
    b'"transcript":"now","audio_bytes":640}'
)

NEAR_MISSES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"garbage",
    "half of it": GOLDEN[:-1],
    "trailing text": GOLDEN + b"x",
    "not UTF-8": GOLDEN.replace(b"now", b"n\xffw"),
    "null": b"null",
    "array": b"[" + GOLDEN + b"]",
    "too deep": b"[" * 100_000,
    "no key": b"{}",
    "NaN": GOLDEN.replace(b"2425.5023191083533", b"NaN"),
    "Infinity": GOLDEN.replace(b"2425.5023191083533", b"Infinity"),
    "beyond a float": GOLDEN.replace(b"2425.5023191083533", b"1e999"),
}

WRONG_VALUES: list[tuple[str, Any]] = [
    ("rms", -1.0),
    ("rms", "2425.5"),
    ("rms", None),
    ("rms", True),
    ("zero_crossings", -1),
    ("zero_crossings", 7.0),
    ("zero_crossings", True),
    ("zero_crossings", None),
    ("checksum", -1),
    ("checksum", 2**32),
    ("checksum", "1745339397"),
    ("checksum", 1.0),
    ("samples", -1),
    ("samples", 1280.0),
    ("samples", None),
    ("transcript", ""),
    ("transcript", None),
    ("transcript", 1),
    ("transcript", ["now"]),
    ("audio_bytes", 639),
    ("audio_bytes", 1280),
    ("audio_bytes", 640.0),
    ("audio_bytes", "640"),
    ("audio_bytes", None),
]


def parse_prediction(body: bytes, audio_bytes: int) -> Prediction:
    """What whoever gets the members reads."""
    fields = json.loads(f"{{{prediction_members(body, audio_bytes)}}}")
    assert list(fields) == list(Prediction._fields)
    return Prediction(**fields)


@given(
    rms=st.floats(0, 99_999, allow_subnormal=False),
    transcript=st.text(min_size=1, max_size=20),
    checksum=st.integers(0, 2**32 - 1),
    spaced=st.booleans(),
)
def test_in_any_spelling_the_values_are_the_same(rms: float, transcript: str, checksum: int, spaced: bool) -> None:
    fields = prediction(640) | {"rms": rms, "transcript": transcript, "checksum": checksum}
    body = json.dumps(fields, separators=(", ", ": ") if spaced else (",", ":")).encode()
    assert parse_prediction(body, 640) == Prediction(**fields)


def test_what_is_spelled_as_usual_is_passed_on_as_it_came() -> None:
    assert prediction_members(GOLDEN, 640).encode() == GOLDEN[1:-1]


def test_the_golden_answer() -> None:
    assert parse_prediction(GOLDEN, 640) == Prediction(2425.5023191083533, 7, 1745339397, 1280, "now", 640)


def test_an_integer_rms_is_a_number() -> None:
    parsed = parse_prediction(answer_body(640, rms=0), 640)
    assert type(parsed.rms) is float
    assert parsed.rms == 0.0


@pytest.mark.parametrize("body", NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_a_near_miss_is_refused(body: bytes) -> None:
    with pytest.raises(BadPrediction):
        parse_prediction(body, 640)


@pytest.mark.parametrize(("key", "value"), WRONG_VALUES)
def test_a_wrong_value_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(BadPrediction, match=key):
        parse_prediction(answer_body(640, **{key: value}), 640)


def test_an_integer_beyond_a_float_is_refused_too() -> None:
    with pytest.raises(BadPrediction, match="rms"):
        parse_prediction(GOLDEN.replace(b"2425.5023191083533", b"1" + b"0" * 400), 640)


@pytest.mark.parametrize("key", prediction(640))
def test_a_missing_key_is_refused_by_name(key: str) -> None:
    fields = prediction(640)
    del fields[key]
    with pytest.raises(BadPrediction, match=rf"missing \['{key}'\]"):
        parse_prediction(json.dumps(fields).encode(), 640)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(BadPrediction, match=r"unknown \['latency'\]"):
        parse_prediction(answer_body(640, latency=1), 640)


def test_the_limits_of_the_checksum() -> None:
    assert parse_prediction(answer_body(640, checksum=0), 640).checksum == 0
    assert parse_prediction(answer_body(640, checksum=2**32 - 1), 640).checksum == 2**32 - 1


def test_any_text_is_a_transcript() -> None:
    assert parse_prediction(answer_body(640, transcript='naïve "quote"\n'), 640).transcript == 'naïve "quote"\n'
