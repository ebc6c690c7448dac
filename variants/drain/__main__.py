"""Start the loops, each in a thread of its own, and wait for a signal or for one that died. Options only."""

import gc
import queue
import signal
import sys
import threading
import traceback

from gateway import SessionSettings
from variants.drain.loop import Loop, listen
from variants.shared.build import gil_enabled, require_interpreter
from variants.shared.options import HostOptions

_COLLECT_AFTER = 50_000
"""Objects before the collector looks: a session in its stride leaves no garbage of cycles."""


def main() -> int:
    """Serve until a signal (0) or the end of a loop, which is a mistake of ours (1)."""
    options = HostOptions.parse(loops=("epoll",), transports=("h1", "h2"), factors=("look_interval_ms",))
    require_interpreter(options.expect)
    if options.loops > 1 and gil_enabled():
        print(
            f"variants.drain: --loops {options.loops} are threads, which take turns where there is a GIL; "
            "give --loops 1, or run on a free-threaded build",
            file=sys.stderr,
        )
        return 2
    settings = SessionSettings()
    ends: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ends.put(0))
    listeners = [listen(options) for _ in range(options.loops)]

    def run(index: int) -> None:
        try:
            Loop(options, settings, listeners[index]).run()
        except BaseException:
            traceback.print_exc()  # here: the process ends as soon as the main thread knows
        ends.put(1)

    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    for index in range(options.loops):
        threading.Thread(target=run, args=(index,), name=f"loop-{index}", daemon=True).start()
    return ends.get()


if __name__ == "__main__":
    sys.exit(main())
