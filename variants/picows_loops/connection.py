"""One client: picows calls in, the session decides, the shared relay writes. No rule of the session lives here.

Everything belongs to the thread of the event loop that accepted the connection.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from types import FunctionType

import anyio
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gateway import Close, Session, Tally
from variants.picows_loops.framing import (
    MOST_ODD_FRAMES,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    Assembly,
    BrokenFraming,
    answer_to_close,
)
from variants.shared.inference import InferenceClient
from variants.shared.options import CLOSE_LIMIT_S
from variants.shared.reading import Reading
from variants.shared.relay import start_relay

_BINARY, _TEXT, _CONTINUATION = WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION
_PING, _CLOSE = WSMsgType.PING, WSMsgType.CLOSE

_INTERNAL_ERROR = 1011
_LOOK_INTERVAL_S = 1.0
"""How often a connection that does not take our bytes is looked at: one that is closing gets no more time."""


class Connection(WSListener):  # type: ignore[misc]
    """picows' listener for one WebSocket."""

    def __init__(
        self,
        session: Session,
        client: InferenceClient,
        tally: Tally,
        connections: "set[Connection]",
        *,
        reads_at_ticks: bool = False,
    ) -> None:
        self.session = session
        self._tally = tally
        self._connections = connections
        """The loop's, of which this is one while TCP lasts."""
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._assembly = Assembly()
        self._takes_audio = False
        """Whether a whole binary frame is a message for `Session.frame`: started, not ending, no fragments pending."""
        self._odd_frames = 0
        """That were no plain audio, since `_odd_since_s`."""
        self._odd_since_s = monotonic()
        self._is_ending = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: WSTransport | None = None
        self._relay: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reads_at_ticks = reads_at_ticks
        self._reading: Reading | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Count as written only what the kernel has taken: the transport pauses at the first byte that it keeps."""
        self._transport = transport
        self._connections.add(self)
        self._tally.enter()
        transport.underlying_transport.set_write_buffer_limits(high=0)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called 50 times a second per session: copy the payload, which dies with this call, and hand it over."""
        if (
            self._takes_audio
            and frame.msg_type is _BINARY
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            close = self.session.frame(frame.get_payload_as_bytes(), monotonic())
            if close is not None:
                self._end(close.code, close.reason)
        elif not self._is_ending:
            try:
                self._take(transport, frame)
            except BrokenFraming as broken:
                self._end(broken.code, broken.reason)
                if broken.code == POLICY_VIOLATION:
                    transport.disconnect()  # a flood: nothing more of it is looked at
        elif frame.msg_type is _CLOSE:
            transport.disconnect()  # our close is answered

    def _take(self, transport: WSTransport, frame: WSFrame) -> None:
        """Anything but plain audio."""
        self._odd_frames += 1
        if self._odd_frames > MOST_ODD_FRAMES:
            now_s = monotonic()
            if now_s - self._odd_since_s < 1.0:
                raise BrokenFraming(POLICY_VIOLATION, f"over {MOST_ODD_FRAMES} frames a second besides audio")
            self._odd_frames, self._odd_since_s = 0, now_s
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise BrokenFraming(PROTOCOL_ERROR, "a reserved bit is set, and no extension was agreed on")
        kind = frame.msg_type
        if kind is _PING:
            if self._writable.is_set():  # else a client that never reads could fill our memory with pongs
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind is _CLOSE:
            self._end(answer_to_close(frame), "")
            transport.disconnect()
        elif kind in (_TEXT, _BINARY, _CONTINUATION):
            message = self._assembly.take(frame)
            if message is not None:
                self._hear(message)
            self._takes_audio = self.session.started and not self._assembly.is_open and not self._is_ending

    def _hear(self, message: str | bytes) -> None:
        """A whole message, the first one or one that came in fragments or as text."""
        if self.session.started:
            close = self.session.frame(message, monotonic())
        else:
            close = self.session.start(message, monotonic())
            if close is None:
                self._relay = self._loop.create_task(self._run_relay())
                self._relay.add_done_callback(self._relay_ended)
                if self._reads_at_ticks and self._transport is not None:
                    self._reading = Reading(self._transport.underlying_transport, self.session)
        if close is not None:
            self._end(close.code, close.reason)

    async def _run_relay(self) -> None:
        async with anyio.create_task_group() as tasks:
            start_relay(tasks, self.session, self._client, self._send_text)

    async def _send_text(self, text: str) -> None:
        """Write one message; returns when the kernel has taken it."""
        if self._transport is not None:
            self._transport.send(_TEXT, text)
            await self._writable.wait()

    def _relay_ended(self, relay: "asyncio.Task[None]") -> None:
        error = None if relay.cancelled() else relay.exception()
        if error is not None:
            self._tally.exceptions += 1
            self._loop.call_exception_handler({"message": "the relay of a session failed", "exception": error})
            self._end(_INTERNAL_ERROR, "")

    async def leave(self, close: Close) -> None:
        """The host ends."""
        self._end(close.code, close.reason)

    def _end(self, code: int, reason: str) -> None:
        """Send a close, and go on reading (nothing is kept) until it is answered: TCP would drop it otherwise."""
        if self._is_ending or self._transport is None:
            return
        self._let_go()
        self._transport.send_close(code, reason)
        self._set_timer(CLOSE_LIMIT_S, self._transport.disconnect, False)

    def _let_go(self) -> None:
        """Take and send nothing more; a request in flight is given up, audio forgotten."""
        self._is_ending, self._takes_audio = True, False
        self.session.close()
        if self._reading is not None:
            self._reading.end()
            self._reading = None
        if self._relay is not None:
            self._relay.cancel()
            self._relay = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """TCP has ended, whoever ended it: leave no reference that keeps anything alive."""
        self._let_go()
        self._transport = None
        if self in self._connections:
            self._connections.remove(self)
            self._tally.leave()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        """The kernel takes no more: the client does not read."""
        self._writable.clear()
        if self._timer is None:
            self._set_timer(_LOOK_INTERVAL_S, self._look)

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._writable.set()

    def _look(self) -> None:
        """A client that ended its side, and does not read, would keep its descriptor for as long as it likes."""
        transport, self._timer = self._transport, None
        if transport is None or self._writable.is_set():
            return
        if transport.underlying_transport.is_closing():
            transport.disconnect(False)
        else:
            self._set_timer(_LOOK_INTERVAL_S, self._look)

    def _set_timer(self, delay_s: float, callback: Callable[..., None], *arguments: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, callback, *arguments)


def of_this_thread(listener: type[Connection]) -> type[Connection]:
    """The class with its own copy of what picows calls for each frame: a call from C takes references to the function,
    and where all loops' threads share one, they count them atomically, in one cache line."""
    shared = listener.on_ws_frame
    own = FunctionType(shared.__code__, shared.__globals__, shared.__name__)
    return type(listener.__name__, (listener,), {"on_ws_frame": own})
