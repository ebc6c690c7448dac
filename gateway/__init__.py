"""The session core: bytes and times in, actions out. No I/O, clock, thread, event loop or randomness."""

from gateway.actions import Close, Infer, SendText
from gateway.failures import (
    Failure,
    broken_answer,
    connection_reset,
    inference_timeout,
    pool_timeout,
    refusal_of_status,
)
from gateway.prediction import BadPrediction, prediction_members
from gateway.schedule import FlushSchedule
from gateway.session import LEAVE_LIMIT_S, Session, SessionMisuse
from gateway.settings import FRAME_BYTES, SessionSettings
from gateway.tally import ERRORS, FULL, INFERENCE_BOUNDS_MS, LATENESS_BOUNDS_MS, Admission, Tally

__all__ = [
    "ERRORS",
    "FRAME_BYTES",
    "FULL",
    "INFERENCE_BOUNDS_MS",
    "LATENESS_BOUNDS_MS",
    "LEAVE_LIMIT_S",
    "Admission",
    "BadPrediction",
    "Close",
    "Failure",
    "FlushSchedule",
    "Infer",
    "SendText",
    "Session",
    "SessionMisuse",
    "SessionSettings",
    "Tally",
    "broken_answer",
    "connection_reset",
    "inference_timeout",
    "pool_timeout",
    "prediction_members",
    "refusal_of_status",
]
