"""The inference server's answer: exact keys, exact types. PROTOCOL, "Inference endpoint"."""

import json
import math
import re
from typing import Any, NamedTuple


class BadPrediction(ValueError):
    """The peer's answer is no prediction; the text says what was expected and what came."""


class Prediction(NamedTuple):
    """One answered batch, in the order of the protocol's table."""

    rms: float
    zero_crossings: int
    checksum: int
    samples: int
    transcript: str
    audio_bytes: int


_escape = json.encoder.encode_basestring_ascii
_KEYS = frozenset(Prediction._fields)


_COUNT = rb"(?:0|[1-9]\d{0,14})"  # below 2^53
_USUAL = re.compile(
    rb'\{"rms":(?:0|[1-9]\d{0,4})\.\d{1,17},"zero_crossings":%b,"checksum":(%b),"samples":%b,'
    rb'"transcript":"[a-z]+","audio_bytes":(%b)\}' % (_COUNT, _COUNT, _COUNT, _COUNT)
).fullmatch
"""The spelling that nearly every answer has: its members can be passed on as they came."""
_CHECKSUMS = 2**32


def _integer(fields: dict[str, Any], name: str, limit: int) -> int:
    value = fields[name]
    if type(value) is not int or not 0 <= value < limit:
        raise BadPrediction(f"{name}: expected an integer in [0, {limit}), got {value!r}")
    return value


def _number(value: object) -> float:
    """NaN for what is no number, infinity for an integer beyond a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def prediction_members(body: bytes, audio_bytes: int) -> str:
    """The members of an answer's object, in the order of `Prediction`, as JSON text without its brackets.

    Args:
        body: JSON, UTF-8.
        audio_bytes: length of the batch that was sent; an answer about another length is not this batch's.

    Raises:
        BadPrediction: not JSON, a key missing or unknown, a value out of type or range.
    """
    usual = _USUAL(body)
    if usual is not None:
        checksum, told_bytes = usual.groups()
        if int(told_bytes) == audio_bytes and int(checksum) < _CHECKSUMS:
            return body[1:-1].decode()
    rms, zero_crossings, checksum, samples, transcript, _ = parse_prediction(body, audio_bytes)
    return (
        f'"rms":{rms!r},"zero_crossings":{zero_crossings},"checksum":{checksum},"samples":{samples},'
        f'"transcript":{_escape(transcript)},"audio_bytes":{audio_bytes}'
    )


def parse_prediction(body: bytes, audio_bytes: int) -> Prediction:
    """An answer in any spelling of JSON. Arguments and errors as `prediction_members` has them."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadPrediction(f"expected a JSON object, got {body[:60]!r} ({error})") from None
    if type(fields) is not dict:
        raise BadPrediction(f"expected a JSON object, got {body[:60]!r}")
    if fields.keys() != _KEYS:
        missing, unknown = sorted(_KEYS - fields.keys()), sorted(fields.keys() - _KEYS)
        raise BadPrediction(f"expected the keys {sorted(_KEYS)}; missing {missing}, unknown {unknown}")
    rms = _number(fields["rms"])
    if not 0 <= rms < math.inf:
        raise BadPrediction(f"rms: expected a finite number ≥ 0, got {str(fields['rms'])[:60]}")
    transcript = fields["transcript"]
    if type(transcript) is not str or not transcript:
        raise BadPrediction(f"transcript: expected a non-empty string, got {transcript!r}")
    if fields["audio_bytes"] != audio_bytes:
        raise BadPrediction(f"audio_bytes: expected {audio_bytes}, as sent, got {fields['audio_bytes']!r}")
    return Prediction(
        rms=rms,
        zero_crossings=_integer(fields, "zero_crossings", 2**53),
        checksum=_integer(fields, "checksum", _CHECKSUMS),
        samples=_integer(fields, "samples", 2**53),
        transcript=transcript,
        audio_bytes=_integer(fields, "audio_bytes", 2**53),
    )
