"""Serving loops side by side in one process, each in a thread and on a CPU of its own, and what a session-second costs.

    python -m experiment.bench.side_by_side --host picows_loops --transport h2 --cpus 0,1 --sessions 300

Each loop has a listening socket, clients and an inference server (`feeder`, on the loop's CPU) of its own, so that the
loops share nothing but the process. `--own` takes away from that, too. Prints a line of JSON on the measured window:

    {"gil", "wall_s", "collections_s", "loops": [{"cpu_us", "session_seconds", "waits", "preempted", "run_wait_us"}]}

`cpu_us` is the serving thread's own. Host `core` has no sockets: the session core alone, as fast as it goes. Of
`granian` the whole process is one entry, on all the CPUs: which of its threads serve which loop cannot be told.
"""

import argparse
import gc
import importlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from experiment.bench import touched, waits
from experiment.bench.feeder import LOOPBACK, Feeder, feeding_from
from simulator.port import free_port
from variants.shared.build import gil_enabled, running

Touched = Mapping[int, Counter[int]]
"""By thread: how often each address was counted down."""
MODULES = {
    "gateway": ("gateway", "variants", "experiment"),
    "client": ("h2", "hpack", "hyperframe"),
    "anyio": ("anyio",),
}
"""What a thread can have its own copy of: these packages' modules, and so their classes, functions and constants; with
the gateway's its settings, too. "client" and "anyio" want "gateway", which refers to them."""
OWN = tuple(MODULES)
CORE_BATCH = 200
_HEALTHY = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
_START_LIMIT_S = 10.0
_HOT = 0.1
"""Counted down less often in a session-second, an object is not named."""
_WARM_UP_S = 2.0
_TRACE_BEGINS_S = 0.5
"""What perf takes to attach."""


@dataclass(slots=True)
class Loop:
    """One serving thread, and what it is asked for; of Granian all of them."""

    number: int
    cpu: int
    port: int | None
    listener: socket.socket | None
    feeders: list[Feeder]
    thread: threading.Thread | None = None
    """None where the whole process is looked at."""
    served: int = 0
    """Session-seconds of the core."""
    failed: list[BaseException] = field(default_factory=list)

    @property
    def session_seconds(self) -> int:
        """Since it began."""
        return self.served + sum(feeder.answered() for feeder in self.feeders)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiment.bench.side_by_side")
    parser.add_argument("--host", choices=HOSTS, required=True)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="of picows_loops")
    parser.add_argument("--transport", choices=("h1", "h2"), default="h1", help="to the inference server")
    parser.add_argument("--cpus", required=True, help="one for each loop")
    parser.add_argument("--sessions", type=int, default=300, help="of each loop")
    parser.add_argument("--own", default="", help=f"what each thread has its own of, some of {','.join(OWN)}")
    parser.add_argument("--gil", action="store_true", help="expect the GIL to be on (PYTHON_GIL=1)")
    parser.add_argument("--begin-s", type=float, help="when to measure, by the machine's monotonic clock (soon)")
    parser.add_argument("--window-s", type=float, default=4.0, help="how long (default %(default)s)")
    parser.add_argument("--count-shared", action="store_true", help="name what all loops touch: `touched`")
    parser.add_argument("--trace-waits", action="store_true", help="say what loops wait for, by perf: `waits`")
    parser.add_argument("--share-clock", action="store_true", help="let all frames touch one more shared object")
    given = parser.parse_args()
    given.cpus = [int(cpu) for cpu in given.cpus.split(",")]
    given.own = given.own.split(",") if given.own else []
    if wrong := set(given.own) - set(OWN):
        parser.error(f"--own: expected some of {', '.join(OWN)}; got {', '.join(sorted(wrong))}")
    return given


class _SharedClock:
    """A clock that is a Python object: whoever asks it takes references to it."""

    def now_s(self) -> float:
        """Seconds."""
        return time.perf_counter()


def _share_clock() -> None:
    """Let each frame of `picows_loops` ask one object of all threads for the time: a shared object in its path."""
    module = importlib.import_module("variants.picows_loops.connection")
    module.monotonic = _SharedClock().now_s  # type: ignore[attr-defined]


def _core(given: argparse.Namespace, loop: Loop, module: Any, tallies: Any) -> None:
    while True:
        module.time_session_seconds(CORE_BATCH)
        loop.served += CORE_BATCH


def _options(given: argparse.Namespace, loop: Loop, **factors: Any) -> Any:
    module = importlib.import_module("variants.shared.options")
    url = f"http://{LOOPBACK}:{loop.feeders[0].inference_port}"
    return module.HostOptions(
        loop.port, url, loop=given.loop, loops=len(given.cpus), transport=given.transport, **factors
    )


def _tallies(loops: int) -> Any:
    return importlib.import_module("variants.shared.metrics").Tallies.create(loops)


def _picows_loops(given: argparse.Namespace, loop: Loop, module: Any, tallies: Any) -> None:
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    threads = importlib.import_module("variants.shared.loop_threads")
    if given.gil:
        threads.require_interpreter = lambda _: None  # type: ignore[attr-defined] # it would refuse to serve with one
    options = _options(given, loop)
    threads.LoopThread(loop.number, options, tallies, loop.listener, ended, module.serve_loop).run()
    raise RuntimeError("it serves no more") from ended.get()


def _drain(given: argparse.Namespace, loop: Loop, module: Any, tallies: Any) -> None:
    settings = importlib.import_module("gateway").SessionSettings()
    module.Loop(_options(given, loop), settings, tallies, loop.listener).run()


def _granian(given: argparse.Namespace, loop: Loop, module: Any, tallies: Any) -> None:
    """In the main thread, which gets its signals: the stock application, a loop for each CPU in its mt runtime."""
    options = _options(given, loop, runtime="mt")
    options.to_environment()
    tallies.to_environment()
    module.granian(options)
    raise RuntimeError("Granian serves no more")


HOSTS: dict[str, tuple[str, Callable[[argparse.Namespace, Loop, Any, Any], None]]] = {
    "core": ("experiment.bench.core", _core),
    "picows_loops": ("variants.picows_loops.loops", _picows_loops),
    "drain": ("variants.drain.loop", _drain),
    "granian": ("variants.asgi.servers", _granian),
}
"""Each with its module, which is its thread's own where that is asked for, and tallies, which are then, too."""


def _run(given: argparse.Namespace, loop: Loop, tallies: Any) -> None:
    """In the loop's thread. With modules of its own, it imports them: the objects are then its own, too."""
    try:
        tops = {top for name in given.own for top in MODULES[name]}
        for name in [name for name in list(sys.modules) if name.partition(".")[0] in tops]:
            del sys.modules[name]
        name, serve = HOSTS[given.host]
        if given.own and tallies is not None:
            tallies = _tallies(1)
        serve(given, loop, importlib.import_module(name), tallies)
    except BaseException as error:
        loop.failed.append(error)
        raise


def _start(given: argparse.Namespace, loop: Loop, tallies: Any) -> None:
    """Returns once it serves: only then may the next one look at `sys.modules`."""
    loop.thread = threading.Thread(target=_run, args=(given, loop, tallies), name=f"loop-{loop.number}", daemon=True)
    loop.thread.start()
    assert loop.thread.native_id is not None
    os.sched_setaffinity(loop.thread.native_id, {loop.cpu})
    if loop.feeders:
        _feed_once_healthy(loop)
    while given.host == "core" and not loop.served and not loop.failed:
        time.sleep(0.01)


def _feed_once_healthy(loop: Loop) -> None:
    assert loop.port is not None
    until_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < until_s and not loop.failed:
        try:
            with socket.create_connection((LOOPBACK, loop.port), timeout=1.0) as sock:
                sock.sendall(_HEALTHY)
                if sock.recv(1024):
                    break
        except OSError:
            time.sleep(0.02)
    else:
        raise RuntimeError(f"loop {loop.number} does not serve: {loop.failed}")
    for feeder in loop.feeders:
        feeder.begin()


def _state(loop: Loop) -> dict[str, float]:
    if loop.failed:
        raise loop.failed[0]
    tasks = Path("/proc/self/task")
    if loop.thread is None:
        clock, threads = time.CLOCK_PROCESS_CPUTIME_ID, list(tasks.iterdir())
    else:
        assert loop.thread.ident is not None
        clock, threads = time.pthread_getcpuclockid(loop.thread.ident), [tasks / str(loop.thread.native_id)]
    found = {"cpu_us": time.clock_gettime_ns(clock) / 1000, "session_seconds": loop.session_seconds}
    for name in ("waits", "preempted", "run_wait_us"):
        found[name] = 0.0
    for task in threads:
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text(encoding="ascii").splitlines())
        _, waited_ns, _ = (task / "schedstat").read_text(encoding="ascii").split()
        found["waits"] += int(status["voluntary_ctxt_switches"])
        found["preempted"] += int(status["nonvoluntary_ctxt_switches"])
        found["run_wait_us"] += int(waited_ns) / 1000
    return found


def _traced(loops: list[Loop], window_s: float) -> dict[str, Any]:
    """One more window, under perf, which itself costs: what all loops waited for."""
    threads = frozenset(loop.thread.native_id or 0 for loop in loops if loop.thread is not None)
    try:
        with waits.tracing() as trace:
            trace.start(os.getpid())
            time.sleep(_TRACE_BEGINS_S)
            before, begin_s = sum(loop.session_seconds for loop in loops), time.monotonic()
            time.sleep(window_s)
            served, end_s = sum(loop.session_seconds for loop in loops) - before, time.monotonic()
            found = trace.stop(threads or None, begin_s, end_s)
            return {"refused": None, "sees_stops": trace.sees_stops, "session_seconds": served, "waits": found}
    except waits.CannotTrace as error:
        return {"refused": str(error), "sees_stops": False, "session_seconds": 0, "waits": []}


def _measured(loops: list[Loop], window_s: float, *, counts: bool) -> dict[str, Any]:
    began_s, collections_s = 0.0, 0.0

    def on_collection(phase: str, _: dict[str, int]) -> None:
        nonlocal began_s, collections_s
        if phase == "start":
            began_s = time.perf_counter()
        else:
            collections_s += time.perf_counter() - began_s

    touched_before = touched.counts() if counts else {}
    before, begin_s = [_state(loop) for loop in loops], time.monotonic()
    gc.callbacks.append(on_collection)
    time.sleep(window_s)
    after, wall_s = [_state(loop) for loop in loops], time.monotonic() - begin_s
    changes = [{key: b[key] - a[key] for key in a} for a, b in zip(before, after, strict=True)]
    found = {"gil": gil_enabled(), "wall_s": wall_s, "collections_s": collections_s, "loops": changes}
    if counts:
        found["shared"] = _shared(loops, touched_before, touched.counts(), changes)
    return found


def _shared(
    loops: list[Loop], before: Touched, after: Touched, changes: list[dict[str, float]]
) -> list[dict[str, Any]]:
    """What every loop's thread counted down that another one owns, for a session-second, the most first."""
    of_loops = []
    for loop, change in zip(loops, changes, strict=True):
        assert loop.thread is not None
        thread = loop.thread.native_id or 0
        counted = after.get(thread, Counter()) - before.get(thread, Counter())
        of_loops.append({address: count / change["session_seconds"] for address, count in counted.items()})
    least = {address: min(each.get(address, 0.0) for each in of_loops) for address in of_loops[0]}
    hot = {address: often for address, often in least.items() if often >= _HOT}
    named = touched.described(set(hot))
    ranked = sorted(hot, key=lambda address: -hot[address])
    return [{**named[address], "per_session_second": round(hot[address], 2)} for address in ranked if address in named]


def _listener(given: argparse.Namespace) -> socket.socket:
    """A socket of the loop's own: bound, and for `drain` listening, as its host makes them."""
    if given.host == "drain":
        listen = importlib.import_module("variants.drain.loop").listen
        options = importlib.import_module("variants.shared.options").HostOptions
        return listen(options(0, ""))  # type: ignore[no-any-return]
    return importlib.import_module("variants.shared.loop_threads").listen(LOOPBACK, 0, 1)[0]  # type: ignore[no-any-return]


def _report(given: argparse.Namespace, loops: list[Loop]) -> None:
    """Wait for the window, measure it, and print it."""
    ready_s = time.monotonic()
    begin_s = ready_s + _WARM_UP_S if given.begin_s is None else given.begin_s
    if ready_s > begin_s:
        raise RuntimeError(f"expected to serve before the window begins, was {ready_s - begin_s:.1f} s late")
    time.sleep(begin_s - ready_s)
    if gil_enabled() != (given.gil or not running().endswith("t")):
        raise RuntimeError(f"expected the GIL {'on' if given.gil else 'off'} on CPython {running()}, it is not")
    found = _measured(loops, given.window_s, counts=given.count_shared)
    if given.trace_waits:
        found["traced"] = _traced(loops, given.window_s)
    print(json.dumps(found), flush=True)


def _report_and_end(given: argparse.Namespace, loop: Loop, stack: ExitStack) -> None:
    """The same beside a server that has the main thread."""
    status = 1
    try:
        _feed_once_healthy(loop)
        _report(given, [loop])
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        stack.close()
        sys.stdout.flush()
        os._exit(status)


def main() -> int:
    """Serve, and measure once."""
    given = arguments()
    host = importlib.import_module(HOSTS[given.host][0])
    tallies = None if given.host == "core" else _tallies(len(given.cpus))
    with ExitStack() as stack:

        def feeders(port: int, cpus: list[int]) -> list[Feeder]:
            return [stack.enter_context(feeding_from(cpu, port, given.sessions, given.transport)) for cpu in cpus]

        if given.host == "granian":
            port = free_port()
            loop = Loop(0, given.cpus[0], port, None, feeders(port, given.cpus))
            os.sched_setaffinity(0, given.cpus)
            threading.Thread(target=_report_and_end, args=(given, loop, stack), daemon=True).start()
            _granian(given, loop, host, tallies)
        loops = []
        for number, cpu in enumerate(given.cpus):
            if given.host == "core":
                loops.append(Loop(number, cpu, None, None, []))
                continue
            listener = _listener(given)
            port = listener.getsockname()[1]
            loops.append(Loop(number, cpu, port, listener, feeders(port, [cpu])))
        if given.share_clock:
            _share_clock()
        if given.host == "drain":
            gc.freeze()  # as its host does
        for loop in loops:
            _start(given, loop, tallies)
        _report(given, loops)
    return 0


if __name__ == "__main__":
    status = 1
    try:
        status = main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # its loops' threads go on for ever
