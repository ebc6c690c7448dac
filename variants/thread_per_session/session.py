"""One session in its thread: wait for a frame or for the tick, whichever comes first; ask, wait, send the answer."""

import random
from collections.abc import Iterator
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Protocol

from gateway import Failure, Infer, SendText, Session, SessionSettings, Tally
from variants.shared.inference import Answer
from variants.shared.options import HostOptions
from variants.thread_per_session.client import BlockingClient
from variants.thread_per_session.tallies import ThreadTallies

_LOOK_S = 0.1
"""How often a session that has not started looks whether the host ends."""


class Ended(Exception):
    """The connection is over, whoever ended it."""


class Wire(Protocol):
    """A WebSocket that blocks. All its methods may raise `Ended`."""

    @property
    def has_more(self) -> bool:
        """Whether a message came with the last one that was taken: it belongs before a tick."""
        ...

    def receive(self, until_s: float) -> str | bytes | None:
        """The next message; None once the time has come, on the monotonic clock, or a little later."""
        ...

    def while_waiting(self, fd: int, until_s: float) -> Iterator[str | bytes]:
        """Messages that come until a descriptor is readable, or the time has come."""
        ...

    def send_text(self, text: str) -> None:
        """Returns when the kernel has it."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Send the close, and wait for the peer's, within a limit."""
        ...


class Gateway:
    """What all threads share: settings, which are read-only; the client, which is urllib3's; tallies, with a lock."""

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self.client = BlockingClient(*options.inference_address)
        self.tallies = ThreadTallies()
        self.leaving = Event()
        """Set once the host ends."""
        self._settings = SessionSettings()

    def serve(self, wire: Wire) -> None:
        """One connection, in its own thread."""
        with self.tallies.of_thread() as tally, suppress(Ended):
            self._serve(wire, tally)

    def _serve(self, wire: Wire, tally: Tally) -> None:
        phase_ms = random.uniform(0, self.options.flush_phase_jitter_ms)
        session = Session(self._settings, phase_ms, tally)
        try:
            while not self.leaving.is_set():
                now_s = monotonic()
                if session.started and now_s >= session.next_due_s and not wire.has_more:
                    self._tick(wire, session, now_s)
                    continue
                message = wire.receive(session.next_due_s if session.started else now_s + _LOOK_S)
                if message is None:
                    continue
                now_s = monotonic()
                close = session.frame(message, now_s) if session.started else session.start(message, now_s)
                if close is not None:
                    wire.close(close.code, close.reason)
                    return
            close = session.leave()
            wire.close(close.code, close.reason)
        finally:
            session.close()

    def _ask(self, wire: Wire, session: Session, batch: Infer) -> Answer | Failure:
        request = self.client.send(batch)
        if isinstance(request, Failure):
            return request
        try:
            for message in wire.while_waiting(request.fileno(), request.until_s):
                close = session.frame(message, monotonic())
                if close is not None:
                    wire.close(close.code, close.reason)
                    raise Ended
        except Ended:
            request.give_up()
            raise
        return request.finish()

    def _tick(self, wire: Wire, session: Session, now_s: float) -> None:
        for action in session.tick(now_s):
            if isinstance(action, SendText):
                message: SendText | None = action
            else:
                outcome = self._ask(wire, session, action)
                now_s = monotonic()
                if isinstance(outcome, Failure):
                    message = session.failed(outcome, now_s)
                else:
                    message = session.answered(outcome.status, outcome.body, now_s)
            if message is not None:
                wire.send_text(message.text)
                session.written()
