"""The kernel's floor of a draining gateway: a bare loop that polls, receives and sends as often as that does.

    python -m experiment.bench.floor --sessions 500 --seconds 10

Of every session and second: a receive of 5 frames and one of 45, one POST of them, its answer, one partial; for every
round a poll and a sleep. Nothing is parsed, unmasked or checked. Prints one JSON object: µs of this process per
session-second. Standard library only: it runs on the interpreter whose gateway it stands beside.
"""

import argparse
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiment.bench.feeder import LOOPBACK, Feeder, feeding
from experiment.bench.meter import Meter
from experiment.phases import ANSWER, CALLS, KERNEL, LOOP, PARTIAL, POLL, POST, RECEIVE, WAKE

WARMUP_S = 3.0
_ROUND_S = 0.02
_ROUNDS = 50
_EARLY_LOOK_ROUNDS = 5
"""A look comes as long after each tick, as the default of look_interval_ms has it."""
_HEAD = b"POST /infer HTTP/1.1\r\nhost: 127.0.0.1:9000\r\nx-cpu-passes: 4\r\ncontent-length: %d\r\n\r\n"
_PARTIAL = b"\x81\x7e" + (300).to_bytes(2) + bytes(300)
_RECEIVE_BUFFER_BYTES = 512 * 1024


def measured(
    feeder: Feeder, seconds: float, serve_round: Callable[[], None], meter: Meter | None
) -> dict[str, float | dict[str, float]]:
    """Serve rounds for the warm-up and so many seconds more; µs of CPU per session-second of those: this process's, and
    all that its core did. With a meter, its phases stand beside them.
    """
    (core,) = os.sched_getaffinity(0)
    end_s = time.monotonic() + WARMUP_S
    while time.monotonic() < end_s:
        serve_round()
    served, end_s = feeder.answered(), time.monotonic() + seconds
    before, busy_before_s = resource.getrusage(resource.RUSAGE_SELF), _busy_s(core)
    if meter is not None:
        meter.reset()
    while time.monotonic() < end_s:
        serve_round()
    after, busy_after_s = resource.getrusage(resource.RUSAGE_SELF), _busy_s(core)
    served = feeder.answered() - served
    phases = {} if meter is None else meter.spent_us()  # its calibration is no part of what was measured
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "total_us": spent_s * 1e6 / served,
        "all_in_us": (busy_after_s - busy_before_s) * 1e6 / served,
        "served_per_s": served / seconds,
        "phases_us": {name: spent / served for name, spent in phases.items()},
    }


def _busy_s(core: int) -> float:
    """Seconds that a core was neither idle nor stolen, counted from an unknown beginning (proc_stat(5)). Idle time is
    measured; what a core is busy with is sampled at ticks, which a loop of rounds runs in step with."""
    lines = (line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines())
    _, _, _, idle, iowait, _, _, steal, *_ = next(map(int, line[1:]) for line in lines if line[0] == f"cpu{core}")
    return time.monotonic() - (idle + iowait + steal) / os.sysconf("SC_CLK_TCK")


class _BareLoop:
    """Sockets in lists, and nothing else."""

    def __init__(self, sessions: list[socket.socket], upstreams: list[socket.socket], meter: Meter | None) -> None:
        def metered(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
            return function if meter is None else meter.wrap(phase + KERNEL, function)

        self._receives = [[metered(RECEIVE, sock.recv_into) for sock in sessions[r::_ROUNDS]] for r in range(_ROUNDS)]
        self._partials = [[metered(PARTIAL, sock.send) for sock in sessions[r::_ROUNDS]] for r in range(_ROUNDS)]
        epoll = select.epoll()
        for sock in upstreams:
            epoll.register(sock.fileno(), select.EPOLLIN)
        self._epoll = epoll
        self._poll = epoll.poll if meter is None else meter.wrap_waiting(POLL, epoll.poll)
        self._sleep = time.sleep if meter is None else meter.wrap_waiting(WAKE, time.sleep)
        self._posts = {sock.fileno(): metered(POST, sock.sendmsg) for sock in upstreams}
        self._answers = {sock.fileno(): metered(ANSWER, sock.recv) for sock in upstreams}
        self._idle = list(self._posts)
        self._asked: dict[int, Callable[..., Any]] = {}
        self._scratch = memoryview(bytearray(1 << 20))
        self._index = 0
        self._begin_s = time.monotonic()

    def serve_round(self) -> None:
        scratch, idle, index = self._scratch, self._idle, self._index
        for fd, _ in self._poll(0):
            self._answers[fd](4096)
            self._asked.pop(fd)(_PARTIAL)
            idle.append(fd)
        for receive in self._receives[(index - _EARLY_LOOK_ROUNDS) % _ROUNDS]:
            self._received(receive)
        due = index % _ROUNDS
        for receive, partial in zip(self._receives[due], self._partials[due], strict=True):
            came_bytes = self._received(receive)
            if came_bytes:
                fd = idle.pop()
                self._asked[fd] = partial
                # As many bytes as were received stand in for the audio: what came with the early look is left out.
                self._posts[fd]((_HEAD % came_bytes, scratch[:came_bytes]))
        self._index += 1
        self._sleep(max(0.0, self._begin_s + self._index * _ROUND_S - time.monotonic()))

    def _received(self, receive: Callable[..., Any]) -> int:
        try:
            came_bytes: int = receive(self._scratch)
        except BlockingIOError:
            return 0  # its client has only begun
        return came_bytes


def _accepted(listener: socket.socket) -> socket.socket:
    sock, _ = listener.accept()
    sock.recv(4096)  # the handshake and the start message, in one piece
    sock.setblocking(False)
    return sock


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection((LOOPBACK, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def arguments(prog: str) -> argparse.Namespace:
    """The command line that the floor and the gateway beside it have in common."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--metered", action="store_true", help="split the time between phases, which costs some itself")
    return parser.parse_args()


def main() -> int:
    """Measure once, and print it."""
    given = arguments("python -m experiment.bench.floor")
    listener = socket.create_server((LOOPBACK, 0), backlog=4096)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    meter = Meter((LOOP, POLL, WAKE, *CALLS)) if given.metered else None
    with feeding(listener.getsockname()[1], given.sessions) as feeder:
        sessions = [_accepted(listener) for _ in range(given.sessions)]
        # Enough for all requests in flight, and for answers that come a few rounds late.
        upstreams = [_connected(feeder.inference_port) for _ in range(max(64, given.sessions // 2))]
        bare = _BareLoop(sessions, upstreams, meter)
        found = measured(feeder, given.seconds, bare.serve_round, meter)
    print(json.dumps({"sessions": given.sessions, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
