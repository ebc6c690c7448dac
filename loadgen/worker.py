"""One worker's run: the open loop of 1 ms slots that sends every due frame, and the sockets' events between them.

The hot path of the load generator. It owns the clock and the epoll; what a session does is in `connection`, what its
messages mean is found out afterwards. Nothing here judges, prints, or talks to another worker.
"""

import gc
import logging
import os
import resource
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from websockets.uri import WebSocketURI, parse_uri

from loadgen.connection import Connection
from loadgen.frames import WireFrames
from loadgen.ledger import Failure, SessionLedger
from loadgen.samples import Row, Table, tabulate
from loadgen.schedule import FRAME_INTERVAL_S, SLOT_S, SLOTS_PER_FRAME, Timing, slot_of, start_offsets_s
from loadgen.shared import Exhaustion, Limits, Shared, State

if TYPE_CHECKING:
    from loadgen.slots import Slot

_EVENTS_AT_ONCE = 32
_SWEEP_SLOTS = 100
_REPORT_S = 1.0
_DRAIN_POLL_S = 0.005
_ANSWERS_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, as every worker gets it. Session s belongs to worker s % workers."""

    url: str
    sessions: int
    timing: Timing
    workers: int = 1
    seed: int = 1
    limits: Limits = field(default_factory=Limits)
    burst_frames: int = 1
    """Frames that a session sends at once, when the last of them is due; 1: each when it is due itself."""
    cpus: tuple[int, ...] = ()
    """One for each worker; none: wherever this process may run. ValueError for another number of them."""

    def __post_init__(self) -> None:
        if self.cpus and len(self.cpus) != self.workers:
            raise ValueError(f"cpus: expected one for each of {self.workers} workers, got {len(self.cpus)}")


class Progress(NamedTuple):
    """What a worker reports once a second: counts so far, and the last second's latencies and worst own lateness."""

    elapsed_s: float
    open: int
    partials: int
    errors: int
    failures: int
    newest_ms: npt.NDArray[np.float64]
    late_ms: float
    still: int
    """Sessions that stand still just now; after the run `stalls` says which of them stalled."""


@dataclass(slots=True)
class WorkerResult:
    """All that a worker knows after its run; times are seconds since t0."""

    ledgers: list[SessionLedger]
    samples: Table
    wrong_audio: list[Failure]
    send_due_s: npt.NDArray[np.float64]  # one entry for each slot that sent: its beginning,
    send_late_ms: npt.NDArray[np.float64]  # from its earliest due time until its last send was done,
    send_frames: npt.NDArray[np.int64]  # and its frames
    blocked_due_s: npt.NDArray[np.float64]  # one entry for each frame that found its socket full
    blocked_ms: npt.NDArray[np.float64]
    cpu_user_s: float
    cpu_system_s: float
    cpu_measured_s: float  # user + system within the measured window
    exhaustion: Exhaustion


def resolve(url: str) -> tuple[WebSocketURI, int, Any]:
    """The parsed URL, address family and socket address. Raises ValueError for a URL that cannot be used.

    Of a name with several addresses (localhost is often ::1, then 127.0.0.1) the first that takes a connection, else
    the first: no session tries another.
    """
    try:
        uri = parse_uri(url)
    except Exception as error:
        raise ValueError(f"expected a URL like ws://127.0.0.1:8000/ws/stt, got {url!r} ({error})") from None
    if uri.secure:
        raise ValueError(f"expected ws://, got {url!r}: TLS is not measured here")
    try:
        found = socket.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"cannot resolve {uri.host!r} of {url!r}: {error}") from None
    family: int
    family, _, _, _, address = found[0]
    if len(found) > 1:
        with suppress(OSError), socket.create_connection((uri.host, uri.port), timeout=_ANSWERS_S) as answered:
            family, address = answered.family, answered.getpeername()
    return uri, family, address


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the hard limit does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Worker:
    """Runs worker `number`'s share of a plan. Make it, then `run` it at a common t0, then `verify`."""

    def __init__(self, plan: Plan, number: int = 0) -> None:
        self._plan = plan
        uri, family, address = resolve(plan.url)
        raise_descriptor_limit()
        # A handshake that fails is counted in the ledger; the library would log a traceback of it as well.
        logging.getLogger("websockets.client").setLevel(logging.CRITICAL)
        self._frames = WireFrames([plan.seed, number])
        self._t0 = 0.0
        self._rows: list[Row] = []
        self._recent_newest_ms: list[float] = []
        self._shared: Shared[Connection] = Shared(
            uri=uri,
            address=address,
            family=family,
            epoll=select.epoll(),
            clock=self._clock,
            limits=plan.limits,
            rows=self._rows,
            recent_newest_ms=self._recent_newest_ms,
            blocked_ms=[],
            by_fd={},
            blocked=set(),
            exhaustion=Exhaustion(),
        )
        offsets_s = start_offsets_s(plan.timing, plan.sessions)
        mine = sorted((offsets_s[session], session) for session in range(number, plan.sessions, plan.workers))
        self._connections = [Connection(session, self._shared) for _, session in mine]
        self._offsets_s = [offset_s for offset_s, _ in mine]
        self._burst_s = (plan.burst_frames - 1) * FRAME_INTERVAL_S  # from a burst's first due time to its last
        # Imported here, as in `verify`: it loads Numba, which the parent process never needs.
        from loadgen.slots import Slot

        self._slots: list[Slot[Connection]] = [Slot() for _ in range(SLOTS_PER_FRAME * plan.burst_frames)]
        self._joins: dict[int, list[Connection]] = {}  # by the slot in which a session's first frames go out
        self._opening: set[Connection] = set()
        self._open = 0
        self._index = 0  # of the slot being served
        self._late_slots: list[int] = []
        self._late_s: list[float] = []
        self._late_frames: list[int] = []
        self._reported_slots = 0

    def _clock(self) -> float:
        return time.monotonic() - self._t0

    def run(self, t0: float, report: Callable[[Progress], None]) -> WorkerResult:
        """Run the plan from `t0` (CLOCK_MONOTONIC, seconds) to the last session's end; `report` once a second."""
        self._t0 = t0
        gc.collect()
        gc.disable()
        gc.freeze()
        try:
            time.sleep(max(0.0, t0 - time.monotonic()))
            before = resource.getrusage(resource.RUSAGE_SELF)
            measured_s = self._stream(report)
            self._drain(report)
            after = resource.getrusage(resource.RUSAGE_SELF)
        finally:
            gc.unfreeze()
            gc.enable()
            self._shared.epoll.close()
        return self._result(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, measured_s)

    def verify(self, result: WorkerResult) -> None:
        """Recompute every partial of the run into `result.wrong_audio`. After the run: it takes the whole core."""
        # Imported here: it loads Numba, a second's work, which the parent process never needs.
        from loadgen.afterwards.verify import find_wrong_audio

        result.wrong_audio = find_wrong_audio(self._rows)

    def _stream(self, report: Callable[[Progress], None]) -> float:
        """Serve every slot to the end of `measure`, in order, none skipped; CPU seconds of the measured window."""
        t0, slots, frames = self._t0, self._slots, self._frames
        monotonic, sleep = time.monotonic, time.sleep
        late_slots, late_s, late_frames = self._late_slots, self._late_s, self._late_frames
        offsets_s, connections = self._offsets_s, self._connections
        launched, to_launch = 0, len(connections)
        broken: list[tuple[Connection, OSError]] = []
        burst = range(self._plan.burst_frames)
        measure_slot = slot_of(self._plan.timing.measure_start_s)
        cpu_at_measure_s = time.process_time()
        next_report_s = _REPORT_S

        for index in range(slot_of(self._plan.timing.end_s) + 1):
            self._index = index
            at = t0 + index * SLOT_S
            now = monotonic()
            if now < at:
                sleep(at - now)
            if index == measure_slot:
                cpu_at_measure_s = time.process_time()

            slot = slots[index % len(slots)]
            if index in self._joins:
                self._join(slot, index)
            if slot.connections:
                for _ in burst:
                    for odd in slot.send(frames):
                        if odd.is_full:
                            odd.connection.came_short(odd.frame, max(0, odd.taken))
                        elif odd.is_held:
                            odd.connection.queue_frame(odd.frame)
                        else:
                            broken.append((odd.connection, OSError(-odd.taken, os.strerror(-odd.taken))))
                    slot.rounds += 1
                late_slots.append(index)
                late_s.append(monotonic() - at + slot.lead_s)
                late_frames.append(len(slot.connections))
                if broken:
                    for connection, refusal in broken:
                        before = connection.state
                        connection.send_failed(refusal)
                        self._moved(connection, before)
                    broken.clear()

            while launched < to_launch and offsets_s[launched] <= index * SLOT_S:
                self._launch(connections[launched])
                launched += 1
            self._handle_events(0, at + SLOT_S)
            if index % _SWEEP_SLOTS == 0:
                now_s = monotonic() - t0
                self._sweep([*self._opening, *self._shared.blocked], now_s)
                if now_s >= next_report_s:
                    report(self._progress(now_s))
                    next_report_s += _REPORT_S
        return time.process_time() - cpu_at_measure_s

    def _drain(self, report: Callable[[Progress], None]) -> None:
        """After the last frame: wait for last answers and close replies, within the time limits."""
        self._joins.clear()
        for connection in self._connections:
            if connection.state is State.STREAMING:
                connection.drain()
                self._moved(connection, State.STREAMING)
        next_sweep_s = next_report_s = self._clock()
        while any(connection.state is not State.DONE for connection in self._connections):
            self._handle_events(_DRAIN_POLL_S, 0.0)
            now_s = self._clock()
            if now_s >= next_sweep_s:
                self._sweep(self._connections, now_s)
                next_sweep_s = now_s + 4 * _DRAIN_POLL_S
            if now_s >= next_report_s:
                report(self._progress(now_s))
                next_report_s = now_s + _REPORT_S

    def _launch(self, connection: Connection) -> None:
        before = connection.state
        self._opening.add(connection)
        connection.open()
        if connection.state is not before:
            self._moved(connection, before)

    def _join(self, slot: "Slot[Connection]", index: int) -> None:
        for connection in self._joins.pop(index):
            if connection.state is State.STREAMING:
                start_s = connection.ledger.start_s
                assert start_s is not None
                lead_s = index * SLOT_S - start_s - self._burst_s
                connection.join(slot, lead_s)

    def _handle_events(self, timeout_s: float, until: float) -> None:
        """Handle what has come in; go on past the first batch only while it is not yet `until` (monotonic)."""
        by_fd, poll, monotonic = self._shared.by_fd, self._shared.epoll.poll, time.monotonic
        while events := poll(timeout_s, _EVENTS_AT_ONCE):
            now_s = monotonic() - self._t0
            for fd, mask in events:
                connection = by_fd.get(fd)
                if connection is None:
                    continue
                before = connection.state
                connection.on_event(mask, now_s)
                if connection.state is not before:
                    self._moved(connection, before)
            if len(events) < _EVENTS_AT_ONCE or monotonic() >= until:
                return

    def _sweep(self, connections: list[Connection], now_s: float) -> None:
        end_s = self._plan.timing.end_s
        for connection in connections:
            before = connection.state
            connection.on_time(now_s, end_s)
            if connection.state is not before:
                self._moved(connection, before)

    def _moved(self, connection: Connection, before: State) -> None:
        """Bring the worker's own books in line with a connection's change of state."""
        opening = (State.CONNECTING, State.UPGRADING)
        if before in opening and connection.state not in opening:
            self._opening.discard(connection)
            self._open += 1
            if connection.state is State.STREAMING:
                start_s = connection.ledger.start_s
                assert start_s is not None
                if start_s >= self._plan.timing.end_s:
                    connection.drain()
                else:
                    # Not this slot, whose joins are done; with the loop late, the right one is further on.
                    index = max(slot_of(start_s + self._burst_s), self._index + 1)
                    self._joins.setdefault(index, []).append(connection)
        if connection.state is State.DONE and before is not State.DONE:
            self._open -= 1

    def _progress(self, now_s: float) -> Progress:
        newest_ms = np.array(self._recent_newest_ms, dtype=np.float64)
        self._recent_newest_ms.clear()
        worst_s = max(self._late_s[self._reported_slots :], default=0.0)
        self._reported_slots = len(self._late_s)
        # Classified failures are known only after the run; until then each ended session and each error is one.
        ended = sum(connection.ledger.failure is not None for connection in self._connections)
        errors = sum(len(connection.ledger.errors) for connection in self._connections)
        return Progress(
            elapsed_s=now_s,
            open=self._open,
            partials=len(self._rows) - errors,
            errors=errors,
            failures=ended + errors,
            newest_ms=newest_ms,
            late_ms=worst_s * 1000,
            still=sum(connection.stands_still(now_s) for connection in self._connections),
        )

    def _result(self, user_s: float, system_s: float, measured_s: float) -> WorkerResult:
        ledgers = sorted((c.ledger for c in self._connections), key=lambda ledger: ledger.session)
        starts_s = {ledger.session: ledger.start_s for ledger in ledgers if ledger.start_s is not None}
        blocked = np.array(self._shared.blocked_ms, dtype=np.float64).reshape(-1, 2)
        return WorkerResult(
            ledgers=ledgers,
            samples=tabulate(self._rows, starts_s, {ledger.session: ledger.due for ledger in ledgers}),
            wrong_audio=[],
            send_due_s=np.array(self._late_slots, dtype=np.float64) * SLOT_S,
            send_late_ms=np.array(self._late_s, dtype=np.float64) * 1000,
            send_frames=np.array(self._late_frames, dtype=np.int64),
            blocked_due_s=blocked[:, 0],
            blocked_ms=blocked[:, 1],
            cpu_user_s=user_s,
            cpu_system_s=system_s,
            cpu_measured_s=measured_s,
            exhaustion=self._shared.exhaustion,
        )
