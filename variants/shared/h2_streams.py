"""Requests of `POST /infer` as streams of one HTTP/2 connection: `h2` for the protocol. No I/O, no clock.

Bytes in, outcomes and bytes out. `h2_client` drives it on anyio's event loops, `variants.drain.h2c` on epoll. Whoever
asks gives a token of its own with each request, and gets it back with the outcome.
"""

from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import FrameTooLargeError, ProtocolError, StreamClosedError
from hyperframe.frame import Frame, GoAwayFrame

from gateway import Infer
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

Token = TypeVar("Token")

_CONFIG = H2Configuration(
    client_side=True,
    header_encoding=None,  # header values stay bytes
    validate_outbound_headers=False,  # ours are constants, checked by the tests
    normalize_outbound_headers=False,
)
_LAST_STREAM = 2**31 - 1


class Lost(NamedTuple):
    """There will be no answer: why."""

    reason: str


class Outcome(NamedTuple, Generic[Token]):
    """What came of a request."""

    token: Token
    what: Answer | Lost


class _Request(Generic[Token]):
    """One stream: what of the batch has yet to be sent, and what of the answer has come."""

    __slots__ = ("answer", "status", "token", "unsent")

    def __init__(self, token: Token, batch: Infer) -> None:
        self.token = token
        self.unsent = memoryview(b"".join(batch.chunks))
        self.status = 0
        self.answer = bytearray()


class _Connection(H2Connection):
    """`h2`'s, but for a GOAWAY and for a frame that is too large."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """`h2` takes it for the end, and throws away what it has to send; the server still answers streams up to the
        last that it named (RFC 9113, section 6.8)."""
        unsent, state = self._data_to_send, self.state_machine.state
        told = super()._receive_goaway_frame(frame)
        self._data_to_send, self.state_machine.state = unsent, state
        return told

    def check_next_frame(self) -> None:
        """Raises FrameTooLargeError where the frame that has begun to come is: `h2` itself would wait for all of it."""
        length = self.incoming_buffer._data[:3]  # a frame's first three bytes (RFC 9113, section 4.1)
        if len(length) == 3 and int.from_bytes(length, "big") > self.max_inbound_frame_size:
            raise FrameTooLargeError(f"a frame of {int.from_bytes(length, 'big')} bytes")


class H2Streams(Generic[Token]):
    """The client's side of one connection. Every verb may leave bytes in `data_to_send`."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._h2 = _Connection(config=_CONFIG)
        self._h2.initiate_connection()
        self._requests: dict[int, _Request[Token]] = {}
        self._blocked: set[int] = set()
        """Streams whose body waits for flow control."""
        self._leaving = False
        """The server takes no new stream here."""
        self.broken: str | None = None
        """Why the connection is of no use any more, where what came was no HTTP/2."""

    @property
    def usable(self) -> bool:
        """Whether it takes new requests, now or once others are done. One that does not is finished when `idle`."""
        return not self._leaving and self._h2.highest_outbound_stream_id < _LAST_STREAM - 1

    @property
    def has_room(self) -> bool:
        """Whether a request can begin now, by the server's own limit of streams."""
        return self.usable and len(self._requests) < self._h2.remote_settings.max_concurrent_streams

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._requests

    def begin(self, batch: Infer, token: Token) -> int:
        """Begin a request where there is room, and send its body as far as flow control allows; its stream.

        Raises:
            ProtocolError: the connection has ended.
        """
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", self._authority),
                (":path", "/infer"),
                ("content-length", str(batch.audio_bytes)),
                ("x-cpu-passes", str(batch.cpu_passes)),
            ],
        )
        self._requests[stream] = _Request(token, batch)
        self._send_body(stream)
        return stream

    def cancel(self, stream: int) -> None:
        """Give up a request: nothing more is told of it. One that has ended is no error."""
        if self._forget(stream) is not None:
            self._reset(stream)

    def receive(self, data: bytes) -> list[Outcome[Token]]:
        """Take what the server sent; the requests that ended by it: all of them where it is no HTTP/2 (`broken`)."""
        outcomes: list[Outcome[Token]] = []
        try:
            events = self._h2.receive_data(data)
            self._h2.check_next_frame()
        except Exception as error:  # garbage: besides its own ProtocolError, what parsers below it stumble over
            self.broken = f"the connection to the inference server broke: {error!r}"
            return self.lose(self.broken)
        for event in events:
            self._handle(event, outcomes)
        return outcomes

    def lose(self, reason: str) -> list[Outcome[Token]]:
        """The connection has ended: every request that was under way."""
        self._leaving = True
        lost = [Outcome(request.token, Lost(reason)) for request in self._requests.values()]
        self._requests.clear()
        self._blocked.clear()
        return lost

    def data_to_send(self) -> bytes:
        """What is to be written now, once."""
        return self._h2.data_to_send()

    def _send_body(self, stream: int) -> None:
        request = self._requests[stream]
        while request.unsent:
            window = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if window <= 0:
                self._blocked.add(stream)
                return
            part, request.unsent = request.unsent[:window], request.unsent[window:]
            self._h2.send_data(stream, part, end_stream=not request.unsent)
        self._blocked.discard(stream)

    def _handle(self, event: Event, outcomes: list[Outcome[Token]]) -> None:
        match event:
            case DataReceived():
                stream = event.stream_id or 0
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                if request := self._requests.get(stream):
                    request.answer += event.data or b""
                    if len(request.answer) > ANSWER_LIMIT_BYTES:
                        self._end(stream, outcomes)
                        self._reset(stream)
            case ResponseReceived():
                if request := self._requests.get(event.stream_id or 0):
                    status = dict(event.headers or ()).get(b":status", b"")
                    if len(status) != 3 or not status.isdigit():
                        self._fail(
                            event.stream_id or 0, f"the inference server answered with status {status[:60]!r}", outcomes
                        )
                        self._reset(event.stream_id or 0)
                        return
                    request.status = int(status)
            case StreamEnded():
                stream = event.stream_id or 0
                request = self._end(stream, outcomes)
                if request is not None and request.unsent:  # answered early: nobody else will end our half
                    self._reset(stream)
            case StreamReset():
                self._fail(
                    event.stream_id or 0, f"the inference server reset the stream ({event.error_code!r})", outcomes
                )
            case ConnectionTerminated():
                self._leaving = True
                for stream in [each for each in self._requests if each > (event.last_stream_id or 0)]:
                    self._fail(stream, f"the inference server is going away ({event.error_code!r})", outcomes)
            case WindowUpdated() | RemoteSettingsChanged():
                for stream in list(self._blocked):
                    with suppress(StreamClosedError):  # by a reset that came with this, and is the next to be handled
                        self._send_body(stream)

    def _end(self, stream: int, outcomes: list[Outcome[Token]]) -> _Request[Token] | None:
        """Tell what has come of an answer."""
        if request := self._forget(stream):
            outcomes.append(Outcome(request.token, Answer(request.status, bytes(request.answer))))
        return request

    def _fail(self, stream: int, reason: str, outcomes: list[Outcome[Token]]) -> None:
        if request := self._forget(stream):
            outcomes.append(Outcome(request.token, Lost(reason)))

    def _forget(self, stream: int) -> _Request[Token] | None:
        self._blocked.discard(stream)
        return self._requests.pop(stream, None)

    def _reset(self, stream: int) -> None:
        try:
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)
        except ProtocolError:
            return  # the server has ended it meanwhile: nothing to take back
