"""Threads slow each other down by a constant, where their module was compiled in this process.

    python3.14t counted_constants.py

The standard library alone. A module of two functions is imported twice: compiled from its source, as with
PYTHONDONTWRITEBYTECODE=1, and loaded from bytecode. One function reads a number that is a constant of the module, the
other a field of a named tuple. Each runs in one thread, then in two at once. Prints a line of JSON for each: a call's
nanoseconds of the thread's own CPU time, alone and beside another.
"""

import importlib
import json
import os
import py_compile
import statistics
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType

CALLS = 300_000
ROUNDS = 5
SOURCE = """
from typing import NamedTuple

SIZE = 640


class Point(NamedTuple):
    x: int


POINT = Point(1)


def constant(calls):
    for _ in range(calls):
        SIZE


def field(calls, point):
    for _ in range(calls):
        point.x
"""


def imported(folder: Path, *, has_bytecode: bool) -> ModuleType:
    """A fresh copy of the module."""
    name = "with_bytecode" if has_bytecode else "without_bytecode"
    path = folder / f"{name}.py"
    path.write_text(SOURCE, encoding="utf-8")
    if has_bytecode:
        py_compile.compile(str(path))
    return importlib.import_module(name)


def per_call_ns(module: ModuleType, function: str, threads: int) -> float:
    """Of the slowest thread. Each has a tuple of its own: what they share is the class."""
    begin, took = threading.Barrier(threads), [0.0] * threads

    def run(place: int) -> None:
        arguments = (CALLS, module.Point(1)) if function == "field" else (CALLS,)
        begin.wait()
        before = time.thread_time_ns()
        getattr(module, function)(*arguments)
        took[place] = (time.thread_time_ns() - before) / CALLS

    every = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()
    return max(took)


def main() -> None:
    """Print what each costs."""
    sys.dont_write_bytecode = True
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    about = {"python": sys.version.split()[0], "free_threaded": free_threaded, "cpus": len(os.sched_getaffinity(0))}
    print(json.dumps(about), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        for has_bytecode in (False, True):
            module = imported(Path(folder), has_bytecode=has_bytecode)
            immortal = getattr(sys, "_is_immortal", lambda _: None)(module.SIZE)
            for function in ("constant", "field"):
                alone, beside = (
                    statistics.median(per_call_ns(module, function, threads) for _ in range(ROUNDS))
                    for threads in (1, 2)
                )
                found = {"module": module.__name__, "reads": function, "constant_is_immortal": immortal}
                print(json.dumps({**found, "alone_ns": round(alone, 1), "beside_ns": round(beside, 1)}), flush=True)


if __name__ == "__main__":
    main()
