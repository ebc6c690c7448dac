"""Start the loops, each in a thread of its own, and wait for a signal or for one that died. Options only."""

import gc
import queue
import signal
import sys
import threading
import traceback

from gateway import LEAVE_LIMIT_S, SessionSettings
from variants.drain.loop import Loop, listen
from variants.shared.build import gil_enabled, require_interpreter
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

_COLLECT_AFTER = 50_000
"""Objects before the collector looks: a session in its stride leaves no garbage of cycles."""


def main() -> int:
    """Serve until a signal, then let everybody go (0); or until a loop dies, which is a mistake of ours (1)."""
    options = HostOptions.parse(loops=("epoll",), transports=("h1", "h2"), factors=("look_interval_ms",))
    require_interpreter(options.expect)
    if options.loops > 1 and gil_enabled():
        print(
            f"variants.drain: --loops {options.loops} are threads, which take turns where there is a GIL; "
            "give --loops 1, or run on a free-threaded build",
            file=sys.stderr,
        )
        return 2
    ends: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ends.put(0))
    listeners, tallies = [listen(options) for _ in range(options.loops)], Tallies.create(options.loops)
    loops: dict[int, Loop] = {}
    """Each put in by its thread, once it serves."""

    def run(index: int) -> None:
        try:
            loops[index] = loop = Loop(options, SessionSettings(), tallies, listeners[index])
            loop.run()
        except BaseException:
            traceback.print_exc()  # here: the process ends as soon as the main thread knows
        ends.put(1)

    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    threads = [
        threading.Thread(target=run, args=(index,), name=f"loop-{index}", daemon=True) for index in range(options.loops)
    ]
    for thread in threads:
        thread.start()
    status = ends.get()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    for index, loop in list(loops.items()):
        if threads[index].is_alive():
            loop.leave()
    for index in list(loops):
        threads[index].join(LEAVE_LIMIT_S)
    return status


if __name__ == "__main__":
    sys.exit(main())
