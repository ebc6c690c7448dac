"""One client's connection: handshake, start message, then a look at its socket whenever its timer says so.

Belongs to the thread of its loop, session and decoder included. The rules are `gateway.Session`'s.
"""

import logging
import socket
from http import HTTPStatus
from math import ceil
from typing import Protocol

from websockets.http11 import Request, Response
from websockets.protocol import State

from gateway import FULL, Admission, Close, Failure, Infer, SendText, Session, Tally
from variants.drain.decoder import WIRE_BYTES, ClosableProtocol, Decoder, Scratch, text_frame
from variants.drain.inference import Inference
from variants.drain.stream import HANGUP_ONLY, IN, OUT, Poller, Stream
from variants.drain.timers import Timers
from variants.shared.inference import Answer
from variants.shared.metrics import CONTENT_TYPE, Tallies
from variants.shared.options import MOST_BYTES

MOST_REQUEST_BYTES = 65536
MOST_UNWRITTEN_BYTES = 1 << 20
"""A client that asks (pings) and does not read the answers is dropped when as much waits for it."""
END_LIMIT_S = 2.0
"""How long an ended connection may take to finish: our last bytes, the peer's close frame, its FIN."""
BURST_BYTES = 129_600
"""Four seconds of audio on the wire (200 frames; written out as `WIRE_BYTES` is). So much in one look means that the
sender has been held up, or has a backlog: more comes as soon as there is room."""
BURST_LOOK_S = 0.02
_INTERNAL_ERROR = Close(1011, "")

_LOGGER = logging.getLogger("variants.drain.websockets")
_LOGGER.setLevel(logging.CRITICAL)  # a refused handshake is the peer's affair


class Host(Protocol):
    """What a client needs of the loop that it belongs to."""

    poller: Poller
    timers: "Timers[Client]"
    inference: Inference
    scratch: Scratch
    look_s: float
    tallies: Tallies
    tally: Tally
    admission: Admission

    def new_session(self, now_s: float) -> Session: ...

    def survived(self) -> None:
        """Count and print the exception that is handled just now: it ends one client."""


class Client(Stream):
    """One accepted connection. `on_event`, `on_time` and `on_tick` move it on; its inference's outcome comes by
    `on_outcome`."""

    def __init__(self, loop: Host, sock: socket.socket) -> None:
        super().__init__(loop.poller, sock, IN)
        self._loop = loop
        self._session = loop.new_session(0.0)
        """Made anew when the start message comes: its phase depends on that moment."""
        self._protocol = ClosableProtocol(max_size=MOST_BYTES, logger=_LOGGER)
        self._request: bytes | None = b""
        """What came of the upgrade request; None once it is whole."""
        self._decoder = Decoder(self._protocol)
        self._is_let_in = False
        self._came_bytes = 0
        """Found by the last look of the timer's."""
        self._ends_s: float | None = None
        """When an ended connection is dropped; None while it lives."""
        self._leave: Close | None = None
        """The close to send once nothing is owed, because the host ends."""
        self._linger = False
        """We have said our last; what still comes is thrown away, until the peer's FIN."""

    @property
    def done(self) -> bool:
        """Whether the handshake is over, or the connection."""
        return self._request is None or not self.open

    # Woken: until the session has started, when the peer hangs up, and when there is room to write

    def on_event(self, mask: int, now_s: float) -> None:
        if not self.open:
            return
        if mask & OUT and self._pending:
            try:
                self._flush()
            except OSError:
                self.drop()
                return
            if self._ends_s is not None and not self._pending:
                self._finish()
        if mask & ~OUT:
            if self._session.started:
                while self._look(now_s):  # the peer has hung up: everything up to its FIN
                    pass
            else:
                self._look(now_s)

    def on_time(self, now_s: float) -> bool:
        """The timer: look. Returns whether a tick is due, which `on_tick` serves."""
        if not self.open:
            return False
        if self._ends_s is not None:
            if now_s >= self._ends_s:
                self.drop()
            return False
        is_due = now_s >= self._session.next_due_s
        self._came_bytes = self._look(now_s) if is_due else self._glance(now_s)
        if self._ends_s is not None or not self.open:
            return False
        if not is_due:
            self._set_timer(now_s)
        return is_due

    def on_tick(self, now_s: float) -> None:
        """Serve the tick that is due; what has come was looked at just before."""
        self._decoder.odd_frames = 0
        for action in self._session.tick(now_s):
            if isinstance(action, Infer):
                self._loop.inference.post(action, self, now_s)
            else:
                self._send_text(action)
        if self.open:
            self._set_timer(now_s)

    def _set_timer(self, now_s: float) -> None:
        """Come back for the next look. Looks lie a whole number of intervals before the tick: so the first, short gap
        after a tick is the one that is left over, and most of the audio is read, unmasked and sent on in one go."""
        due_s, look_s = self._session.next_due_s, self._loop.look_s
        if self._came_bytes >= BURST_BYTES:
            due_s = min(due_s, now_s + BURST_LOOK_S)
        elif due_s - now_s > look_s:
            due_s -= (ceil((due_s - now_s) / look_s) - 1) * look_s
        self._loop.timers.add(due_s, self)

    # Coming in

    def _glance(self, now_s: float) -> int:
        """The look between two ticks; how many bytes were there. Plain audio is left to the kernel, for the tick to
        read with what follows; anything else is taken."""
        scratch = self._loop.scratch
        try:
            there_bytes = self._sock.recv_into(scratch.memory, 0, socket.MSG_PEEK)
        except BlockingIOError:
            return 0
        except OSError:
            self.drop()
            return 0
        if 0 < there_bytes < BURST_BYTES and self._decoder.is_run(scratch, there_bytes):
            return there_bytes
        return self._look(now_s)

    def _look(self, now_s: float) -> int:
        """Take what the kernel holds, in one call; how many bytes it was. The scratch memory is as big as any of them.

        After the session has started, nobody but this takes anything.
        """
        if not self.open:
            return 0
        scratch, decoder = self._loop.scratch, self._decoder
        room, held = scratch.memory, decoder.held
        held_bytes = len(held)
        if held:
            room[:held_bytes] = held
            room = room[held_bytes:]
        try:
            came_bytes = self._sock.recv_into(room)
        except BlockingIOError:
            return 0
        except OSError:
            self.drop()
            return 0
        if not came_bytes:
            self.drop()
            return 0
        if decoder.is_run(scratch, came_bytes):
            self._session.frames(scratch.unmasked(came_bytes // WIRE_BYTES), now_s)
        elif self._request is None:
            self._take(scratch.memory[: held_bytes + came_bytes], now_s)
        elif not self._linger:
            self._take_request(bytes(room[:came_bytes]), now_s)
        return came_bytes

    def _take_request(self, data: bytes, now_s: float) -> None:
        assert self._request is not None
        data = self._request + data
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end and len(data) <= MOST_REQUEST_BYTES:
            self._request = data
            return
        protocol = self._protocol
        protocol.receive_data(head + end)  # what follows is the decoder's
        for request in protocol.events_received():
            assert isinstance(request, Request)
            self._respond(request)
        self._write_replies(now_s)
        if protocol.state is State.OPEN:
            self._request = None
            if rest:
                self._take(memoryview(rest), now_s)
        elif not protocol.eof_sent:
            self.drop()  # neither the end of a request nor something to refuse within the limit

    def _respond(self, request: Request) -> None:
        protocol, path = self._protocol, request.path.partition("?")[0]
        if path == "/ws/stt" and self._loop.admission.admits(self._loop.tally):
            response = protocol.accept(request)
            if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                self._is_let_in = True
                self._loop.tally.enter()
        elif path == "/ws/stt":
            response = protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, FULL.reason)
        elif path == "/health":
            response = self._answer('{"ok":true}', "application/json")
        elif path == "/metrics":
            response = self._answer(self._loop.tallies.page().decode(), CONTENT_TYPE)
        else:
            response = protocol.reject(HTTPStatus.NOT_FOUND, "expected /ws/stt or /health\n")
        protocol.send_response(response)

    def _answer(self, body: str, content_type: str) -> Response:
        response = self._protocol.reject(HTTPStatus.OK, body)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = content_type
        return response

    def _take(self, data: memoryview, now_s: float) -> None:
        if self._linger:
            return
        session, decoder = self._session, self._decoder
        close = None
        for event in decoder.receive(data):
            if not session.started:
                session = self._session = self._loop.new_session(now_s)
                close = session.start(event, now_s)
                if close is None:
                    decoder.expects_audio = True
                    self._listen_for(HANGUP_ONLY)
                    self._set_timer(now_s)
            elif isinstance(event, memoryview):
                session.frames(event, now_s)
                continue
            else:
                close = session.frame(event, now_s)
            if close is not None:
                self._close(close, now_s)  # no event follows; the decoder goes on to the peer's close
                if not self.open:
                    return
        if self._protocol.writes:
            self._write_replies(now_s)

    # Going out

    def on_outcome(self, outcome: Answer | Failure, now_s: float) -> None:
        """The inference server's answer to this session's request in flight, or why there is none. Raises nothing: who
        tells it has other clients to tell."""
        try:
            if isinstance(outcome, Failure):
                message = self._session.failed(outcome, now_s)
            else:
                message = self._session.answered(outcome.status, outcome.body, now_s)
            if message is not None:
                self._send_text(message)
            if self._leave is not None and self._ends_s is None and self.open:
                self._close(self._leave, now_s)
        except Exception:
            self.fail(now_s)

    def _send_text(self, message: SendText) -> None:
        if not self.open:
            return
        try:
            self._write((text_frame(message.text),), report=True)
        except OSError:
            self.drop()

    def _message_written(self) -> None:
        self._session.written()

    def _write_replies(self, now_s: float) -> None:
        """Write what the protocol object has queued: handshake, pongs, close. An empty one is the end."""
        replies = self._protocol.data_to_send()
        try:
            for reply in replies:
                if reply:
                    self._write((reply,))
        except OSError:
            self.drop()
            return
        if self._protocol.eof_sent:
            self._end(now_s)
            if not self._pending:
                self._finish()
        elif self.unwritten_bytes > MOST_UNWRITTEN_BYTES:
            self.drop()

    # Ending

    def _close(self, close: Close, now_s: float) -> None:
        """Close for a reason of our own; the peer's close frame is awaited."""
        self._protocol.send_close(close.code, close.reason)
        self._end(now_s)
        self._write_replies(now_s)

    def leave(self, now_s: float) -> None:
        """The host ends: the answer in flight is still relayed; then, or at once, the connection is closed."""
        if self._ends_s is not None or not self.open:
            return  # it is going already
        if self._request is not None:
            self.drop()  # no WebSocket yet
            return
        self._leave = self._session.leave()
        if not self._session.in_flight:
            self._close(self._leave, now_s)

    def fail(self, now_s: float) -> None:
        """Called while an exception is handled that nobody expected, and that costs this connection alone."""
        self._loop.survived()
        try:
            self._close(_INTERNAL_ERROR, now_s)
        except Exception:  # in whatever state it is now
            self.drop()

    def _end(self, now_s: float) -> None:
        """Nothing more is taken or sent but the end itself, within its time limit."""
        if self._ends_s is not None:
            return
        self._session.close()
        self._ends_s = now_s + END_LIMIT_S
        self._loop.timers.add(self._ends_s, self)
        self._listen_for(IN)

    def _finish(self) -> None:
        """Our last byte has left. Closing now would reset the connection, and lose it, if the peer still sends."""
        if not self._protocol.eof_sent:
            return  # the peer's close frame has yet to come
        if self._protocol.close_rcvd is not None:
            self.drop()
            return
        self._linger = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop()

    def drop(self) -> None:
        """Let go of the connection and of all that it holds."""
        if self.open:
            self.close()
            self._session.close()
            if self._is_let_in:
                self._loop.tally.leave()
            self._protocol.parser.close()  # its frame refers to the protocol: this leaves nothing for the collector
