"""One session's socket: connect, handshake, start message, audio past a full socket, answers, close.

Everything that comes in is parsed by websockets' sans-I/O ClientProtocol; audio goes out as precomputed wire frames,
past it. No schedule belongs here (the worker says when), and no judgement after the run.
"""

import errno
import os
import select
import socket
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response

from loadgen.ledger import ErrorSeen, SessionLedger
from loadgen.messages import Partial, ProtocolViolation, read_message
from loadgen.schedule import due_s
from loadgen.shared import Shared, State

if TYPE_CHECKING:
    from loadgen.slots import Slot

IN, OUT = select.EPOLLIN, select.EPOLLOUT
START_MESSAGE = b'{"type":"start"}'
READ_BYTES = 65536
MAX_MESSAGE_BYTES = 1 << 20
FULL_STATUS, FULL_CODE = 503, 1013
"""How a gateway refuses a session because it is full: to the upgrade, or in a close frame after it."""
_FLUSH_BUFFERS = 64


class Connection:
    """One session. `open` begins it; `on_event` and `on_time` move it on; `state` says where it is."""

    def __init__(self, session: int, shared: "Shared[Connection]") -> None:
        self.state = State.CONNECTING
        self.ledger = SessionLedger(session)
        self.since_s = 0.0  # when `state` was entered
        self.slot: Slot[Connection] | None = None
        self.place = 0
        self._shared = shared
        self._rounds_at_join = 0
        self._sock: socket.socket | None = None
        self._fd = -1
        self._protocol = ClientProtocol(shared.uri, max_size=MAX_MESSAGE_BYTES)
        self._pending: deque[tuple[bytes | memoryview, int]] = deque()  # (bytes, frame number; 0 if not audio)
        self._pending_frames = 0
        self._took_s = 0.0  # when the socket last took a byte, or first took none
        self._progress_s = 0.0  # when a message last covered frames, or the session started
        self._fragments: list[bytes] = []
        self._send_error: str | None = None  # why no more can be sent; what can yet be read says how it ended

    # Opening

    def open(self) -> None:
        """Begin to connect. Exhaustion of our own is counted and ends the session without a failure."""
        shared = self._shared
        self.since_s = shared.clock()
        try:
            sock = socket.socket(shared.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._sock, self._fd = sock, sock.fileno()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            result = sock.connect_ex(shared.address)
            if result not in (0, errno.EINPROGRESS):
                raise OSError(result, os.strerror(result))
            shared.epoll.register(self._fd, IN | OUT)
            shared.by_fd[self._fd] = self
        except OSError as error:
            self._connect_failed(error)

    def _on_connected(self) -> None:
        assert self._sock is not None
        result = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result:
            self._connect_failed(OSError(result, os.strerror(result)))
            return
        self.state = State.UPGRADING
        self._shared.epoll.modify(self._fd, IN)
        self._protocol.send_request(self._protocol.connect())
        self._write_protocol_data()

    def _connect_failed(self, error: OSError) -> None:
        if self._shared.exhaustion.takes(error):
            self._finish()
        else:
            self._fail("connect", f"TCP connect to {self._shared.address}: {error}")

    def _on_upgraded(self, now_s: float) -> None:
        if self._protocol.handshake_exc is not None:
            self._not_upgraded(self._protocol.handshake_exc)
            return
        self.ledger.connect_s = now_s - self.since_s
        if self._protocol.close_rcvd is not None:
            return  # it came in the same segment, and is the next event
        self._protocol.send_text(START_MESSAGE)
        self.ledger.start_s = self._progress_s = self._shared.clock()
        self._enter(State.STREAMING)
        self._write_protocol_data()

    def _not_upgraded(self, refusal: Exception) -> None:
        self.ledger.refused = isinstance(refusal, InvalidStatus) and refusal.response.status_code == FULL_STATUS
        self._fail("connect", f"expected an upgrade (101), got {refusal}")

    # Audio

    def join(self, slot: "Slot[Connection]", lead_s: float) -> None:
        """Have `slot` send this session's frames, from frame 1 on."""
        self.slot, self.place = slot, slot.add(self, self.ledger.session)
        self._rounds_at_join = slot.rounds
        slot.lead_s = max(slot.lead_s, lead_s)
        if not self._pending:
            slot.release(self.place, self._fd)

    def leave(self) -> None:
        """Stop sending audio; the frames due so far stay due."""
        slot = self.slot
        if slot is None:
            return
        self.ledger.due = slot.rounds - self._rounds_at_join
        self.slot = None
        moved = slot.remove(self.place)
        if moved is not None:
            moved.place = self.place

    @property
    def frames_sent(self) -> int:
        """Frames whose last byte the socket has taken."""
        due = self.ledger.due if self.slot is None else self.slot.rounds - self._rounds_at_join
        return due - self._pending_frames

    def queue_frame(self, frame: bytes) -> None:
        """While the socket is full a frame waits its turn; the schedule does not."""
        assert self.slot is not None
        self._pending.append((frame, self.slot.rounds - self._rounds_at_join + 1))
        self._pending_frames += 1

    def came_short(self, frame: bytes, taken_bytes: int) -> None:
        """The socket took only `taken_bytes` (0 … 647) of a frame that the slot just sent."""
        assert self.slot is not None
        self._wait_for_room()
        self.queue_frame(frame)
        if taken_bytes:
            _, number = self._pending.pop()
            self._pending.append((memoryview(frame)[taken_bytes:], number))

    def send_failed(self, error: OSError) -> None:
        """The socket refused the frame that the slot just sent, for another reason than being full."""
        self._pending_frames += 1
        self._broken("sending", error)

    def _wait_for_room(self) -> None:
        if self.slot is not None:
            self.slot.hold(self.place)
        self._took_s = self._shared.clock()
        self._shared.blocked.add(self)
        self._shared.epoll.modify(self._fd, IN | OUT)

    def _flush(self, now_s: float) -> None:
        assert self._sock is not None
        pending = self._pending
        while pending:
            try:
                taken = self._sock.sendmsg([data for data, _ in islice(pending, _FLUSH_BUFFERS)])
            except BlockingIOError:
                return
            except OSError as error:
                self._broken("sending", error)
                return
            self._took_s = now_s
            while taken:
                data, number = pending[0]
                if taken < len(data):
                    pending[0] = (memoryview(data)[taken:], number)
                    break
                taken -= len(data)
                pending.popleft()
                if number:
                    assert self.ledger.start_s is not None
                    frame_due_s = due_s(self.ledger.start_s, number)
                    self._pending_frames -= 1
                    self._shared.blocked_ms.append((frame_due_s, (now_s - frame_due_s) * 1000))
        self._shared.blocked.discard(self)
        self._shared.epoll.modify(self._fd, IN)
        if self.slot is not None:
            self.slot.release(self.place, self._fd)

    # What the protocol object wants written: handshake, start, pong, close

    def _write_protocol_data(self) -> None:
        for data in self._protocol.data_to_send():  # an empty one asks for our FIN: closing at the peer's EOF sends it
            if self.state is State.DONE:
                return
            if data:
                self._write(data)

    def _write(self, data: bytes) -> None:
        assert self._sock is not None
        taken = 0
        if not self._pending:
            try:
                taken = self._sock.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                self._broken("sending", error)
                return
            if taken == len(data):
                return
            self._wait_for_room()
        self._pending.append((memoryview(data)[taken:], 0))

    # Coming in

    def on_event(self, mask: int, now_s: float) -> None:
        """Handle what epoll reported, at `now_s`."""
        if self.state is State.CONNECTING:
            self._on_connected()
            return
        if mask & OUT and self._pending:
            self._flush(now_s)
        if mask & ~OUT and self.state is not State.DONE:
            self._read(now_s)

    def _read(self, now_s: float) -> bool:
        """Take what came, in one call; whether there may be more."""
        assert self._sock is not None
        protocol = self._protocol
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._broken("reading", error)
            return False
        protocol.receive_data(data) if data else protocol.receive_eof()
        if protocol.writes:
            self._write_protocol_data()
        try:
            for event in protocol.events_received():
                if self.state is State.DONE:
                    return False
                self._on_frame(event, now_s)
        except ProtocolViolation as violation:
            self._fail("protocol", str(violation))
        if self.state is State.DONE:
            return False
        if protocol.handshake_exc is not None:
            self._not_upgraded(protocol.handshake_exc)
        elif not data:
            self._gone("end of stream")
        elif protocol.parser_exc is not None:
            name = "close" if self.state is State.CLOSING else "protocol"
            self._fail(name, f"broken framing: {protocol.parser_exc}")
        return True

    def _on_frame(self, event: object, now_s: float) -> None:
        if isinstance(event, Response):
            self._on_upgraded(now_s)
            return
        assert isinstance(event, Frame)
        if event.opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            if close is not None and close.code == FULL_CODE and self.ledger.next_seq == 1:
                self.ledger.refused = True
                self._fail("connect", f"let in and closed again: {close}")
            elif self.state is not State.CLOSING:
                self._fail("protocol", f"the gateway closed the session by itself: {self._protocol.close_rcvd}")
        elif self.state is State.CLOSING or event.opcode in (Opcode.PING, Opcode.PONG):
            return
        elif event.opcode is Opcode.BINARY:
            raise ProtocolViolation(f"expected a text message, got a binary one of {len(event.data)} bytes")
        else:
            self._fragments.append(bytes(event.data))
            if event.fin:
                data = b"".join(self._fragments)
                self._fragments.clear()
                self._on_text(data, now_s)

    def _on_text(self, data: bytes, now_s: float) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise ProtocolViolation(f"expected UTF-8 in a text message, got {error}") from None
        message = read_message(text)
        ledger = self.ledger
        answered = isinstance(message, Partial)
        self._progress_s = now_s
        ledger.cover(message.oldest, message.newest, self.frames_sent, answered=answered)
        self._shared.rows.append((ledger.session, now_s, message))
        if isinstance(message, Partial):
            assert ledger.start_s is not None
            self._shared.recent_newest_ms.append((now_s - due_s(ledger.start_s, message.newest)) * 1000)
        else:
            detail = f"{message.stage} / {message.kind}: {message.message}"
            ledger.errors.append(ErrorSeen(now_s, message.kind, detail))
        if self.state is State.DRAINING and ledger.next_seq > ledger.due:
            self._close()

    # Ending

    def drain(self) -> None:
        """No more audio: wait for the message that covers the last frame, then close."""
        self.leave()
        self._enter(State.DRAINING)
        if self.ledger.next_seq > self.ledger.due:
            self._close()

    def on_time(self, now_s: float, end_s: float) -> None:
        """Apply the time limits; `end_s` is the end of `measure`."""
        limits, waited_s = self._shared.limits, now_s - self.since_s
        if self.state is State.DONE or self._held(now_s):
            return
        if self.state in (State.CONNECTING, State.UPGRADING):
            if waited_s >= limits.connect_s:
                step = "TCP connect" if self.state is State.CONNECTING else "handshake"
                self._fail("connect", f"{step} not done after {limits.connect_s} s")
            return
        if self._pending and now_s - self._took_s >= limits.send_s:
            waiting = f"{self._pending_frames} frames waiting"
            self._fail("send", f"the socket took no byte for {limits.send_s} s; {waiting}")
        elif self.state is State.CLOSING and waited_s >= limits.close_s:
            self._fail("close", f"no close reply and end of stream within {limits.close_s} s")
        elif self.state is State.DRAINING and now_s - end_s >= limits.last_answer_s:
            self._close()
        elif now_s - end_s >= limits.session_s:
            self._fail("session", f"still open {limits.session_s} s past its end")

    def stands_still(self, now_s: float) -> bool:
        """Whether it streams, or waits for its last answer, and nothing has been covered for `stall_s`."""
        waits = self.state in (State.STREAMING, State.DRAINING)
        return waits and now_s - self._progress_s >= self._shared.limits.stall_s

    def _held(self, now_s: float) -> bool:
        limits, still_s = self._shared.limits, now_s - self._progress_s
        return self.stands_still(now_s) and still_s < limits.stall_s + limits.hold_s

    def _close(self) -> None:
        self.ledger.sent = self.frames_sent
        self.ledger.watched_until_s = self._shared.clock()
        self._enter(State.CLOSING)
        self._protocol.send_close(1000)
        self._write_protocol_data()

    def _broken(self, doing: str, error: OSError) -> None:
        if self._shared.exhaustion.takes(error):
            self._finish()
        elif doing == "reading":
            self._gone(f"{doing}: {error}")
        elif self._send_error is None:
            self._send_error = f"{doing}: {error}"
            while self.state is not State.DONE and self._read(self._shared.clock()):
                pass  # what it said before it went, a close frame for example
            self._gone(self._send_error)

    def _gone(self, how: str) -> None:
        """The gateway's end of the connection is gone."""
        how = self._send_error or how
        if self.state is State.DONE:
            return
        if self.state is State.UPGRADING:
            self._fail("connect", f"the gateway ended the connection during the handshake ({how})")
        elif self.state is not State.CLOSING:
            self._fail("protocol", f"the gateway ended the connection in mid-session ({how})")
        elif self._protocol.close_rcvd is None:
            self._fail("close", f"the gateway ended the connection without a close reply ({how})")
        else:
            self._finish()

    def _fail(self, name: str, detail: str) -> None:
        self.ledger.fail(name, self._shared.clock(), detail)
        self._finish()

    def _finish(self) -> None:
        if self.state is State.DONE:
            return
        shared, ledger = self._shared, self.ledger
        self.leave()
        if ledger.watched_until_s is None:
            ledger.sent = self.frames_sent
            ledger.watched_until_s = shared.clock()
        ledger.end_s = shared.clock()
        self._enter(State.DONE)
        shared.blocked.discard(self)
        if shared.by_fd.pop(self._fd, None) is not None:
            shared.epoll.unregister(self._fd)
        if self._sock is not None:
            self._sock.close()
        self._pending.clear()

    def _enter(self, state: State) -> None:
        self.state, self.since_s = state, self._shared.clock()
