"""A draining gateway's loop by itself: what a session-second costs it, and with --metered what each phase of it does.

    python -m experiment.bench.draining --sessions 500 --seconds 10

The real `variants.drain` loop in this process, the real sockets of `feeder` on another core. Prints one JSON object as
`floor` does; with --metered its phases are the loop's, and "(kernel)" what system calls take of them. Runs in the
environment `drain`.
"""

import gc
import json
import socket
import sys
import time
from typing import Any

from experiment.bench.feeder import LOOPBACK, feeding
from experiment.bench.floor import arguments, measured
from experiment.bench.meter import Meter
from experiment.phases import (
    ANSWER,
    CALLS,
    CORE,
    KERNEL,
    LOOP,
    PARTIAL,
    PHASES,
    POLL,
    POST,
    RECEIVE,
    TIMERS,
    UNMASK,
    WAKE,
)
from gateway import Session, SessionSettings
from variants.drain.client import Client
from variants.drain.decoder import Decoder
from variants.drain.h1 import H1Pool
from variants.drain.inference import Upstream
from variants.drain.loop import Loop, listen
from variants.drain.stream import Poller
from variants.drain.timers import Timers
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

_WRAPPED = (
    (RECEIVE, Client, ("_look",)),
    (UNMASK, Decoder, ("receive",)),
    (CORE, Session, ("frames", "tick", "answered", "written")),
    (POST, H1Pool, ("post",)),
    (ANSWER, Upstream, ("on_event",)),
    (PARTIAL, Client, ("_send_text",)),
    (TIMERS, Timers, ("add", "take_due")),
    # Each kind of system call is made in one phase only.
    (RECEIVE + KERNEL, socket.socket, ("recv_into",)),
    (POST + KERNEL, socket.socket, ("sendmsg",)),
    (ANSWER + KERNEL, socket.socket, ("recv",)),
    (PARTIAL + KERNEL, socket.socket, ("send",)),
)


def _metered() -> Meter:
    """A meter at every phase. The process is the bench's own, so its classes may be changed for good."""
    meter = Meter((LOOP, *(phase for phase in PHASES if phase != LOOP), *CALLS))
    for phase, owner, names in _WRAPPED:
        for name in names:
            setattr(owner, name, meter.wrap(phase, getattr(owner, name)))
    waiting: tuple[tuple[str, Any, str], ...] = ((POLL, Poller, "wait"), (WAKE, time, "sleep"))
    for phase, owner, name in waiting:
        setattr(owner, name, meter.wrap_waiting(phase, getattr(owner, name)))
    return meter


def main() -> int:
    """Measure once, and print it."""
    given = arguments("python -m experiment.bench.draining")
    listener = listen(HostOptions(0, ""))
    port: int = listener.getsockname()[1]
    with feeding(port, given.sessions) as feeder:
        meter = _metered() if given.metered else None
        options = HostOptions(port, f"http://{LOOPBACK}:{feeder.inference_port}", transport="h1")
        loop = Loop(options, SessionSettings(), Tallies.create(1), listener)
        gc.freeze()
        found = measured(feeder, given.seconds, loop.serve_round, meter)
    print(json.dumps({"sessions": given.sessions, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
