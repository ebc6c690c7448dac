"""Scripted behaviours and a request log, keyed by the first bytes of a request's body, for the conformance suite.

Answers nothing by itself: the server asks what a body should get and writes down what came of it.
"""

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MARKER_BYTES = 4
NO_HTTP = b"SSH-2.0-OpenSSH_9.9\r\n"
"""Neither a status line of HTTP/1 nor, as a frame's first bytes, one that HTTP/2 allows: it would be too large."""


class BadBehaviour(ValueError):
    """The JSON put as a behaviour is none; the message names each key that is wrong."""


class Behaviour(BaseModel):
    """What to do with every request of one marker, instead of answering its prediction after a drawn time."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    status: int = Field(200, ge=200, le=599)
    body: str | None = None
    """Sent as it is instead of the prediction."""
    delay_ms: float | None = Field(None, ge=0, allow_inf_nan=False)
    """The service time, instead of a drawn one."""
    hang: bool = False
    """Never answer, until the client gives up."""
    reset: bool = False
    """After the service time, reset the connection without answering."""
    extra_key: bool = False
    """Add an unknown key to the prediction."""
    declared_bytes: int | None = Field(None, ge=0)
    """The content-length that the answer has, whatever its body's own length."""
    half_then: Literal["end", "fin", "rst", "hang"] | None = None
    """Send the head and half of the body; then end the answer as if that were all of it, end the connection, reset it,
    or send nothing more until the client gives up."""
    no_http: bool = False
    """Send `NO_HTTP` on the connection instead of an answer, and then nothing more until the client gives up."""

    @property
    def breaks(self) -> bool:
        """Whether no whole answer is sent."""
        return self.reset or self.no_http or self.half_then is not None

    def answer(self, prediction: bytes) -> bytes:
        """The body to send instead of `prediction` (a JSON object)."""
        if self.body is not None:
            return self.body.encode()
        return prediction[:-1] + b',"extra_key":true}' if self.extra_key else prediction

    @classmethod
    def from_json(cls, text: bytes) -> "Behaviour":
        try:
            return cls.model_validate_json(text or b"{}")
        except ValidationError as error:
            facts = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
            raise BadBehaviour(f"{facts} (known keys: {', '.join(cls.model_fields)})") from None


@dataclass(slots=True)
class RequestRecord:
    """One request as it was seen; times are time.monotonic() in ms, None what has not (or never) happened."""

    arrived_ms: float
    body_bytes: int
    body_sha256: str
    protocol: str
    cpu_passes: str | None
    """The header as sent."""
    answered_ms: float | None = None
    status: int | None = None


@dataclass(slots=True)
class _Requests:
    records: list[RequestRecord] = field(default_factory=list)
    open: int = 0
    max_concurrent: int = 0


def marker_of(body: bytes) -> str:
    """The hex of the body's first 4 bytes: two samples of its first frame."""
    return body[:MARKER_BYTES].hex()


class Control:
    """The behaviours in force and the log of every request, by marker."""

    def __init__(self) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self._requests: defaultdict[str, _Requests] = defaultdict(_Requests)

    def behaviour_of(self, body: bytes) -> Behaviour | None:
        return self.behaviours.get(marker_of(body))

    def arrived(self, body: bytes, *, now_ms: float, protocol: str, cpu_passes: str | None) -> RequestRecord:
        record = RequestRecord(now_ms, len(body), hashlib.sha256(body).hexdigest(), protocol, cpu_passes)
        requests = self._requests[marker_of(body)]
        requests.records.append(record)
        requests.open += 1
        requests.max_concurrent = max(requests.max_concurrent, requests.open)
        return record

    def ended(self, body: bytes, record: RequestRecord, *, now_ms: float, status: int | None) -> None:
        """`status` is None where the request ended without an answer."""
        self._requests[marker_of(body)].open -= 1
        if status is not None:
            record.answered_ms, record.status = now_ms, status

    def requests(self, marker: str) -> dict[str, Any]:
        """The log of one marker in order of arrival, and how many of them were outstanding at once at most."""
        requests = self._requests.get(marker, _Requests())
        return {
            "requests": [asdict(record) for record in requests.records],
            "max_concurrent": requests.max_concurrent,
        }
