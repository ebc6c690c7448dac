"""The bench's yardstick: a loop that sends the load generator's frames in the same 1 ms slots, and does nothing else.

A module of its own, since a spawned process finds a function by its module, and never looks into a `__main__`.
"""

import gc
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection, socket

from loadgen.frames import WireFrames
from loadgen.histograms import Distribution
from loadgen.schedule import SLOT_S, SLOTS_PER_FRAME
from loadgen.slots import Slot
from loadgen.worker import raise_descriptor_limit

WARMUP_S = 2.0


@dataclass(slots=True)
class Measured:
    """One turn: CPU of the measured window, and send lateness p99 as the worker reckons it."""

    cpu_us_per_session_s: float
    late_p99_ms: float | None
    failures: int = 0


def bare_loop(pipe: Pipe, port: int, sessions: int, seconds: float) -> None:
    """The process's whole life; its Measured goes over `pipe`."""
    raise_descriptor_limit()
    frames = WireFrames(1)
    sockets = [create_connection(("127.0.0.1", port)) for _ in range(sessions)]
    slots: list[Slot[socket]] = [Slot() for _ in range(SLOTS_PER_FRAME)]
    for session, sock in enumerate(sockets):
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        sock.setblocking(False)
        slot = slots[session % SLOTS_PER_FRAME]
        slot.release(slot.add(sock, session), sock.fileno())
    late_s: list[float] = []
    late_frames: list[int] = []
    monotonic, sleep = time.monotonic, time.sleep
    gc.collect()
    gc.disable()
    gc.freeze()
    t0, warm_slots = monotonic(), round(WARMUP_S / SLOT_S)
    cpu_s = 0.0
    for index in range(warm_slots + round(seconds / SLOT_S)):
        at = t0 + index * SLOT_S
        now = monotonic()
        if now < at:
            sleep(at - now)
        if index == warm_slots:
            cpu_s = time.process_time()
            late_s.clear()
            late_frames.clear()
        slot = slots[index % SLOTS_PER_FRAME]
        if odd := slot.send(frames):
            raise RuntimeError(f"expected a socket with room, took {odd[0].taken} bytes: the sink is behind")
        slot.rounds += 1
        late_s.append(monotonic() - at)
        late_frames.append(len(slot.connections))
    cpu_s = time.process_time() - cpu_s
    late = Distribution()
    late.add([value * 1000 for value in late_s], late_frames)
    pipe.send(Measured(cpu_s * 1e6 / (sessions * seconds), late.percentile_ms(99)))
