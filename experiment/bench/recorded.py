"""What costs CPU, run over a fixed number of session-seconds of the same input, for who counts its instructions.

    python -m experiment.bench.recorded draining --seconds 4

Nothing depends on the time of day or on how fast the machine is: the clock stands still but where the program sleeps,
and each round of 20 ms begins when the other end, a process of its own that nobody counts, says that everything has
been sent. Prints `{"session_seconds", "answered"}`. Real are the program's own code, its sockets and its epoll.
"""

import argparse
import functools
import gc
import json
import operator
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from experiment.setup import CHECKOUT

SESSIONS = 50
ROUND_S = 0.02
WARM_UP_S = 3
LOOPBACK = "127.0.0.1"


class _Peer:
    """The other end, in step with this one: it does a round's sending and answering whenever it is told to."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()

    def number(self) -> int:
        """The line that it says first."""
        line = b""
        while not line.endswith(b"\n"):
            piece = os.read(self._from, 1)
            if not piece:
                raise RuntimeError(f"the other end ended with status {self._process.wait()}")
            line += piece
        return int(line)

    def round(self) -> None:
        """Have it do one round, and wait until that is done."""
        os.write(self._to, b".")
        if not os.read(self._from, 1):
            raise RuntimeError(f"the other end ended with status {self._process.wait()}")


@contextmanager
def _peer(program: str, *arguments: str) -> Iterator[_Peer]:
    command = [sys.executable, "-m", "experiment.bench.other_end", program, *arguments]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield _Peer(process)
        finally:
            process.kill()


class _Clock:
    """`time.monotonic` and `time.sleep` by hand: a builtin call each, as the real ones are."""

    def __init__(self) -> None:
        self._now: list[float] = [1000.0]
        time.monotonic = functools.partial(operator.getitem, self._now, 0)  # type: ignore[assignment]

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now[0] += seconds


def core(seconds: int) -> int:
    """The session core, frame by frame; the answers that it took, one a session-second."""
    from experiment.bench.core import time_session_seconds

    loops = SESSIONS * (WARM_UP_S + seconds)
    time_session_seconds(loops)
    return loops


def draining(seconds: int) -> int:
    """The draining gateway's loop over HTTP/1.1; the batches that were answered."""
    from gateway import SessionSettings
    from variants.drain.loop import Loop, listen
    from variants.drain.stream import Poller
    from variants.shared.metrics import Tallies
    from variants.shared.options import HostOptions

    listener = listen(HostOptions(0, ""))
    with _peer("draining", str(listener.getsockname()[1]), str(SESSIONS)) as peer:
        clock = _Clock()
        time.sleep = lambda _: None
        wait = Poller.wait
        Poller.wait = lambda self, _: wait(self, 0.0)  # type: ignore[method-assign, assignment]
        options = HostOptions(listener.getsockname()[1], f"http://{LOOPBACK}:{peer.number()}", transport="h1")
        loop = Loop(options, SessionSettings(), Tallies.create(1), listener)
        loop._random = random.Random(1)
        gc.freeze()
        for _ in range(round((WARM_UP_S + seconds) / ROUND_S)):
            peer.round()
            clock.advance(ROUND_S)
            loop.serve_round()
        return sum(loop.tally.inference)


def loadgen(seconds: int) -> int:
    """The load generator's worker, sending and receiving; the partials that came."""
    from loadgen.schedule import SLOT_S, SLOTS_PER_FRAME, Timing
    from loadgen.worker import Plan, Worker

    with _peer("loadgen") as peer:
        timing = Timing(ramp_s=0.5, spread_s=0.0, warmup_s=WARM_UP_S, measure_s=seconds)
        worker = Worker(Plan(f"ws://{LOOPBACK}:{peer.number()}/ws/stt", SESSIONS, timing))
        clock, slots = _Clock(), 0

        def sleep(_: float) -> None:
            nonlocal slots
            clock.advance(SLOT_S)
            slots += 1
            if slots % SLOTS_PER_FRAME == 0:
                peer.round()

        time.sleep = sleep  # type: ignore[assignment]
        worker._t0 = time.monotonic()
        gc.collect()
        gc.disable()
        gc.freeze()
        worker._stream(lambda _: None)
        return len(worker._rows)


PROGRAMS: dict[str, Callable[[int], int]] = {"core": core, "draining": draining, "loadgen": loadgen}


def main() -> int:
    """Run one program, and print what it did."""
    parser = argparse.ArgumentParser(prog="python -m experiment.bench.recorded", description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--seconds", type=int, required=True, help="beside the warm-up")
    given = parser.parse_args()
    answered = PROGRAMS[given.program](given.seconds)
    found: dict[str, Any] = {"session_seconds": SESSIONS * given.seconds, "answered": answered}
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
