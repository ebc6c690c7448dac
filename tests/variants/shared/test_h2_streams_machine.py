"""Any order of requests, answers and endings: the HTTP/2 client core against h2's own server side, in memory.

What the server sends waits on a wire until a rule delivers some of it, cut anywhere; what the client sends waits until
the server takes it. The server judges what it gets: a stream too many, or a frame out of turn, raises there.
"""

from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, SettingsAcknowledged, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway import Infer
from variants.shared.h2_streams import H2Streams, Lost, Outcome
from variants.shared.inference import Answer

PICKS = st.integers(0, 1 << 16)
"""Which of those there are; taken modulo their number."""
CUTS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 4000)), max_size=4)
BAD_STATUSES = ["", "OK", "-1", "2" * 5000]


@dataclass
class Request:
    """What is known of one request, at both ends."""

    token: int
    stream: int
    body: bytes
    got: bytearray = field(default_factory=bytearray)
    """By the server."""
    taken: bool = False
    """Its head has come to the server."""
    whole: bool = False
    """All of it has come to the server."""
    status: int | None = None
    """Of the answer, once its head was sent."""
    answer: bytearray = field(default_factory=bytearray)
    answered: bool = False
    """The answer was sent to its end."""
    may_fail: bool = False
    """The server reset it, refused it, or sent no status."""
    cancelled: bool = False
    outcome: Answer | Lost | None = None

    @property
    def ended(self) -> bool:
        """Whether the client awaits nothing of it any more."""
        return self.cancelled or self.outcome is not None

    @property
    def closed(self) -> bool:
        """Whether the server may send nothing more of it."""
        return self.answered or self.may_fail or not self.taken


class StreamsMachine(RuleBasedStateMachine):
    """One connection, from its preface to its end."""

    @initialize(
        limit=st.integers(1, 6), window=st.sampled_from([0, 1, 700, 65535]), calm_steps=st.sampled_from([0, 10, 40])
    )
    def connect(self, limit: int, window: int, calm_steps: int) -> None:
        self.streams = H2Streams[int]("inference:1")
        self.server = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False))
        self.calm_steps = calm_steps
        """Before anything ends the connection."""
        self.wire = bytearray()
        """From the server, not delivered."""
        self.requests: list[Request] = []
        self.last_stream = 2**31 - 1
        """What the server has said that it still answers."""
        self.spoilt = False
        """The server has sent what is no HTTP/2."""
        self.over = False
        self.server.initiate_connection()
        self.take()
        self.streams.receive(bytes(self.wire))
        self.wire.clear()
        self.take()
        self.set({SettingCodes.MAX_CONCURRENT_STREAMS: limit, SettingCodes.INITIAL_WINDOW_SIZE: window})

    # The server

    def take(self) -> None:
        """What the client has sent; it sends nothing that this raises on."""
        by_stream = {request.stream: request for request in self.requests}
        for event in self.server.receive_data(self.streams.data_to_send()):
            request = by_stream.get(getattr(event, "stream_id", 0))
            match event:
                case RequestReceived():
                    assert request is not None
                    request.taken = True
                case DataReceived():
                    assert request is not None
                    request.got += event.data or b""
                    assert request.body.startswith(request.got)
                case StreamEnded():
                    assert request is not None
                    request.whole = True
                    assert request.got == request.body
                case SettingsAcknowledged():
                    self.settings_are_known = True
                case StreamReset():
                    assert request is not None
                    assert request.ended, "the client gives up what it awaits"
                    request.may_fail = True
        self.flush()

    def set(self, changed: dict[SettingCodes | int, int]) -> None:
        """One change at a time: h2 takes the next acknowledgement for that of every setting it has changed."""
        self.settings_are_known = False
        self.server.update_settings(changed)
        self.flush()

    def flush(self) -> None:
        self.wire += self.server.data_to_send()

    @property
    def served(self) -> list[Request]:
        """The requests that the server may still say something about."""
        if self.spoilt or self.over:
            return []
        return [each for each in self.requests if not each.closed and each.stream <= self.last_stream]

    def pick(self, number: int) -> Request:
        return self.served[number % len(self.served)]

    def head(self, request: Request, status: int) -> None:
        if request.status is None:
            request.status = status
            self.server.send_headers(request.stream, [(":status", str(status))])

    def body(self, request: Request, size: int, *, end: bool) -> None:
        part = b"%d:" % request.token + bytes(size)
        if len(part) > self.server.local_flow_control_window(request.stream):
            return
        request.answer += part
        request.answered = end
        self.server.send_data(request.stream, part, end_stream=end)

    # The client

    def tell(self, outcomes: list[Outcome[int]]) -> None:
        """Each outcome is of a request that awaits one, and is what the server has done to it."""
        for token, what in outcomes:
            request = self.requests[token]
            assert not request.ended, "told a second time, or after it was given up"
            request.outcome = what
            if isinstance(what, Answer):
                assert request.answered
                assert what == (request.status, bytes(request.answer))
            else:
                assert request.may_fail or request.stream > self.last_stream or self.spoilt or self.over, what

    def receive(self, data: bytes) -> None:
        self.tell(self.streams.receive(data))
        if self.streams.broken is not None:
            assert self.spoilt
            self.end()

    def end(self) -> None:
        """The connection is closed, as its drivers close it."""
        self.over = True
        self.tell(self.streams.lose("ended"))
        self.streams.data_to_send()
        assert all(request.ended for request in self.requests)

    # Steps

    @precondition(lambda self: not self.over and self.streams.has_room)
    @rule(frames=st.sampled_from([1, 1, 3, 50, 150]), is_taken=st.booleans())
    def ask(self, frames: int, is_taken: bool) -> None:
        token = len(self.requests)
        body = b"%16d" % token * (40 * frames)
        stream = self.streams.begin(Infer([body[:320], body[320:]], len(body), 4), token)
        self.requests.append(Request(token, stream, body))
        if is_taken and not self.spoilt:
            self.take()

    @rule()
    def server_takes(self) -> None:
        if not self.spoilt and not self.over:
            self.take()

    @precondition(lambda self: self.served)
    @rule(number=PICKS, status=st.sampled_from([200, 200, 204, 404, 429, 503]), size=st.integers(0, 3000))
    def answer_whole(self, number: int, status: int, size: int) -> None:
        request = self.pick(number)
        self.head(request, status)
        self.body(request, size, end=True)
        self.flush()

    @precondition(lambda self: self.served)
    @rule(number=PICKS, size=st.integers(0, 3000))
    def answer_half(self, number: int, size: int) -> None:
        request = self.pick(number)
        self.head(request, 200)
        self.body(request, size, end=False)
        self.flush()

    @precondition(lambda self: self.served)
    @rule(number=PICKS)
    def answer_early_hints(self, number: int) -> None:
        """Delivered at once, to who awaits it: h2 breaks where they cross a reset (`test_h2_streams` has it alone)."""
        request = self.pick(number)
        if request.status is None and not request.ended:
            self.server.send_headers(request.stream, [(":status", "103")])
            self.flush()
            self.deliver([], everything=True)

    @precondition(lambda self: self.served)
    @rule(number=PICKS)
    def answer_trailers(self, number: int) -> None:
        request = self.pick(number)
        if request.status is not None:
            self.server.send_headers(request.stream, [("x-trailer", "1")], end_stream=True)
            request.answered = True
            self.flush()

    @precondition(lambda self: self.served)
    @rule(number=PICKS, status=st.sampled_from(BAD_STATUSES))
    def answer_without_a_status(self, number: int, status: str) -> None:
        request = self.pick(number)
        if request.status is None:
            self.server.send_headers(request.stream, [(":status", status)])
            request.may_fail = True
            self.flush()

    @precondition(lambda self: self.served)
    @rule(number=PICKS, code=st.sampled_from([ErrorCodes.NO_ERROR, ErrorCodes.REFUSED_STREAM, ErrorCodes.CANCEL]))
    def reset(self, number: int, code: ErrorCodes) -> None:
        request = self.pick(number)
        self.server.reset_stream(request.stream, code)
        request.may_fail = True
        self.flush()

    @precondition(lambda self: self.served)
    @rule(number=PICKS, by=st.sampled_from([1, 7, 640, 40000]), whole_connection=st.booleans())
    def open_window(self, number: int, by: int, whole_connection: bool) -> None:
        request = self.pick(number)
        self.server.increment_flow_control_window(by, None if whole_connection else request.stream)
        self.flush()

    @precondition(lambda self: self.settings_are_known and not self.spoilt and not self.over)
    @rule(
        changed=st.one_of(
            st.builds(lambda limit: {SettingCodes.MAX_CONCURRENT_STREAMS: limit}, st.integers(0, 8)),
            st.builds(lambda window: {SettingCodes.INITIAL_WINDOW_SIZE: window}, st.integers(0, 80_000)),
        )
    )
    def change_a_setting(self, changed: dict[SettingCodes | int, int]) -> None:
        self.set(changed)

    @precondition(lambda self: not self.calm_steps and not self.spoilt and not self.over)
    @rule(number=PICKS, code=st.sampled_from([0, 0, 1, 11]))
    def go_away(self, number: int, code: int) -> None:
        """Written as a frame: h2's own would end the server, which still answers what it has named."""
        known = [0, *(request.stream for request in self.requests if request.taken), 2**31 - 1]
        self.last_stream = min(self.last_stream, known[number % len(known)])
        self.wire += GoAwayFrame(0, last_stream_id=self.last_stream, error_code=code).serialize()

    @precondition(lambda self: not self.calm_steps and not self.spoilt and not self.over)
    @rule(
        garbage=st.one_of(
            st.sampled_from([b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\4\x08" + bytes(9), b"\xff" * 16]),
            st.binary(min_size=9, max_size=60),
        )
    )
    def spoil(self, garbage: bytes) -> None:
        self.wire += garbage
        self.spoilt = True

    @precondition(lambda self: not self.over and self.wire)
    @rule(cuts=CUTS, everything=st.booleans())
    def deliver(self, cuts: list[int], everything: bool) -> None:
        for size in [*cuts, len(self.wire)] if everything else cuts:
            data, self.wire = bytes(self.wire[:size]), self.wire[size:]
            if data and not self.over:
                self.receive(data)

    @precondition(lambda self: self.requests)
    @rule(number=PICKS)
    def give_up(self, number: int) -> None:
        """Also one that has ended, and also after the connection has."""
        request = self.requests[number % len(self.requests)]
        self.streams.cancel(request.stream)
        request.cancelled = not request.ended or request.cancelled

    @precondition(lambda self: not self.calm_steps and not self.over)
    @rule()
    def server_closes(self) -> None:
        self.end()

    @invariant()
    def the_core_knows_who_waits(self) -> None:
        if not hasattr(self, "requests"):
            return
        self.calm_steps = max(0, self.calm_steps - 1)
        assert self.streams.idle == all(request.ended for request in self.requests)
        if self.over:
            assert not self.streams.has_room
            assert not self.streams.usable
            assert self.streams.data_to_send() == b""

    def teardown(self) -> None:
        if hasattr(self, "requests") and not self.over:
            self.end()


StreamsMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestStreamsMachine = StreamsMachine.TestCase
