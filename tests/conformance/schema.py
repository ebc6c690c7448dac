"""Both messages' shapes: exact keys, exact types, and ranges that need nothing but the message. PROTOCOL, section 1."""

import math
from collections.abc import Callable
from typing import Any

from tests.conformance.audio import CPU_PASSES, FRAME_BYTES, FRAME_SAMPLES
from tests.conformance.expect import expect

STAGES = ("websocket_receive", "batch_flush", "inference_request", "inference_response_parse", "websocket_send")
KINDS = (
    "timeout",
    "pool_timeout",
    "http_5xx",
    "http_429",
    "connection_reset",
    "parse_error",
    "send_error",
    "overflow",
)

Shape = dict[str, tuple[str, Callable[[Any], bool]]]


def _is_integer(least: int, below: float = math.inf) -> tuple[str, Callable[[Any], bool]]:
    text = f"an integer ≥ {least}" if below == math.inf else f"an integer in [{least}, {below:g})"
    return text, lambda value: type(value) is int and least <= value < below


def _is_one_of(*values: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(values)}", lambda value: value in values


def _is_magnitude_value(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


_MAGNITUDE = ("a finite number ≥ 0", _is_magnitude_value)

PARTIAL: Shape = {
    "type": _is_one_of("partial"),
    "oldest_frame_seq": _is_integer(1),
    "newest_frame_seq": _is_integer(1),
    "frames": _is_integer(1),
    "rms": _MAGNITUDE,
    "zero_crossings": _is_integer(0),
    "checksum": _is_integer(0, 2**32),
    "samples": _is_integer(1),
    "transcript": ("a non-empty string", lambda value: isinstance(value, str) and value != ""),
    "audio_bytes": _is_integer(1),
    "cpu_passes": ("the integer 4", lambda value: type(value) is int and value == CPU_PASSES),
    "model_delay_ms": _is_integer(0),
    "flush_lateness_ms": _MAGNITUDE,
    "inflight_model_jobs": _is_integer(0, 2),
}

ERROR: Shape = {
    "type": _is_one_of("error"),
    "stage": _is_one_of(*STAGES),
    "kind": _is_one_of(*KINDS),
    "message": ("a string", lambda value: isinstance(value, str)),
    "oldest_frame_seq": _is_integer(1),
    "newest_frame_seq": _is_integer(1),
    "frames": _is_integer(1),
    "audio_bytes": _is_integer(1),
    "oldest_age_ms": _MAGNITUDE,
    "newest_age_ms": _MAGNITUDE,
    "flush_lateness_ms": _MAGNITUDE,
    "inference_elapsed_ms": ("a finite number ≥ 0, or null", lambda v: v is None or _is_magnitude_value(v)),
    "inflight_gateway_batches": _is_integer(0),
    "gateway_buffer_frames": _is_integer(0),
    "inference_status": ("an integer, or null", lambda value: value is None or type(value) is int),
    "retryable": ("true or false", lambda value: type(value) is bool),
}


def _check(what: str, fields: dict[str, Any], shape: Shape) -> None:
    missing, extra = sorted(shape.keys() - fields.keys()), sorted(fields.keys() - shape.keys())
    expect(
        not missing and not extra,
        f"expected exactly {len(shape)} keys in {what}, got missing {missing}, extra {extra}",
    )
    for key, (wanted, is_right) in shape.items():
        expect(is_right(fields[key]), f"expected {what}.{key} to be {wanted}, got {fields[key]!r}")
    frames = fields["newest_frame_seq"] - fields["oldest_frame_seq"] + 1
    expect(fields["frames"] == frames, f"expected {what}.frames {frames} (newest − oldest + 1), got {fields['frames']}")
    size = frames * FRAME_BYTES
    expect(fields["audio_bytes"] == size, f"expected {what}.audio_bytes {size}, got {fields['audio_bytes']}")


def check_partial(fields: dict[str, Any]) -> None:
    """Failed unless `fields` has the shape of a partial."""
    _check("partial", fields, PARTIAL)
    samples = fields["frames"] * FRAME_SAMPLES * CPU_PASSES
    expect(fields["samples"] == samples, f"expected partial.samples {samples}, got {fields['samples']}")


def check_error(fields: dict[str, Any]) -> None:
    """Failed unless `fields` has the shape of an error."""
    _check("error", fields, ERROR)
    oldest, newest = fields["oldest_age_ms"], fields["newest_age_ms"]
    expect(oldest >= newest, f"expected oldest_age_ms ≥ newest_age_ms, got {oldest} and {newest}")
