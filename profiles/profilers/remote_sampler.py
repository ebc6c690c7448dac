"""Samples another process's Python stacks with CPython's own unwinder: `PYTHON remote_sampler.py PID RATE FILE`.

Runs under the same interpreter build as its target, outside every environment: the standard library of 3.14 only, and
nothing of this repository. It samples until SIGTERM or SIGINT, then writes what it cost (.json) and collapsed stacks:
FILE of running threads, .wall of all, "[off CPU]" behind the innermost frame of one that did not run. With RATE 0 it
prints one look as JSON: every thread's stack, and which threads run an event loop.
"""

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOPS = ("BaseEventLoop.run_forever", "BaseEventLoop.run_until_complete", "BaseEventLoop._run_once")
"""Frames of a thread that runs asyncio's own event loop, with tasks or without."""

NATIVE = "[no Python frame]"
"""As in `stacks`, which cannot be imported here."""

UNREADABLE = (OSError, RuntimeError, ValueError, MemoryError, SystemError)
"""What `RemoteUnwinder` raises where a stack changed while it was read. SystemError is a slip of its own: on a
free-threaded 3.14.7 it sometimes fails without saying why ("error return without exception set")."""


def state_of(pid: int, thread: int) -> str:
    """The kernel's letter for a thread's state (proc_pid_stat(5)); "?" where the thread is gone."""
    try:
        raw = Path(f"/proc/{pid}/task/{thread}/stat").read_bytes()
    except OSError:
        return "?"
    return chr(raw[raw.rindex(b")") + 2])


def name_of(pid: int, thread: int) -> str:
    """The kernel's name of a thread with its number, so that two of one name stay apart."""
    try:
        name = Path(f"/proc/{pid}/task/{thread}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        name = "thread"
    return f"{name} {thread}"


def frame_name(frame: Any) -> str:
    """A frame's function and file, no line: so that one function is one box of a flame graph. Names are read while they
    may change: what such a read gives must not end a line of collapsed stacks, or a frame."""
    name = f"{frame.funcname} ({frame.filename})"
    return "".join(letter if letter.isprintable() and letter != ";" else "?" for letter in name)


def place_name(frame: Any) -> str:
    """A frame's function, line, and file without the folders of this machine."""
    return f"{frame.funcname} ({'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno})"


def threads_of(answer: Any) -> list[Any]:
    """Threads of an unwinder's answer: 3.14 gives threads, later versions give them by interpreter."""
    return [thread for part in answer for thread in (part.threads if hasattr(part, "threads") else [part])]


class Sampler:
    """Counts of stacks, of running threads and of all, and how often each thread was seen idle."""

    def __init__(self, pid: int, unwinder: Any) -> None:
        self._pid = pid
        self._unwinder = unwinder
        self._names: dict[int, str] = {}
        self.running: Counter[tuple[str, ...]] = Counter()
        self.wall: Counter[tuple[str, ...]] = Counter()
        self.idle: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.samples = 0
        self.failures: Counter[str] = Counter()

    def take(self) -> None:
        """One sample. A stack that changed while it was read is a failure, counted by kind."""
        try:
            threads = threads_of(self._unwinder.get_stack_trace())
        except UNREADABLE as error:
            self.failures[type(error).__name__] += 1
            return
        self.samples += 1
        for thread in threads:
            number = thread.thread_id
            name = self._names.get(number) or self._names.setdefault(number, name_of(self._pid, number))
            self.seen[name] += 1
            frames = [frame_name(frame) for frame in reversed(thread.frame_info or ())]
            *outer, inner = (name, *(frames or [NATIVE]))
            if state_of(self._pid, number) == "R":
                self.running[*outer, inner] += 1
            else:
                self.idle[name] += 1
                inner += " [off CPU]"
            self.wall[*outer, inner] += 1


def _patiently(read: Callable[[], list[Any]]) -> list[Any]:
    for _ in range(20):
        with suppress(*UNREADABLE):
            return read()
        time.sleep(0.01)
    return read()


def once(pid: int, unwinder: Any) -> dict[str, Any]:
    """One look. A stack that changes while it is read is tried again, some times. A process without asyncio has no
    tasks to be asked for, and stacks all the same."""
    threads, awaited = _patiently(lambda: threads_of(unwinder.get_stack_trace())), []
    with suppress(*UNREADABLE):
        awaited = _patiently(unwinder.get_all_awaited_by)
    stacks = {
        name_of(pid, thread.thread_id): [place_name(frame) for frame in thread.frame_info or ()] for thread in threads
    }
    loops = {part.thread_id for part in awaited if part.thread_id and part.awaited_by}
    loops |= {thread.thread_id for thread in threads if any(f.funcname in LOOPS for f in thread.frame_info or ())}
    return {"stacks": stacks, "loops": sorted(loops)}


def main(pid: int, rate_per_s: float, out: Path) -> int:
    """Sample on a grid until a signal; ticks that were missed are not made up."""
    from _remote_debugging import RemoteUnwinder  # type: ignore[import-not-found,unused-ignore]

    if not rate_per_s:
        print(json.dumps(once(pid, RemoteUnwinder(pid, all_threads=True))))
        return 0
    asked_to_stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: asked_to_stop.append(received))
    sampler = Sampler(pid, RemoteUnwinder(pid, all_threads=True))
    began_s = due_s = time.monotonic()
    while not asked_to_stop and Path(f"/proc/{pid}").exists():
        sampler.take()
        due_s = max(due_s + 1 / rate_per_s, time.monotonic())
        time.sleep(due_s - time.monotonic() if due_s > time.monotonic() else 0)
    wall_s = time.monotonic() - began_s
    for file, stacks in ((out, sampler.running), (out.with_suffix(".wall"), sampler.wall)):
        lines = sorted(f"{';'.join(stack)} {count}\n" for stack, count in stacks.items())
        file.write_text("".join(lines), encoding="utf-8")
    facts = {
        "wall_s": wall_s,
        "samples": sampler.samples,
        "failures": dict(sampler.failures),
        "running_share": {name: 1 - sampler.idle[name] / count for name, count in sampler.seen.items()},
        "sampler_cpu_s": time.process_time(),
    }
    out.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
