"""Strict reading of what a gateway says: `partial` and `error`, each exactly as PROTOCOL, section 1, gives it.

Pure: text in, a value out. Which frames a session had sent is the ledger's business, not this module's.
"""

import json
import math
import sys
from typing import Any, NamedTuple, NoReturn

from loadgen.frames import FRAME_BYTES, FRAME_SAMPLES

CPU_PASSES = 4

STAGES = frozenset(
    ("websocket_receive", "batch_flush", "inference_request", "inference_response_parse", "websocket_send")
)
KINDS = frozenset(
    (
        "timeout",
        "pool_timeout",
        "http_5xx",
        "http_429",
        "connection_reset",
        "parse_error",
        "send_error",
        "overflow",
    )
)

_PARTIAL_INTEGERS = (
    "oldest_frame_seq",
    "newest_frame_seq",
    "frames",
    "zero_crossings",
    "checksum",
    "samples",
    "audio_bytes",
    "cpu_passes",
    "model_delay_ms",
    "inflight_model_jobs",
)
_PARTIAL_KEYS = frozenset((*_PARTIAL_INTEGERS, "type", "rms", "transcript", "flush_lateness_ms"))
_ERROR_INTEGERS = (
    "oldest_frame_seq",
    "newest_frame_seq",
    "frames",
    "audio_bytes",
    "inflight_gateway_batches",
    "gateway_buffer_frames",
)
_ERROR_NUMBERS = ("oldest_age_ms", "newest_age_ms", "flush_lateness_ms")
_ERROR_KEYS = frozenset(
    (
        *_ERROR_INTEGERS,
        *_ERROR_NUMBERS,
        "type",
        "stage",
        "kind",
        "message",
        "inference_elapsed_ms",
        "inference_status",
        "retryable",
    )
)


class ProtocolViolation(Exception):
    """The gateway broke the contract: says what was expected and what came."""


class Partial(NamedTuple):
    """What is kept of one `partial`."""

    oldest: int
    newest: int
    flush_lateness_ms: float
    checksum: int
    rms: float
    zero_crossings: int
    transcript: str


class GatewayError(NamedTuple):
    """What is kept of one `error`."""

    oldest: int
    newest: int
    flush_lateness_ms: float
    stage: str
    kind: str
    message: str


Message = Partial | GatewayError


def read_message(text: str) -> Message:
    """Check one text message. Raises ProtocolViolation."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"expected JSON, got {_short(text)} ({error})") from None
    if type(message) is not dict:
        raise ProtocolViolation(f"expected a JSON object, got {_short(message)}")
    kind = message.get("type")
    if kind == "partial":
        return _read_partial(message)
    if kind == "error":
        return _read_error(message)
    raise ProtocolViolation(f'expected type "partial" or "error", got {_short(kind)}')


def _read_partial(message: dict[str, Any]) -> Partial:
    if message.keys() != _PARTIAL_KEYS:
        _wrong_keys("partial", message, _PARTIAL_KEYS)
    for name in _PARTIAL_INTEGERS:
        if type(message[name]) is not int:
            _expected("partial", message, name, "an integer")
    oldest, newest, frames = _sequence("partial", message)
    if message["cpu_passes"] != CPU_PASSES:
        _expected("partial", message, "cpu_passes", str(CPU_PASSES))
    samples = CPU_PASSES * frames * FRAME_SAMPLES
    if message["samples"] != samples:
        _expected("partial", message, "samples", f"{samples} (cpu_passes × frames × {FRAME_SAMPLES})")
    if not 0 <= message["checksum"] <= 0xFFFF_FFFF:
        _expected("partial", message, "checksum", "an unsigned 32-bit integer")
    if not 0 <= message["zero_crossings"] < samples:
        _expected("partial", message, "zero_crossings", f"0 … {samples - 1} (fewer than samples)")
    if message["model_delay_ms"] < 0:
        _expected("partial", message, "model_delay_ms", "an integer ≥ 0")
    if message["inflight_model_jobs"] not in (0, 1):
        _expected("partial", message, "inflight_model_jobs", "0 or 1")
    rms = message["rms"]
    if not _is_magnitude(rms):
        _expected("partial", message, "rms", "a finite number ≥ 0")
    lateness_ms = message["flush_lateness_ms"]
    if not _is_magnitude(lateness_ms):
        _expected("partial", message, "flush_lateness_ms", "a finite number ≥ 0")
    transcript = message["transcript"]
    if type(transcript) is not str or not transcript:
        _expected("partial", message, "transcript", "a non-empty string")
    return Partial(
        oldest,
        newest,
        float(lateness_ms),
        message["checksum"],
        float(rms),
        message["zero_crossings"],
        sys.intern(transcript),
    )


def _read_error(message: dict[str, Any]) -> GatewayError:
    if message.keys() != _ERROR_KEYS:
        _wrong_keys("error", message, _ERROR_KEYS)
    for name in _ERROR_INTEGERS:
        if type(message[name]) is not int or message[name] < 0:
            _expected("error", message, name, "an integer ≥ 0")
    oldest, newest, _ = _sequence("error", message)
    for name in _ERROR_NUMBERS:
        if not _is_magnitude(message[name]):
            _expected("error", message, name, "a finite number ≥ 0")
    elapsed_ms = message["inference_elapsed_ms"]
    if elapsed_ms is not None and not _is_magnitude(elapsed_ms):
        _expected("error", message, "inference_elapsed_ms", "a finite number ≥ 0, or null")
    status = message["inference_status"]
    if status is not None and type(status) is not int:
        _expected("error", message, "inference_status", "an integer, or null")
    if type(message["retryable"]) is not bool:
        _expected("error", message, "retryable", "true or false")
    if type(message["message"]) is not str:
        _expected("error", message, "message", "a string")
    stage, kind = message["stage"], message["kind"]
    if type(stage) is not str or stage not in STAGES:
        _expected("error", message, "stage", f"one of {', '.join(sorted(STAGES))}")
    if type(kind) is not str or kind not in KINDS:
        _expected("error", message, "kind", f"one of {', '.join(sorted(KINDS))}")
    if kind == "overflow" and (stage != "websocket_receive" or not message["retryable"]):
        raise ProtocolViolation(
            "error: expected kind overflow with stage websocket_receive and retryable true, "
            f"got stage {stage}, retryable {message['retryable']}"
        )
    return GatewayError(oldest, newest, float(message["flush_lateness_ms"]), stage, kind, message["message"])


def _sequence(what: str, message: dict[str, Any]) -> tuple[int, int, int]:
    oldest, newest, frames = message["oldest_frame_seq"], message["newest_frame_seq"], message["frames"]
    if oldest < 1:
        _expected(what, message, "oldest_frame_seq", "an integer ≥ 1")
    if newest < oldest:
        _expected(what, message, "newest_frame_seq", f"an integer ≥ oldest_frame_seq = {oldest}")
    if frames != newest - oldest + 1:
        _expected(what, message, "frames", f"{newest - oldest + 1} (newest − oldest + 1)")
    if message["audio_bytes"] != frames * FRAME_BYTES:
        _expected(what, message, "audio_bytes", f"{frames * FRAME_BYTES} (frames × {FRAME_BYTES})")
    return oldest, newest, frames


def _is_magnitude(value: object) -> bool:
    """A JSON number (not a boolean), finite and not negative."""
    if type(value) is float:
        return math.isfinite(value) and value >= 0
    if type(value) is int:
        return 0 <= value <= sys.float_info.max
    return False


def _expected(what: str, message: dict[str, Any], name: str, wanted: str) -> NoReturn:
    raise ProtocolViolation(f"{what}.{name}: expected {wanted}, got {_short(message[name])}")


def _wrong_keys(what: str, message: dict[str, Any], wanted: frozenset[str]) -> NoReturn:
    missing, extra = sorted(wanted - message.keys()), sorted(message.keys() - wanted)
    raise ProtocolViolation(
        f"{what}: expected exactly its {len(wanted)} keys, got missing {missing} and extra {_short(extra)}"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
