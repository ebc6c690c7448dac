"""Threads slow each other down by an `import` statement inside a function that all of them call.

    python3.14t import_in_call.py

The standard library alone. An import statement takes references to the module, its spec, `sys.modules` and
`__import__`, which belong to the thread that imported the module: every other thread counts them atomically, all of
them in the same cache lines. Prints a line of JSON for each way: a call's nanoseconds of the thread's own CPU time,
alone and beside another. anyio 4.16.0 has such a statement in `current_async_library`, which it calls for each `Event`,
`sleep` and stream.
"""

import asyncio
import json
import os
import statistics
import sys
import sysconfig
import threading
import time
from collections.abc import Callable

CALLS = 200_000
ROUNDS = 5


def import_in_call(calls: int) -> None:
    """As anyio does."""
    for _ in range(calls):
        import asyncio

        asyncio._get_running_loop()


def module_at_head(calls: int) -> None:
    """The module is a global of this one."""
    for _ in range(calls):
        asyncio._get_running_loop()


def per_call_ns(function: Callable[[int], None], threads: int) -> float:
    """Of the slowest thread."""
    begin, took = threading.Barrier(threads), [0.0] * threads

    def run(place: int) -> None:
        begin.wait()
        before = time.thread_time_ns()
        function(CALLS)
        took[place] = (time.thread_time_ns() - before) / CALLS

    every = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()
    return max(took)


def main() -> None:
    """Print what each costs."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    about = {"python": sys.version.split()[0], "free_threaded": free_threaded, "cpus": len(os.sched_getaffinity(0))}
    print(json.dumps(about), flush=True)
    for function in (import_in_call, module_at_head):
        alone, beside = (statistics.median(per_call_ns(function, threads) for _ in range(ROUNDS)) for threads in (1, 2))
        found = {"way": function.__name__, "alone_ns": round(alone, 1), "beside_ns": round(beside, 1)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
