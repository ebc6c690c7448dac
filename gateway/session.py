"""One connection's rules: numbering, the flush schedule, one request in flight, the bounded outbox and buffer.

Every verb is given the time and answers with values (`gateway.actions`). A host calls the verbs from one thread at a
time and does what they say; it holds no rule of its own. Shared between sessions are the settings, which are read-only,
and the tally of their event loop, which only its thread touches.
"""

from bisect import bisect_left

from gateway.actions import Close, Infer, SendText
from gateway.buffer import Audio, FrameBuffer, Run
from gateway.failures import Failure, broken_answer, refusal_of_status
from gateway.messages import error_text, partial_text, start_fault
from gateway.prediction import BadPrediction, prediction_members
from gateway.schedule import FlushSchedule
from gateway.settings import FRAME_BYTES, SessionSettings
from gateway.tally import INFERENCE_BOUNDS_MS, LATENESS_BOUNDS_MS, Tally

GOING_AWAY = 1001
LEAVE_LIMIT_S = 4.5
"""How long clients may take to go when the host ends: an answer has 2 s, and then comes the close."""
BAD_START = 1002
BAD_MESSAGE = 1003


class SessionMisuse(RuntimeError):
    """The host called a verb out of order: an error of ours, never of the peer."""


_Batch = tuple[Run, float, float]
"""What is remembered of the batch in flight, whose audio is the host's: its run, how late in ms it was flushed, and
when. A plain tuple, taken apart at once: reading a field of a named one takes a reference to its descriptor, which all
threads share."""


class Session:
    """The core of one WebSocket connection.

    Args:
        settings: shared, read-only.
        phase_ms: this connection's offset in the flush schedule, drawn once by the host from [0, jitter).
        tally: where it counts; one of its own without.
    """

    __slots__ = (
        *("_backlog", "_batch", "_buffer", "_closed", "_leaving", "_outbox", "_phase_ms", "_schedule", "_settings"),
        "_tally",
    )

    def __init__(self, settings: SessionSettings, phase_ms: float, tally: Tally | None = None) -> None:
        self._settings = settings
        self._tally = Tally() if tally is None else tally
        self._backlog = 0
        """Frames that the last tick left in the buffer, as the tally has them."""
        self._phase_ms = phase_ms
        self._buffer = FrameBuffer(settings.buffer_frames)
        self._schedule: FlushSchedule | None = None
        self._batch: _Batch | None = None
        self._outbox = 0
        self._closed = False
        self._leaving = False

    @property
    def started(self) -> bool:
        """Whether the start message was taken."""
        return self._schedule is not None

    @property
    def in_flight(self) -> bool:
        """Whether an `Infer` waits for its `answered` or `failed`."""
        return self._batch is not None

    @property
    def owes(self) -> bool:
        """Whether a request is in flight, or a message waits to be written, and the client is still there for it."""
        return not self._closed and (self._batch is not None or self._outbox > 0)

    @property
    def buffered_frames(self) -> int:
        """Frames that wait for a tick."""
        return self._buffer.frames

    @property
    def next_due_s(self) -> float:
        """When `tick` is due next, in seconds of the host's clock."""
        if self._schedule is None:
            raise SessionMisuse("next_due_s before start(): a session has no schedule until it has started")
        return self._schedule.next_due_s

    def start(self, message: str | Audio, now_s: float) -> Close | None:
        """Take the first message of the connection."""
        if self._schedule is not None:
            raise SessionMisuse("start() was called twice; later messages go to frame()")
        fault = start_fault(message)
        if fault is not None:
            self._closed = True
            return Close(BAD_START, fault)
        self._schedule = FlushSchedule(now_s, self._phase_ms, self._settings.flush_interval_ms)
        return None

    def frame(self, message: str | Audio, now_s: float) -> Close | None:
        """Take one later message: a frame of audio, or something that ends the connection."""
        if isinstance(message, str) or len(message) != FRAME_BYTES:
            return self._refuse(message)
        if self._schedule is None:
            raise SessionMisuse("frame() before start(): the first message goes to start()")
        if not self._closed:
            self._buffer.append(message, 1, now_s)
        return None

    def frames(self, run: Audio, now_s: float) -> None:
        """Take a run of whole frames in one buffer, which the host leaves alone from now on."""
        frames, rest = divmod(len(run), FRAME_BYTES)
        if rest or not frames or self._schedule is None:
            raise SessionMisuse(
                f"frames() takes n × {FRAME_BYTES} bytes after start(), got {len(run)} bytes, started={self.started}"
            )
        if not self._closed:
            self._buffer.append(run, frames, now_s)

    def _refuse(self, message: str | Audio) -> Close:
        self._end()
        if isinstance(message, str):
            return Close(BAD_MESSAGE, f"expected {FRAME_BYTES} binary bytes, got a text message")
        return Close(BAD_MESSAGE, f"expected {FRAME_BYTES} binary bytes, got {len(message)}")

    def tick(self, now_s: float) -> tuple[SendText | Infer, ...]:
        """Serve the schedule: call it when `next_due_s` has come. Early calls and idle ticks give nothing."""
        if self._schedule is None:
            raise SessionMisuse("tick() before start(): a session has no schedule until it has started")
        lateness_ms = self._schedule.pass_due(now_s)
        if lateness_ms is None or self._closed or self._leaving:
            return ()
        if self._batch is not None or self._outbox >= self._settings.outbox_messages or not self._buffer.frames:
            self._count_skip()
            return ()
        dropped = self._buffer.take_dropped()
        if dropped is None:
            return (self._flush(lateness_ms, now_s),)
        return (self._overflow(dropped, lateness_ms, now_s), self._flush(lateness_ms, now_s))

    def _count_skip(self) -> None:
        tally = self._tally
        if self._batch is not None:
            tally.skipped_in_flight += 1
        elif self._buffer.frames:
            tally.skipped_outbox += 1
        else:
            tally.skipped_empty += 1
        self._leave_backlog(self._buffer.frames)

    def _leave_backlog(self, frames: int) -> None:
        self._tally.backlog_frames += frames - self._backlog
        self._backlog = frames

    def _flush(self, lateness_ms: float, now_s: float) -> Infer:
        chunks, run = self._buffer.take()
        frames = run.frames
        self._batch = (run, lateness_ms, now_s)
        tally = self._tally
        tally.frames += frames
        tally.lateness_ms += lateness_ms
        tally.lateness[bisect_left(LATENESS_BOUNDS_MS, lateness_ms)] += 1
        if self._backlog:
            self._leave_backlog(0)
        return Infer(chunks, frames * FRAME_BYTES, self._settings.cpu_passes)

    def _overflow(self, dropped: Run, lateness_ms: float, now_s: float) -> SendText:
        seconds = self._settings.buffer_seconds
        message = f"the buffer holds {seconds:g} s of audio; {dropped.frames} frames were dropped"
        self._tally.frames += dropped.frames
        self._tally.overflow_frames += dropped.frames
        return self._error(
            Failure("websocket_receive", "overflow", message, retryable=True),
            dropped,
            lateness_ms,
            elapsed_ms=None,
            batches=0,
            now_s=now_s,
        )

    def answered(self, status: int, body: bytes, now_s: float) -> SendText | None:
        """Take the inference server's answer to the batch in flight; None if the session is closed."""
        batch = self._end_flight(now_s)
        if status != 200:
            return self._failed(batch, refusal_of_status(status), now_s)
        (oldest_seq, frames, _, _), lateness_ms, _ = batch
        try:
            members = prediction_members(body, frames * FRAME_BYTES)
        except BadPrediction as error:
            return self._failed(batch, broken_answer(str(error)), now_s)
        if self._closed:
            return None
        self._outbox += 1
        return SendText(
            partial_text(
                oldest_seq=oldest_seq,
                frames=frames,
                members=members,
                cpu_passes=self._settings.cpu_passes,
                model_delay_ms=self._settings.model_delay_ms,
                flush_lateness_ms=lateness_ms,
                inflight_model_jobs=int(self.in_flight),
            )
        )

    def failed(self, failure: Failure, now_s: float) -> SendText | None:
        """Take the news that the batch in flight got no answer; None if the session is closed."""
        return self._failed(self._end_flight(now_s), failure, now_s)

    def _end_flight(self, now_s: float) -> _Batch:
        batch = self._batch
        if batch is None or self._schedule is None:
            raise SessionMisuse("answered() or failed() without a batch in flight")
        self._batch = None
        if not self._closed:
            _, _, sent_s = batch
            took_ms = (now_s - sent_s) * 1000
            self._tally.inference_ms += took_ms
            self._tally.inference[bisect_left(INFERENCE_BOUNDS_MS, took_ms)] += 1
        # Ticks that fell due meanwhile would have sent nothing: hosts need not call tick() during a flight.
        if self._schedule.pass_due(now_s) is not None and not self._closed:
            self._tally.skipped_in_flight += 1
            self._leave_backlog(self._buffer.frames)
        return batch

    def _failed(self, batch: _Batch, failure: Failure, now_s: float) -> SendText | None:
        if self._closed:
            return None
        run, lateness_ms, sent_s = batch
        # The failed batch has left `in_flight` already; it is still one of the batches outstanding here.
        return self._error(
            failure,
            run,
            lateness_ms,
            elapsed_ms=(now_s - sent_s) * 1000,
            batches=1 + self.in_flight,
            now_s=now_s,
        )

    def _error(
        self,
        failure: Failure,
        run: Run,
        lateness_ms: float,
        *,
        elapsed_ms: float | None,
        batches: int,
        now_s: float,
    ) -> SendText:
        self._outbox += 1
        self._tally.erred(failure.stage, failure.kind)
        return SendText(
            error_text(
                failure,
                oldest_seq=run.oldest_seq,
                frames=run.frames,
                oldest_age_ms=(now_s - run.oldest_taken_s) * 1000,
                newest_age_ms=(now_s - run.newest_taken_s) * 1000,
                flush_lateness_ms=lateness_ms,
                inference_elapsed_ms=elapsed_ms,
                inflight_gateway_batches=batches,
                gateway_buffer_frames=self._buffer.frames,
            )
        )

    def written(self) -> None:
        """One `SendText` has left for the client."""
        if self._outbox <= 0:
            raise SessionMisuse("written() without a message that waits")
        self._outbox -= 1

    def leave(self) -> Close:
        """The host ends: ticks send nothing more. The close to send once nothing is owed."""
        self._leaving = True
        return Close(GOING_AWAY, "the gateway is going away")

    def close(self) -> None:
        """The connection ends, whoever ended it: nothing is taken or sent any more, buffered audio is let go."""
        self._end()
        self._buffer = FrameBuffer(self._settings.buffer_frames)

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._leave_backlog(0)
            if self._batch is not None:
                self._tally.abandoned += 1
