"""The vocabulary of failed batches, and what each inference outcome means. Values only."""

from typing import Literal, NamedTuple

Stage = Literal["websocket_receive", "batch_flush", "inference_request", "inference_response_parse", "websocket_send"]
Kind = Literal[
    "timeout",
    "pool_timeout",
    "http_5xx",
    "http_429",
    "connection_reset",
    "parse_error",
    "send_error",
    "overflow",
]

POOL_LIMIT_S = 1.0
"""How long a batch may wait for a connection or stream."""
ANSWER_LIMIT_S = 2.0
"""How long the inference server may take to answer."""


class Failure(NamedTuple):
    """Why a batch got no prediction."""

    stage: Stage
    kind: Kind
    message: str
    retryable: bool
    status: int | None = None
    """HTTP status, where an answer came."""


def pool_timeout() -> Failure:
    """No connection or stream came free in time."""
    message = f"no connection or stream within {POOL_LIMIT_S:g} s"
    return Failure("inference_request", "pool_timeout", message, retryable=True)


def inference_timeout() -> Failure:
    """The answer did not come in time."""
    message = f"no answer within {ANSWER_LIMIT_S:g} s"
    return Failure("inference_request", "timeout", message, retryable=True)


def connection_reset(detail: str) -> Failure:
    """The connection was refused, or ended before the answer was whole."""
    return Failure("inference_request", "connection_reset", detail, retryable=True)


def broken_answer(detail: str) -> Failure:
    """An answer came that is no prediction."""
    return Failure("inference_response_parse", "parse_error", detail, retryable=False, status=200)


def refusal_of_status(status: int) -> Failure:
    """An answer with another status than 200: 429 and 5xx may be tried again, the rest not."""
    kind: Kind = "http_429" if status == 429 else "http_5xx"
    retryable = status == 429 or 500 <= status <= 599
    return Failure("inference_request", kind, f"inference server answered {status}", retryable=retryable, status=status)
