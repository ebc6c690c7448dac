"""The texts on the client's side of the wire: the start message in, `partial` and `error` out. Formatting only."""

import json

from gateway.failures import Failure
from gateway.settings import FRAME_BYTES


def start_fault(message: str | bytes | bytearray | memoryview) -> str | None:
    """What keeps a first message from being exactly `{"type": "start"}`, in any JSON spelling; None if nothing."""
    if not isinstance(message, str):
        return f"expected a text start message, got {len(message)} binary bytes"
    try:
        pairs = json.loads(message, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return "expected a JSON start message, got something else"
    # An object arrives as a list of tuples, so that a repeated key shows; a JSON array holds lists instead.
    if pairs != [("type", "start")]:
        return 'expected exactly {"type":"start"}'
    return None


def partial_text(
    *,
    oldest_seq: int,
    frames: int,
    members: str,
    cpu_passes: int,
    model_delay_ms: int,
    flush_lateness_ms: float,
    inflight_model_jobs: int,
) -> str:
    """One answered batch as JSON with the protocol's 14 keys. `members`: six of them (`prediction_members`)."""
    return (
        f'{{"type":"partial","oldest_frame_seq":{oldest_seq},"newest_frame_seq":{oldest_seq + frames - 1},'
        f'"frames":{frames},{members},"cpu_passes":{cpu_passes},"model_delay_ms":{model_delay_ms},'
        f'"flush_lateness_ms":{flush_lateness_ms:.3f},"inflight_model_jobs":{inflight_model_jobs}}}'
    )


def error_text(
    failure: Failure,
    *,
    oldest_seq: int,
    frames: int,
    oldest_age_ms: float,
    newest_age_ms: float,
    flush_lateness_ms: float,
    inference_elapsed_ms: float | None,
    inflight_gateway_batches: int,
    gateway_buffer_frames: int,
) -> str:
    """One failed batch, or one run of dropped frames, as JSON with the protocol's 16 keys."""
    return json.dumps(
        {
            "type": "error",
            "stage": failure.stage,
            "kind": failure.kind,
            "message": failure.message,
            "oldest_frame_seq": oldest_seq,
            "newest_frame_seq": oldest_seq + frames - 1,
            "frames": frames,
            "audio_bytes": frames * FRAME_BYTES,
            "oldest_age_ms": round(oldest_age_ms, 3),
            "newest_age_ms": round(newest_age_ms, 3),
            "flush_lateness_ms": round(flush_lateness_ms, 3),
            "inference_elapsed_ms": None if inference_elapsed_ms is None else round(inference_elapsed_ms, 3),
            "inflight_gateway_batches": inflight_gateway_batches,
            "gateway_buffer_frames": gateway_buffer_frames,
            "inference_status": failure.status,
            "retryable": failure.retryable,
        },
        separators=(",", ":"),
    )
